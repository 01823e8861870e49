"""Copying a base from a hub: what enters the store, what is fetched again after a kill, and what is said when the hub refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiotune.errors import ModelError, SourceError
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.base_index import BaseIndex, list_base_indexes
from audiotune.stable_audio.base_mirror import BaseMirror
from audiotune.stable_audio.base_models import mirror_base, resolve_base
from audiotune.stable_audio.hub import HuggingFace
from audiotune.stable_audio.local_parts import require_allowed_types
from audiotune.store import FolderStore
from audiotune.store.layout import DOWNLOADS
from tests.fakes.hub_server import HubServer

OPEN, WEIGHTS = "stabilityai/stable-audio-open-1.0", "model.safetensors"
PART, SIZE = 2000, 7300
LARGE = f"{OPEN}/{WEIGHTS}"
CONFIG = {"model": {"conditioning": {"configs": [{"id": "prompt", "type": "t5", "config": {"t5_model_name": "t5-base"}}]}}}


class KilledError(BaseException):
    """Ends a process at once, as no handler of ours may catch it."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    weights = random.Random(1).randbytes(SIZE)
    server = HubServer(
        {
            OPEN: {
                "model_config.json": json.dumps(CONFIG).encode(),
                WEIGHTS: weights,
                "model.ckpt": b"pickled",
                "LICENSE.md": b"Stability AI Community License",
                "README.md": b"words",
                "tokenizer/tokenizer.json": b"of no conditioner",
                "vae/config.json": b"{}",
            },
            "google-t5/t5-base": {
                "config.json": b"{}",
                WEIGHTS: b"t5" * 700,
                "spiece.model": b"s",
                "tokenizer.json": b"{}",
                "x.onnx": b"x",
            },
        },
        gated={OPEN},
        renamed={"t5-base": "google-t5/t5-base"},
        tokens={
            "hf_good": "accepted",
            "hf_new": "not accepted",
            "hf_old": "expired",
            "hf_wait": "waiting",
            "hf_fine": "fine-grained",
        },
    )
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    with server.run() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-login"))
        yield server


def copy_base(store: FolderStore, told: list[str] | None = None) -> BaseIndex:
    def tell(share: float, words: str) -> None:
        if told is not None:
            told.append(f"{share:.2f} {words}")

    return BaseMirror(store, HuggingFace(pause_s=0), tell, require_allowed_types, part_bytes=PART).copy_base(OPEN)


def test_a_base_has_the_files_that_its_config_names_and_its_licence(hub: HubServer, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    index = copy_base(store)
    encoder = {f"text_encoder/t5-base/{name}" for name in ("config.json", WEIGHTS, "spiece.model", "tokenizer.json")}
    assert set(index.files) == {"model_config.json", WEIGHTS} | encoder
    assert set(index.notices) == {"LICENSE.md"}
    assert index.revisions == {OPEN: "a" * 40, "t5-base": "a" * 40}
    base = resolve_base(store, OPEN)
    assert base.weights_path.read_bytes() == hub.repositories[OPEN][WEIGHTS]
    assert (base.folder / "LICENSE.md").read_bytes() == b"Stability AI Community License"
    assert not hub.leaked


def test_two_copies_of_one_hub_are_one_base(hub: HubServer, tmp_path: Path) -> None:
    first, second = (copy_base(FolderStore(tmp_path / name)) for name in ("one", "two"))
    assert first == second
    assert first.digest == second.digest


def test_a_killed_copy_goes_on_behind_the_last_part_on_another_machine(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "store")

    def die(share: float, words: str) -> None:
        if hub.sent.get(LARGE, 0) >= 2 * PART:
            raise KilledError

    with pytest.raises(KilledError):
        BaseMirror(store, HuggingFace(pause_s=0), die, require_allowed_types, part_bytes=PART).copy_base(OPEN)
    assert hub.sent[LARGE] == 2 * PART
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "another machine"))
    copy_base(store)
    assert hub.sent[LARGE] == SIZE
    assert hub.sent[f"google-t5/t5-base/{WEIGHTS}"] == 1400  # it was whole, so it is a blob: not asked for a second time
    assert not list(store.list(DOWNLOADS.path))
    assert [index.name for index in list_base_indexes(store)] == [OPEN]


def test_a_cut_connection_goes_on_from_the_byte_it_had(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    hub.cuts[LARGE] = [PART, 300, 200, -503]  # at last the hub itself is busy
    copy_base(FolderStore(tmp_path / "store"))
    assert [asked for file, asked in hub.asked if file == LARGE][1:5] == [
        "bytes=2000-3999",
        "bytes=2300-3999",
        "bytes=2500-3999",
        "bytes=2500-3999",
    ]
    assert hub.sent[LARGE] == SIZE


def test_words_come_before_weights_and_the_log_tells_bytes_and_time(hub: HubServer, tmp_path: Path) -> None:
    told: list[str] = []
    copy_base(FolderStore(tmp_path / "store"), told)
    assert "asking Hugging Face" in told[0]
    assert told[-1].startswith(f"1.00 {OPEN}: {WEIGHTS}, 0.01 of 0.01 MB")
    assert any("left" in line for line in told)
    order = [line.split(": ")[1].split(",")[0] for line in told[1:]]
    assert order.index("text_encoder/t5-base/tokenizer.json") < order.index(WEIGHTS)


def test_a_config_that_cannot_be_built_ends_it_before_any_weight(hub: HubServer, tmp_path: Path) -> None:
    conditioner = {"id": "prompt", "type": "clap_text"}
    hub.repositories[OPEN]["model_config.json"] = json.dumps({"model": {"conditioning": {"configs": [conditioner]}}}).encode()
    with pytest.raises(ModelError, match="'clap_text' is not allowed in stabilityai/"):
        copy_base(FolderStore(tmp_path / "store"))
    assert set(hub.sent) == {f"{OPEN}/LICENSE.md", f"{OPEN}/model_config.json"}


@pytest.mark.parametrize(
    ("token", "name", "what", "cure"),
    [
        ("", OPEN, "there is no token that tells who asks", "set HF_TOKEN"),
        (
            "hf_new",
            OPEN,
            "is not accepted by the account of the token in HF_TOKEN",
            "accept the licence at https://huggingface.co/stab",
        ),
        ("hf_wait", OPEN, "have not answered your request yet", "run it again then"),
        ("hf_fine", OPEN, "may not read models behind a licence", "Read access to contents of all public gated"),
        ("hf_bad", OPEN, "does not know the token in HF_TOKEN", "copy it again"),
        ("hf_old", OPEN, "the token in HF_TOKEN has expired", "make a new one"),
        ("hf_good", "stabilityai/stable-audio-open-1", "has no model 'stabilityai/stable-audio-open-1'", f"did you mean {OPEN}?"),
        ("", "stabilityai/stable-audio-open-1", "has no model 'stabilityai/stable-audio-open-1'", "A private one needs HF_TOKEN"),
        ("hf_a hf_b", OPEN, "this is no token in HF_TOKEN", "give the token alone"),
    ],
)
def test_each_refusal_has_its_own_sentence_and_cure(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, name: str, what: str, cure: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(SourceError) as refused:
        mirror_base(FolderStore(tmp_path / "store"), name, None, ignore_progress)
    assert what in str(refused.value)
    assert cure in refused.value.cure
    assert "hf_a" not in str(refused.value)
    assert not hub.sent


def test_a_hub_that_is_away_is_named_with_the_way_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    with pytest.raises(SourceError, match=r"does not answer \(ConnectError.*run it again: what came is kept.*--from FOLDER"):
        mirror_base(FolderStore(tmp_path), OPEN)


def test_the_token_of_an_earlier_login_is_named_when_it_went_stale(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    login = tmp_path / "login"
    login.write_text("hf_old")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(login))
    with pytest.raises(SourceError, match=r"the token in .*login \(an earlier login; HF_TOKEN goes before it\) has expired"):
        mirror_base(FolderStore(tmp_path / "store"), OPEN)


def test_bytes_that_the_hub_does_not_promise_are_refused_and_fetched_anew(hub: HubServer, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    good = hub.repositories[OPEN][WEIGHTS]
    snapshot = HuggingFace().read_snapshot(OPEN)
    digest = snapshot.files[WEIGHTS].digest
    store.put(DOWNLOADS.key(digest, f"{0:015d}"), b"x" * PART)  # a part that was damaged since
    with pytest.raises(SourceError, match="not the file that the hub names"):
        copy_base(store)
    assert resolve_base(store, copy_base(store).name).weights_path.read_bytes() == good
