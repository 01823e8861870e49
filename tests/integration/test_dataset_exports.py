"""A frozen dataset as others read it: stable-audio-tools' own loader, and mlcroissant.

torchaudio of today cannot decode without torchcodec, which is not installed; `upstream_train_step` opens the sounds with
soundfile in its place.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audiotune.audio.sound import Sound, read_sound
from audiotune.domain import annotation
from audiotune.domain.annotation import Annotation
from audiotune.domain.dataset import DatasetRow
from audiotune.domain.manifest import fetch_manifest, find_newest_manifest
from audiotune.governance import record_consent
from audiotune.governance.consent import Consent
from audiotune.store import FolderStore
from components.annotate_merge import step
from components.annotate_merge.export import main
from components.annotate_merge.settings import Settings
from tests.fakes.described_store import make_described_store, recording


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[FolderStore, Path, list[DatasetRow]]:
    folder = tmp_path_factory.mktemp("exports")
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 44_100)).astype(np.float32)
    takes = [recording(f"{word}_1.wav", licence=licence) for word, licence in (("drone", "CC0-1.0"), ("bell", "CC-BY-4.0"))]
    made = make_described_store(
        folder / "store", [*takes, recording("siren_2.wav")], each=2, blob=Sound(noise, 44_100).to_bytes("FLAC")
    )
    words = Annotation(
        segment=made.segments["drone_1.wav"][0].id, member="ana", words="like “rain” — very far", tags={"mood": ("mood.calm",)}
    )
    annotation.save_annotation(made.store, words)
    step.run_step(
        Settings(segments=made.key), made.store, lambda share, words: None,
        dataset=folder / "d", report=folder / "r", metrics=folder / "m",
    )  # fmt: skip
    key = find_newest_manifest(made.store, "datasets")
    assert key is not None
    assert main(["--store", made.store.url, "--dataset", key, "--out", str(folder / "out")]) == 0
    return made.store, folder / "out", fetch_manifest(made.store, key, "datasets", DatasetRow).rows


def test_the_folder_holds_every_sound_once_on_its_side(exported: tuple[FolderStore, Path, list[DatasetRow]]) -> None:
    _, folder, rows = exported
    for side in ("train", "held_out"):
        assert len(list((folder / side).glob("*.flac"))) == sum(row.split == side for row in rows) > 0
    assert read_sound(next((folder / "train").glob("*.flac"))).frames == 44_100
    described = json.loads((folder / "stable_audio_tools" / "captions.json").read_text())
    assert {tuple(one["captions"]) for one in described.values()} == {row.caption.all_texts for row in rows}
    assert all(one["seconds_total"] == 1.0 for one in described.values())


def test_the_same_descriptions_lie_in_the_store(exported: tuple[FolderStore, Path, list[DatasetRow]]) -> None:
    store, folder, _ = exported
    prefix = (find_newest_manifest(store, "datasets") or "").removesuffix(".jsonl")
    for name in ("croissant.json", "stable_audio_tools/captions.json", "stable_audio_tools/captions.py"):
        assert store.get(f"{prefix}/{name}") == (folder / name).read_bytes()
    assert store.exists(f"{prefix}/stable_audio_tools/dataset_config.json")


def test_mlcroissant_finds_nothing_wrong(exported: tuple[FolderStore, Path, list[DatasetRow]]) -> None:
    croissant = pytest.importorskip("mlcroissant")
    _, folder, rows = exported
    dataset = croissant.Dataset(folder / "croissant.json")
    assert dataset.metadata.ctx.issues.errors == set()
    assert [person.name for person in dataset.metadata.creators] == ["Ana"]
    assert set(dataset.metadata.license) == {"CC0-1.0", "CC-BY-4.0"}
    assert "Dawid-Skene" in json.dumps(dataset.metadata.to_json(), default=str)
    found = list(dataset.records("segments"))
    assert [one["segments/caption"].decode() for one in found] == [row.caption.text for row in rows]
    assert {one["segments/split"].decode() for one in found} == {"train", "held_out"}


def test_croissant_names_every_file_by_its_hash(exported: tuple[FolderStore, Path, list[DatasetRow]]) -> None:
    import hashlib

    _, folder, rows = exported
    files = json.loads((folder / "croissant.json").read_text())["distribution"]
    assert len(files) == len(rows) + 1
    for one in files:
        assert hashlib.sha256((folder / one["contentUrl"]).read_bytes()).hexdigest() == one["sha256"]


def test_the_metadata_module_runs_where_nothing_is_installed(
    exported: tuple[FolderStore, Path, list[DatasetRow]], tmp_path: Path
) -> None:
    _, folder, rows = exported
    shutil.copytree(folder / "stable_audio_tools", tmp_path / "elsewhere")
    program = (
        "import importlib.util, json, sys\n"
        "spec = importlib.util.spec_from_file_location('captions', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(json.dumps([module.get_custom_metadata({'relpath': sys.argv[2]}, None) for _ in range(60)]))\n"
    )
    row = max(rows, key=lambda row: len(row.caption.all_texts))
    name = f"{row.segment.id[:32]}.flac"
    command = [sys.executable, "-I", "-S", "-c", program, str(tmp_path / "elsewhere" / "captions.py"), f"{row.split}/{name}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(row.caption.all_texts) > 1
    assert {answer["prompt"] for answer in answers} == set(row.caption.all_texts)
    assert answers[0]["seconds_total"] == 1.0


@pytest.mark.integration
def test_stable_audio_tools_reads_it(exported: tuple[FolderStore, Path, list[DatasetRow]]) -> None:
    dataset = pytest.importorskip("stable_audio_tools.data.dataset", reason="stable-audio-tools is not installed")
    dill = pytest.importorskip("dill", reason="stable-audio-tools is not installed")
    _, folder, rows = exported
    for name, side in (("dataset_config.json", "train"), ("val_dataset_config.json", "held_out")):
        config = json.loads((folder / "stable_audio_tools" / name).read_text())
        loader = dataset.create_dataloader_from_config(
            config, batch_size=1, sample_size=65_536, sample_rate=44_100, num_workers=1
        )
        files = loader.dataset.filenames
        assert len(files) == sum(row.split == side for row in rows)
        (pickled,) = loader.dataset.custom_metadata_fns.values()
        ask = dill.loads(pickled)  # as the loader does for every sound, in its workers
        texts = {f"{row.segment.id[:32]}.flac": row.caption.all_texts for row in rows}
        for file in files:
            for _ in range(8):
                described = ask({"relpath": Path(file).name, "path": file}, None)
                assert described["prompt"] in texts[Path(file).name]
                assert math.isclose(described["seconds_total"], 1.0)


@pytest.mark.integration
def test_stable_audio_tools_trains_a_step_on_it(exported: tuple[FolderStore, Path, list[DatasetRow]], tmp_path: Path) -> None:
    """In a process and a folder of its own, with nothing of this project."""
    pytest.importorskip("stable_audio_tools", reason="stable-audio-tools is not installed")
    _, folder, rows = exported
    program = shutil.copy(Path(__file__).with_name("upstream_train_step.py"), tmp_path / "train_step.py")
    tokenizer = Path(__file__).parents[2] / "bases" / "tiny" / "tokenizer"
    command = [sys.executable, "-I", str(program), str(folder), str(tokenizer)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    texts = {text for row in rows if row.split == "train" for text in row.caption.all_texts}
    assert answer["shape"] == [2, 2, 32_768]
    assert set(answer["prompts"]) <= texts
    assert answer["moved"] > 0


def test_a_withdrawn_consent_stops_the_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_described_store(tmp_path / "store", [recording("drone.wav")])
    outputs = {name: tmp_path / name for name in ("dataset", "report", "metrics")}
    step.run_step(Settings(segments=made.key, players=0), made.store, lambda share, words: None, **outputs)
    record_consent(
        made.store, Consent(recording=made.takes["drone.wav"].id, contributor="ana", uses=(), basis="t", agreement="0" * 64)
    )
    assert main(["--store", made.store.url, "--out", str(tmp_path / "out")]) == 1
    assert "ana has not agreed to train" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_dataset_and_a_missing_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 1
    assert "no dataset" in capsys.readouterr().err
    made = make_described_store(tmp_path / "store", [recording("drone.wav")])
    outputs = {name: tmp_path / name for name in ("dataset", "report", "metrics")}
    step.run_step(Settings(segments=made.key, players=0), made.store, lambda share, words: None, **outputs)
    assert main(["--store", made.store.url, "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out" / "croissant.json").exists()
