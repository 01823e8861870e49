"""`audiotune base fetch` and `audiotune base list`: from the hub, and from a folder that somebody brought."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from audiotune.cli import main
from audiotune.stable_audio.base_index import list_base_indexes, read_base_index
from audiotune.stable_audio.base_models import resolve_base
from audiotune.store import FolderStore
from tests.fakes.hub import FakeHub
from tests.fakes.hub_server import HubServer
from tests.fakes.random_model import make_random_config

OPEN = "stabilityai/stable-audio-open-1.0"
CONFIG = make_random_config()
CONFIG["model"]["conditioning"]["configs"][0] = {"id": "prompt", "type": "t5", "config": {"t5_model_name": "t5-base"}}
FILES = {"model_config.json": json.dumps(CONFIG).encode(), "model.safetensors": b"open" * 9, "LICENSE.md": b"words"}
ENCODER = {"config.json": b"{}", "model.safetensors": b"t5" * 9, "tokenizer.json": b"{}"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("AUDIOTUNE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    return FolderStore(tmp_path / "store")


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_a_base_is_fetched_ahead_listed_and_not_fetched_twice(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = HubServer({OPEN: FILES, "t5-base": ENCODER}, gated={OPEN}, tokens={"hf_good": "accepted"})
    with hub.run() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert main(["base", "fetch", OPEN]) == 0
        sent = dict(hub.sent)
        assert main(["base", "fetch", OPEN, "tiny", "no/such"]) == 1  # the others are fetched though one fails
        assert hub.sent == sent
    said = capsys.readouterr()
    assert f"{OPEN} is in the store already" in said.out
    assert "tiny is shipped" in said.out
    assert "Hugging Face has no model 'no/such'" in said.err
    assert main(["base", "list"]) == 0
    assert f"{OPEN}: 0.00 GB, digest {next(list_base_indexes(store)).digest[:16]}, LICENSE.md" in capsys.readouterr().out


def test_a_folder_brought_by_hand_is_the_same_base_as_the_hubs(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    litter = {
        ".cache/huggingface/x.metadata": b"1764540000.1",
        "tokenizer/tokenizer.json": b"of no conditioner",
        "README.md": b"words",
    }
    encoder = {f"text_encoder/t5-base/{path}": content for path, content in ENCODER.items()}
    encoder["text_encoder/t5-base/.cache/huggingface/x.metadata"] = b"1764540000.2"
    folder = write_files(tmp_path / "usb", {**FILES, **encoder, **litter})
    assert main(["base", "fetch", OPEN, "--from", str(folder)]) == 0
    by_hand = read_base_index(store, OPEN)
    assert by_hand is not None
    from_hub = resolve_base(FolderStore(tmp_path / "other"), OPEN, FakeHub({OPEN: FILES, "t5-base": ENCODER}))
    assert by_hand.digest == from_hub.digest
    assert set(by_hand.notices) == {"LICENSE.md"}


def test_a_folder_without_its_text_encoder_is_refused_with_the_place_for_it(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_files(tmp_path / "usb", FILES)
    assert main(["base", "fetch", OPEN, "--from", str(folder)]) == 1
    assert "put its files into text_encoder/t5-base" in capsys.readouterr().err.lower()
    assert main(["base", "fetch", OPEN, "--from", str(tmp_path / "nowhere")]) == 1
    assert "no base lies here" in capsys.readouterr().err
    assert not list(list_base_indexes(store))


def test_a_config_that_stable_audio_tools_cannot_build_is_refused_before_gigabytes(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = copy.deepcopy(CONFIG)
    del broken["model"]["pretransform"]["config"]["decoder"]
    unknown = copy.deepcopy(CONFIG)
    unknown["model"]["diffusion"]["diffusion_objective"] = "dream"
    files = {name: {**FILES, "model_config.json": json.dumps(c).encode()} for name, c in (("us/a", broken), ("us/b", unknown))}
    hub = HubServer(files, tokens={"hf_good": "accepted"})
    with hub.run() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert main(["base", "fetch", *files]) == 1
    said = capsys.readouterr().err
    assert "stable-audio-tools cannot build this config: KeyError('decoder') in us/a/model_config.json" in said
    assert "dream" in said
    assert not [file for file in hub.sent if file.endswith("safetensors")]
