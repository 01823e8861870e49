"""What an image's programs import is in the image's list: packages that only the development environment has are hidden from them."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_HIDE = """
import importlib.machinery, importlib.metadata, re, sys

listed = set(sys.argv[1].split())
packages = importlib.metadata.packages_distributions()


def is_listed(distribution):
    return re.sub("[-_.]+", "-", distribution.lower()) in listed


class ListedFinder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        top = fullname.partition(".")[0]
        names = [] if top in sys.stdlib_module_names else packages.get(top, [])
        if names and not any(map(is_listed, names)):
            return None
        return super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, *context):  # libraries ask the metadata, too, for what they may import
        return (one for one in importlib.machinery.PathFinder.find_distributions(*context) if is_listed(one.name))


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = ListedFinder
"""
_MAKE_A_SOUND = """
from pathlib import Path
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.sample import SamplingRequest, generate_sounds

model = load_model(Path("bases/tiny"))
[sound] = generate_sounds(model, [SamplingRequest(prompt="low drone", seconds=0.2, steps=1, seed=1)])
assert sound.frames
"""
_IMPORT = """
import importlib
for module in MODULES:
    importlib.import_module(module)
"""
_STEPS = ("encode", "finetune", "unwrap", "evaluate", "register")
_PROGRAMS = {
    "generation": ["services.generation.__main__", "services.generation.http.app", "bentoml"],
    "train": [f"components.{step}.step" for step in _STEPS] + ["lightning", "wandb"],
    "prepare": [f"components.{step}.step" for step in ("ingest", "segment", "annotate_merge")],
    "studio": ["services.studio.__main__", "services.governance.__main__"],
}


@pytest.mark.parametrize("image", _PROGRAMS)
def test_an_image_holds_what_its_programs_import(image: str) -> None:
    """stable-audio-tools imports pytorch_lightning with every model and declares it for its training only: the service died of it."""
    lines = (_ROOT / "requirements" / f"{image}.txt").read_text().splitlines()
    listed = " ".join(line.partition("==")[0] for line in lines if "==" in line and not line.startswith(" "))
    program = _HIDE + (_MAKE_A_SOUND if "torch==" in "".join(lines) else "") + _IMPORT.replace("MODULES", repr(_PROGRAMS[image]))
    done = subprocess.run(
        [sys.executable, "-c", program, listed], cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
