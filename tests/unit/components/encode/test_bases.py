"""Base models by name: folders, the store, and Hugging Face once."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from pathlib import Path

import pytest
import torch

from audiotune.audio.sound import Sound
from audiotune.errors import ModelError, SourceError
from audiotune.stable_audio import base_models
from audiotune.stable_audio.local_parts import localize_config, require_allowed_types
from audiotune.stable_audio.model_folder import locate_encoder_folder
from audiotune.store import FolderStore
from audiotune.store.layout import BASES
from audiotune.store.port import digest_from_key
from audiotune.store.tensor_files import open_tensors
from components.encode.step import cut_parts
from tests.fakes.hub import FakeHub

resolve_base = functools.partial(base_models.resolve_base, check=require_allowed_types)  # these configs are no whole models
OPEN = "stabilityai/stable-audio-open-1.0"
ENCODER = {"config.json": b"{}", "model.safetensors": b"t5", "tokenizer.json": b"{}"}


def config(conditioner: dict[str, object]) -> bytes:
    return json.dumps({"model_type": "diffusion_cond", "model": {"conditioning": {"configs": [conditioner]}}}).encode()


def hub() -> FakeHub:
    t5 = {"id": "prompt", "type": "t5", "config": {"t5_model_name": "t5-base"}}
    return FakeHub(
        {
            OPEN: {
                "model_config.json": config(t5),
                "model.safetensors": b"open",
                "model.ckpt": b"pickled",
                "transformer/x.bin": b"no",
            },
            "t5-base": {**ENCODER, "pytorch_model.bin": b"pickled"},
        }
    )


def test_a_model_is_downloaded_once_with_its_text_encoder(tmp_path: Path) -> None:
    store, network = FolderStore(tmp_path), hub()
    first = resolve_base(store, OPEN, network)
    assert (first.folder / "model.safetensors").read_bytes() == b"open"
    assert (first.folder / locate_encoder_folder("t5-base") / "model.safetensors").read_bytes() == b"t5"
    assert not any(name.endswith((".bin", ".ckpt")) for name in network.downloads)
    again = resolve_base(store, OPEN, FakeHub({}))  # a hub without anything: nothing is asked for
    assert again.digest == first.digest
    assert again.files == first.files


def test_a_base_that_would_download_or_unpickle_its_parts_is_refused_before_its_weights_are_fetched(tmp_path: Path) -> None:
    network = FakeHub({OPEN: {"model_config.json": config({"id": "prompt", "type": "clap_text"}), "model.safetensors": b"open"}})
    with pytest.raises(ModelError, match="a conditioner of type 'clap_text' is not allowed in stabilityai/"):
        resolve_base(FolderStore(tmp_path), OPEN, network)
    assert network.downloads == [f"{OPEN}/model_config.json"]


def test_a_mirrored_base_finds_the_tokenizer_that_its_config_names_at_the_hub(tmp_path: Path) -> None:
    lut = {"id": "prompt", "type": "lut", "config": {"tokenizer_name": "someone/words"}}
    files = {"model_config.json": config(lut), "model.safetensors": b"open"}
    base = resolve_base(
        FolderStore(tmp_path), "some/model", FakeHub({"some/model": files, "someone/words": {"tokenizer.json": b"{}"}})
    )
    local = localize_config(json.loads((base.folder / "model_config.json").read_bytes()), base.folder)
    found = Path(local["model"]["conditioning"]["configs"][0]["config"]["tokenizer_name"])
    assert [path.name for path in found.iterdir()] == ["tokenizer.json"]


def test_a_base_is_one_under_both_of_its_names(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = resolve_base(store, "stable-audio-open-1.0", hub())
    assert first.name == "stable-audio-open-1.0"
    assert resolve_base(store, OPEN, FakeHub({})).digest == first.digest


def test_of_two_bases_in_one_repository_each_has_its_own_config_and_weights(tmp_path: Path) -> None:
    pickled = io.BytesIO()
    torch.save({"state_dict": {"model.w": torch.ones(3)}}, pickled)
    t5 = {"id": "prompt", "type": "t5", "config": {"t5_model_name": "t5-base"}}
    small = {
        "model_config.json": config(t5),
        "model.safetensors": b"distilled",
        "base_model_config.json": config({**t5, "id": "words"}),
        "base_model.ckpt": pickled.getvalue(),
    }
    network, store = FakeHub({"stabilityai/stable-audio-open-small": small, "t5-base": ENCODER}), FolderStore(tmp_path)
    distilled = resolve_base(store, "stable-audio-open-small", network)
    for_tuning = resolve_base(store, "stable-audio-open-small-base", network)
    assert distilled.weights_path.read_bytes() == b"distilled"
    with open_tensors(for_tuning.weights_path) as tensors:
        assert tensors["model.w"].load().tolist() == [1, 1, 1]
    assert "words" in (for_tuning.folder / "model_config.json").read_text()
    assert resolve_base(store, "stabilityai/stable-audio-open-small", FakeHub({})).digest == distilled.digest


def test_a_text_encoder_inside_the_bases_own_repository_is_taken_from_there(tmp_path: Path) -> None:
    name = "stabilityai/stable-audio-3-medium-base"
    gemma = {f"t5gemma-b-b-ul2/{path}": content for path, content in ENCODER.items()}
    own = {
        "model_config.json": config({"id": "s", "type": "number"}),
        "model.safetensors": b"3",
        "LICENSE_GEMMA.md": b"Gemma",
        **gemma,
    }
    base = resolve_base(FolderStore(tmp_path), "stable-audio-3-medium-base", FakeHub({name: own}))
    assert (base.folder / "text_encoder/t5gemma-b-b-ul2/model.safetensors").read_bytes() == b"t5"
    assert (base.folder / "LICENSE_GEMMA.md").read_bytes() == b"Gemma"
    del own["t5gemma-b-b-ul2/config.json"]
    with pytest.raises(ModelError, match="there is no t5gemma-b-b-ul2/config.json"):
        resolve_base(FolderStore(tmp_path / "other"), name, FakeHub({name: own}))


def test_the_digest_is_of_all_that_is_heard(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "tokenizer").mkdir(parents=True)
    for name, content in {"model_config.json": b"{}", "model.safetensors": b"w", "tokenizer/tokenizer.json": b"1"}.items():
        (folder / name).write_bytes(content)
    store = FolderStore(tmp_path / "store")
    digest = resolve_base(store, str(folder)).digest
    (folder / "README.md").write_text("words about it")
    litter = folder / "tokenizer" / ".cache" / "huggingface" / "tokenizer.json.metadata"
    litter.parent.mkdir(parents=True)
    litter.write_text("1764540000.25")  # when it was fetched
    assert resolve_base(store, str(folder)).digest == digest
    (folder / "tokenizer" / "tokenizer.json").write_bytes(b"2")
    assert resolve_base(store, str(folder)).digest != digest


def test_a_base_that_was_copied_by_an_older_version_keeps_its_digest(tmp_path: Path) -> None:
    """Older copies have a downloader's time stamps among their files; latents and checkpoints name the digest with them."""
    store = FolderStore(tmp_path)
    paths = ("model_config.json", "model.safetensors", "text_encoder/t5-base/.cache/huggingface/config.json.metadata")
    files = {path: store.put_blob(path.encode(), Path(path).suffix) for path in paths}
    digests = {path: digest_from_key(key) for path, key in files.items()}
    digest = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    key = BASES.key(f"{hashlib.sha256(OPEN.encode()).hexdigest()[:32]}.json")
    store.put(key, json.dumps({"name": OPEN, "digest": digest, "files": files}, sort_keys=True).encode())
    base = resolve_base(store, OPEN, FakeHub({}))
    assert base.digest == digest
    assert set(base.files) == set(paths)


def test_a_base_may_lie_in_the_store(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("models/ours/model_config.json", b"{}")
    store.put("models/ours/model.safetensors", b"ours")
    base = resolve_base(store, "models/ours", FakeHub({}))
    assert base.weights_path.read_bytes() == b"ours"
    assert json.loads((base.folder / "model_config.json").read_bytes()) == {}


def test_names_of_nothing_are_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with pytest.raises(ModelError, match="no base model"):
        resolve_base(store, "loud", FakeHub({}))
    with pytest.raises(SourceError, match="no such repository"):
        resolve_base(store, "nobody/nothing", FakeHub({}))
    with pytest.raises(ModelError, match="no stable-audio-tools model"):
        resolve_base(store, "some/diffuser", FakeHub({"some/diffuser": {"unet.safetensors": b""}}))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model_config.json").write_text("{}")
    with pytest.raises(ModelError, match="without weights"):
        resolve_base(store, str(tmp_path / "half"))


@pytest.mark.parametrize(
    ("seconds", "parts"),
    [(1.0, [1.0]), (2.0, [2.0]), (2.1, [2.0]), (2.5, [2.0, 0.5]), (5.0, [2.0, 2.0, 1.0]), (0.1, [0.1])],
)
def test_long_sounds_are_cut_and_crumbs_left_out(seconds: float, parts: list[float]) -> None:
    import numpy as np

    sound = Sound(np.zeros((2, round(seconds * 1000)), np.float32), 1000)
    assert [part.duration_s for part in cut_parts(sound, 2.0, 0.25)] == parts
