"""A notebook user's training becomes a release: dataset folder, wrapped checkpoint or LoRA; and its sound is stable-audio-tools' own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.adoption.request import AdoptionRequest
from audiotune.audio.sound import Sound
from audiotune.domain.lineage import read_dataset, require_lineage
from audiotune.domain.release import Release
from audiotune.errors import LineageError
from audiotune.registry import releases
from audiotune.stable_audio.release_weights import open_weights
from audiotune.stable_audio.sample import SamplingRequest, generate_sounds
from audiotune.store import FolderStore
from pipelines.adopt import adopt_training, main
from tests.fakes.small_training import base_folder

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).resolve().parents[2]
AGREEMENT = REPOSITORY / "agreement.example.toml"
SHORT = """
name = "short"
[evaluate]
sounds = 2
train_sounds = 2
references = 4
steps = 2
loss_rows = 2
"""
PROMPTS = ("low drone", "bright pluck", "metallic bell", "noise sweep")


@dataclass(frozen=True)
class Notebook:
    """What a user of the notebook has: clips with prompts beside them, the base, and trained weights."""

    folder: Path
    base: Path

    def request(self, weights: Path, name: str, **more: Any) -> AdoptionRequest:
        facts = {"base": str(self.base), "made_by": "the Patch Bay Five", "licence": "members-only", "name": name}
        place = {"store": str(self.folder / "store"), "out": self.folder / name, "recipe": str(self.folder / "short.toml")}
        recordings = str(self.folder / "dataset.json")
        return AdoptionRequest.model_validate({"weights": weights, "recordings": recordings, **facts, **place, **more})

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "store")


def make_notebook(folder: Path) -> Notebook:
    clips = folder / "dataset"
    clips.mkdir()
    time_s = np.arange(int(16_000 * 1.2)) / 16_000
    for place in range(8):
        tone = np.sin(2 * np.pi * 110 * (place + 1) * time_s) * np.exp(-time_s * place) * 0.3
        Sound(tone[None].astype(np.float32), 16_000).write(clips / f"clip_{place}.wav")
        if place % 2:
            (clips / f"clip_{place}.json").write_text(json.dumps({"prompt": PROMPTS[place % 4], "seconds_total": 1.2}))
        else:
            (clips / f"clip_{place}.txt").write_text(PROMPTS[place % 4])
    config = {"dataset_type": "audio_dir", "datasets": [{"id": "mine", "path": str(clips)}], "random_crop": True}
    (folder / "dataset.json").write_text(json.dumps(config))
    (folder / "short.toml").write_text(SHORT)
    return Notebook(folder, base_folder(folder / "base"))


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patched.setenv("AUDIOTUNE_CACHE", str(folder / "cache"))
        patched.setenv("OMP_NUM_THREADS", "1")
        yield make_notebook(folder)


def a_wrapped_checkpoint(base: Path, folder: Path) -> tuple[Path, Any]:
    """Two steps of stable-audio-tools' own training, as its trainer keeps them; and the model of the running mean.

    The mean begins apart from the weights, so that it is heard which of the two was taken.
    """
    import pytorch_lightning as lightning
    import torch

    from audiotune.stable_audio.load import load_model
    from tests.fakes.upstream_training import import_upstream_training

    sa = load_model(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        wrapper = import_upstream_training().DiffusionCondTrainingWrapper(sa.model, lr=1e-3)
        with torch.no_grad():
            for parameter in wrapper.diffusion_ema.ema_model.parameters():
                parameter.add_(torch.randn(parameter.shape) * parameter.std().nan_to_num(0.0) * 0.3)
        sa.model.model.requires_grad_(True)
        told = {"prompt": "low drone", "seconds_total": 1.0, "padding_mask": [torch.ones(sa.window_frames).bool()]}
        batches = [(torch.randn(2, 1, sa.window_frames) * 0.1, (told, told)) for _ in range(2)]
        keep = lightning.callbacks.ModelCheckpoint(every_n_train_steps=2, dirpath=str(folder), save_top_k=-1)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(max_steps=2, accelerator="cpu", callbacks=[keep], **quiet)
        trainer.fit(wrapper, torch.utils.data.DataLoader(batches, batch_size=None))
    sa.model.model = wrapper.diffusion_ema.ema_model
    return folder / "epoch=0-step=2.ckpt", sa


def upstreams_sound(sa: Any) -> np.ndarray[Any, Any]:
    from stable_audio_tools.inference.generation import generate_diffusion_cond

    made = generate_diffusion_cond(
        sa.model,
        steps=6,
        cfg_scale=3.0,
        conditioning=[{"prompt": "low drone", "seconds_total": 1.024}],
        sample_size=sa.window_frames,
        seed=7,
        device="cpu",
        sampler_type="dpmpp-2m",
        apg_scale=0.0,
    )
    return np.asarray(made[0].numpy() / max(1.0, float(np.abs(made[0].numpy()).max())))


def our_sound(notebook: Notebook, release: Release) -> np.ndarray[Any, Any]:
    request = SamplingRequest("low drone", seconds=1.024, steps=6, guidance=3.0, seed=7, sampler="dpmpp-2m")
    return generate_sounds(open_weights(notebook.store, release.weights), [request])[0].data


def test_a_wrapped_checkpoint_becomes_a_release_that_sounds_as_upstream(notebook: Notebook) -> None:
    path, tuned = a_wrapped_checkpoint(notebook.base, notebook.folder)
    asked = ["--recordings", str(notebook.folder / "dataset.json"), "--base", str(notebook.base), "--by", "the Patch Bay Five"]
    asked += ["--licence", "members-only", "--name", "mine", "--agreement", str(AGREEMENT), "--contributors", "ana,ben"]
    asked += ["--store", str(notebook.folder / "store"), "--out", str(notebook.folder / "mine")]
    command = [sys.executable, "-m", "audiotune.cli", "adopt", str(path), *asked, "--recipe", str(notebook.folder / "short.toml")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert run.returncode == 0, run.stderr
    assert "mine version 1 is registered" in run.stdout
    assert "did not pass" in run.stdout  # two segments that are held out are too few to judge by: the gate says so
    release = releases.read_release("mine", "1")
    require_lineage(notebook.store, release)
    origin = release.lineage.origin
    assert origin is not None
    assert (origin.by, origin.file, release.weights.step, release.weights.ema) == ("the Patch Bay Five", path.name, 2, True)
    assert set(release.lineage.contributors) == {"ana", "ben"}
    dataset = read_dataset(notebook.store, release.lineage.dataset)
    assert len(dataset.rows) == 8  # each clip is one segment, as it was
    assert all(row.segment.duration_s == pytest.approx(1.2) for row in dataset.rows)
    assert {row.caption.text for row in dataset.rows} >= {"low drone"}
    assert release.evaluation.metrics["kad_after"] > 0
    wanted = upstreams_sound(tuned)
    heard = our_sound(notebook, release)
    assert np.allclose(heard, wanted[:, : heard.shape[1]], atol=1e-4)
    assert not np.allclose(heard, upstreams_sound_of(notebook.base)[:, : heard.shape[1]], atol=1e-2)
    lied = release.model_copy(update={"weights": release.weights.model_copy(update={"origin": None})})
    with pytest.raises(LineageError, match="another maker"):
        require_lineage(notebook.store, lied)


def upstreams_sound_of(base: Path) -> np.ndarray[Any, Any]:
    from audiotune.stable_audio.load import load_model

    return upstreams_sound(load_model(base))


def test_a_lora_becomes_an_adapter_that_sounds_as_upstream(notebook: Notebook) -> None:
    from audiotune.stable_audio.load import load_model
    from tests.fakes.upstream_lora import load_with_upstream

    lora = a_lora(notebook)
    release = adopt_training(notebook.request(lora, "grit", agreement=str(AGREEMENT), contributors="ana,ben"))
    require_lineage(notebook.store, release)
    assert release.weights.adapter
    assert release.lineage.origin is not None
    assert set(release.lineage.contributors) == {"ana", "ben"}
    wanted = upstreams_sound(load_with_upstream(load_model(notebook.base), lora))
    heard = our_sound(notebook, release)
    assert np.allclose(heard, wanted[:, : heard.shape[1]], atol=2e-3)


def a_lora(notebook: Notebook) -> Path:
    from stable_audio_tools.models.lora import save_lora_safetensors

    from audiotune.stable_audio.load import load_model
    from tests.fakes.upstream_lora import add_upstream_lora

    path, config = notebook.folder / "grit.safetensors", {"rank": 2, "alpha": 2, "adapter_type": "dora-rows"}
    save_lora_safetensors(add_upstream_lora(load_model(notebook.base), config), config, path)
    return path


def test_what_may_not_come_in_is_refused_with_the_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights hold every clip that they were trained on: one that may not be used, or that nobody described, ends it."""
    notebook = make_notebook(tmp_path)
    lora, clips = a_lora(notebook), tmp_path / "dataset"

    def refused(**more: Any) -> str:
        assert (
            main([notebook.request(**{"weights": lora, "name": "grit", "agreement": str(AGREEMENT), **more}).model_dump_json()])
            == 1
        )
        return capsys.readouterr().err

    assert "contributor" in refused()  # nobody says who plays
    assert "mallory" in refused(contributors="mallory")
    (clips / "clip_1.json").write_text('{"prompt": "bright pluck", "contributors": ["mallory"]}')
    assert "1 files were refused" in refused(contributors="ana")
    (clips / "clip_1.json").unlink()
    (clips / "clip_1.wav").rename(clips / "0001.wav")
    assert "0001.wav" in refused(contributors="ana")  # it has no caption
    (clips / "0001.txt").write_text("bright pluck")
    (tmp_path / "wrong.ckpt").write_bytes(b"PK\x03\x04 no zip")
    assert "cannot read the checkpoint" in refused(contributors="ana", weights=tmp_path / "wrong.ckpt")
    assert "no such weights" in refused(weights=tmp_path / "nothing.ckpt")
    (tmp_path / "dataset.json").write_text(json.dumps({"dataset_type": "pre_encoded", "datasets": [{"path": "x"}]}))
    assert "pre_encoded" in refused(contributors="ana")
