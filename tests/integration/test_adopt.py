"""A notebook user's training becomes a release: dataset folder, wrapped checkpoint or LoRA; and its sound is stable-audio-tools' own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.domain.lineage import read_dataset, require_lineage
from audiotune.domain.release import Release
from audiotune.errors import LineageError
from audiotune.registry import releases
from audiotune.stable_audio.release_weights import open_weights
from audiotune.stable_audio.sample import SamplingRequest, generate_sounds
from audiotune.store import FolderStore
from tests.fakes.small_training import base_folder

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).resolve().parents[2]
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

    def adopt(self, weights: Path, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        facts = ["--base", str(self.base), "--by", "the Patch Bay Five", "--licence", "members-only", "--name", name]
        place = [
            "--store",
            str(self.folder / "store"),
            "--out",
            str(self.folder / name),
            "--recipe",
            str(self.folder / "short.toml"),
        ]
        asked = ["adopt", str(weights), "--recordings", str(self.folder / "dataset.json"), *facts, *place, *more]
        return subprocess.run([sys.executable, "-m", "audiotune.cli", *asked], capture_output=True, text=True, cwd=REPOSITORY)

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "store")


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    clips = tmp_path / "dataset"
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
    (tmp_path / "dataset.json").write_text(json.dumps(config))
    (tmp_path / "short.toml").write_text(SHORT)
    return Notebook(tmp_path, base_folder(tmp_path / "base"))


def a_wrapped_checkpoint(base: Path, path: Path) -> Any:
    """As stable-audio-tools' own training wrapper leaves it, its running mean apart from the last weights. The mean's model."""
    import torch

    from audiotune.stable_audio.load import load_model
    from tests.fakes.upstream_training import import_upstream_training

    sa = load_model(base)
    wrapper = import_upstream_training().DiffusionCondTrainingWrapper(sa.model, lr=1e-4)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in wrapper.diffusion_ema.ema_model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * parameter.std().nan_to_num(0.0) * 0.3)
    optimizer = {"state": {0: {"exp_avg": torch.zeros(4), "step": torch.tensor(800.0)}}, "param_groups": [{"lr": 1e-4}]}
    torch.save({"state_dict": wrapper.state_dict(), "global_step": 800, "epoch": 53, "optimizer_states": [optimizer]}, path)
    sa.model.model = wrapper.diffusion_ema.ema_model
    return sa


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
    path = notebook.folder / "epoch=53-step=800.ckpt"
    tuned = a_wrapped_checkpoint(notebook.base, path)
    agreement = ("--agreement", str(REPOSITORY / "agreement.example.toml"), "--contributors", "ana,ben")
    run = notebook.adopt(path, "mine", *agreement)
    assert run.returncode == 0, run.stderr
    assert "mine version 1 is registered" in run.stdout
    release = releases.read_release("mine", "1")
    require_lineage(notebook.store, release)
    origin = release.lineage.origin
    assert origin is not None
    assert (origin.by, origin.file, release.weights.step, release.weights.ema) == ("the Patch Bay Five", path.name, 800, True)
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


def test_a_lora_becomes_an_adapter_and_what_may_not_come_in_is_refused_with_the_cure(notebook: Notebook) -> None:
    from stable_audio_tools.models.lora import save_lora_safetensors

    from audiotune.stable_audio.load import load_model
    from tests.fakes.upstream_lora import add_upstream_lora, load_with_upstream

    agreement = ("--agreement", str(REPOSITORY / "agreement.example.toml"))
    lora = notebook.folder / "grit.safetensors"
    config = {"rank": 2, "alpha": 2, "adapter_type": "dora-rows"}
    save_lora_safetensors(add_upstream_lora(load_model(notebook.base), config), config, lora)

    unknown = notebook.adopt(lora, "grit", *agreement)  # nobody says who plays
    assert unknown.returncode == 1
    assert "contributor" in unknown.stderr
    stranger = notebook.adopt(lora, "grit", *agreement, "--contributors", "mallory")
    assert stranger.returncode == 1
    assert "mallory" in stranger.stderr
    (notebook.folder / "dataset" / "clip_1.json").write_text('{"prompt": "bright pluck", "contributors": ["mallory"]}')
    partly = notebook.adopt(lora, "grit", *agreement, "--contributors", "ana")
    assert partly.returncode == 1
    assert "1 files were refused" in partly.stderr  # the weights hold it: the others alone are not their dataset
    (notebook.folder / "dataset" / "clip_1.json").write_text('{"prompt": "bright pluck"}')
    wrong = notebook.folder / "wrong.ckpt"
    wrong.write_bytes(b"PK\x03\x04 no zip")
    damaged = notebook.adopt(wrong, "grit", "--contributors", "ana")
    assert damaged.returncode == 1
    assert "cannot read the checkpoint" in damaged.stderr

    run = notebook.adopt(lora, "grit", "--contributors", "ana")
    assert run.returncode == 0, run.stderr
    release = releases.read_release("grit", "1")
    require_lineage(notebook.store, release)
    assert release.weights.adapter
    assert release.lineage.origin is not None
    assert set(release.lineage.contributors) == {"ana"}
    wanted = upstreams_sound(load_with_upstream(load_model(notebook.base), lora))
    heard = our_sound(notebook, release)
    assert np.allclose(heard, wanted[:, : heard.shape[1]], atol=2e-3)
