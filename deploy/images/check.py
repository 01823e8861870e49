"""Checks the image that it runs in: `python -m deploy.images.check NAME`

Imports the modules that the image needs; checks that kfp is absent, that torch is installed only where it is needed, and that only
the folders for temporary files are writable. Prints one line for each fault and exits with 1 if there is one.
"""

import contextlib
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

_STEPS = ("ingest", "segment", "annotate_merge", "encode", "finetune", "unwrap", "evaluate", "register")
_LIGHT = [f"components.{step}.{part}" for step in _STEPS[:3] for part in ("settings", "step")]
IMAGE_MODULES: dict[str, list[str]] = {
    "prepare": ["audiotune.store.setup", "audiotune.access.__main__", "pipelines.submit", "pipelines.doctor.command", *_LIGHT],
    "train": [f"components.{step}.{part}" for step in _STEPS for part in ("settings", "step")],
    "generation": ["services.generation.http.app", "services.generation.settings", "bentoml", "audiotune.stable_audio.sample"],
    "studio": [
        "services.governance.app",
        "services.studio.app",
        "services.studio.context",
        "services.studio.sign_in.provider_page",
        *_LIGHT,
    ],
    "registry": ["mlflow.server", "psycopg", "boto3", "audiotune.registry.mlflow_app"],
}
TORCH = {"train", "generation"}
NEVER = ("kfp", "kfp_kubernetes", "pytest", "pip")
PROGRAMS = ("gcc", "cc", "make", "uv", "pip")  # nothing is built or installed in a running image


def list_faults(name: str) -> Iterator[str]:
    """What is wrong with the image that this runs in."""
    for module in IMAGE_MODULES[name]:
        try:
            importlib.import_module(module)
        except Exception as e:  # any error is one fault; the other checks go on
            yield f"{module} cannot be imported: {type(e).__name__}: {e}"
    for module in NEVER:
        if importlib.util.find_spec(module) and (module != "pip" or "/opt/audio-tune/" in str(importlib.util.find_spec(module))):
            yield f"{module} is in the image"
    if bool(importlib.util.find_spec("torch")) != (name in TORCH):
        yield f"torch is {'missing' if name in TORCH else 'in the image'}"
    yield from (f"{paper} is missing" for paper in ("/app/LICENSE", "/app/NOTICE") if not Path(paper).is_file())
    yield from (f"the program {program} is in the image" for program in PROGRAMS if _has_program(program))
    yield from _check_folders()


def _has_program(program: str) -> bool:
    system = ":/usr/bin:/bin:/usr/local/bin" if program in ("gcc", "cc", "make") else ""
    return shutil.which(program, path=f"/opt/audio-tune/bin{system}") is not None


def _check_folders() -> Iterator[str]:
    for folder, wanted in (("/tmp", True), ("/cache", True), ("/app", False), ("/opt/audio-tune", False)):
        probe = Path(folder) / f".probe-{os.getpid()}"
        writable = False
        with contextlib.suppress(OSError):
            probe.write_bytes(b"")
            probe.unlink()
            writable = True
        if writable != wanted:
            yield f"{folder} {'cannot' if wanted else 'can'} be written"
    if os.getuid() == 0:
        yield "it runs as root"


def main() -> int:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in IMAGE_MODULES:
        print(f"which image? one of {', '.join(IMAGE_MODULES)}", file=sys.stderr)
        return 2
    faults = list(list_faults(name))
    print("\n".join(f"{name}: {fault}" for fault in faults) or f"{name}: {len(IMAGE_MODULES[name])} modules import, no faults")
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main())
