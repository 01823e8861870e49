"""A model is built from its own folder: no hub is reached, whatever its config names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from audiotune.errors import ModelError
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.local_parts import localize_config
from tests.fakes.http_server import answering

ASKS_A_HUB = """
import contextlib
from audiotune.stable_audio.local_parts import forbid_downloads
from huggingface_hub import hf_hub_download
for guard in (forbid_downloads(), contextlib.nullcontext()):
    with guard:
        try:
            hf_hub_download("someone/words", f"{type(guard).__name__}.json")
        except Exception as e:
            print(type(e).__name__)
"""


def a_config(conditioner: dict[str, Any], **model: Any) -> dict[str, Any]:
    return {
        "model_type": "diffusion_cond",
        "model": {"conditioning": {"cond_dim": 8, "configs": [{"id": "prompt", **conditioner}]}, **model},
    }


def folder_of(tmp_path: Path, config: dict[str, Any], *files: str) -> Path:
    folder = tmp_path / "base"
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("{}")
    folder.mkdir(exist_ok=True)
    (folder / "model_config.json").write_text(json.dumps(config))
    return folder


@contextmanager
def a_hub() -> Iterator[tuple[str, list[str]]]:
    """A server in the hub's place, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with answering(Handler) as url:
        yield url, asked


@pytest.mark.parametrize(
    ("conditioner", "named"),
    [
        ({"type": "lut", "config": {"tokenizer_name": "google/t5-v1_1-base"}}, "the tokenizer 'google/t5-v1_1-base'"),
        ({"type": "lut", "config": {}}, "the tokenizer ''"),
        ({"type": "lut", "config": {"tokenizer_name": "/usr/share"}}, "the tokenizer '/usr/share'"),
        ({"type": "lut", "config": {"tokenizer_name": "../.."}}, "the tokenizer '../..'"),
        ({"type": "lut", "config": {"tokenizer_name": "."}}, "the tokenizer '.'"),
        ({"type": "t5", "config": {"t5_model_name": "t5-large"}}, "the text encoder 't5-large'"),
        ({"type": "t5"}, "the text encoder 't5-base'"),
    ],
)
def test_what_is_not_beside_the_model_is_refused_and_not_downloaded(
    tmp_path: Path, conditioner: dict[str, Any], named: str
) -> None:
    folder = folder_of(tmp_path, a_config(conditioner))
    with pytest.raises(ModelError) as refused:
        load_model(folder)
    assert f"{named} is not beside the model, and nothing is downloaded here" in str(refused.value)
    assert "Put its files into text_encoder/" in str(refused.value)


@pytest.mark.parametrize("kind", ["clap_text", "clap_audio", "phoneme", "pretransform", "source_mix", "made-up", None])
def test_a_conditioner_of_another_type_is_named_and_refused(tmp_path: Path, kind: str | None) -> None:
    with pytest.raises(ModelError, match=f"a conditioner of type '{kind}' is not allowed.*t5, t5gemma, lut, number"):
        load_model(folder_of(tmp_path, a_config({"type": kind})))


@pytest.mark.parametrize(
    "model",
    [
        {"pretransform": {"type": "dac_pretrained", "config": {}}},
        {"pretransform": {"type": "autoencoder", "config": {"pretransform": {"type": "audiocraft_pretrained"}}}},
        {"diffusion": {"config": [{"pretransform_config": {"type": "dac_pretrained"}}]}},
    ],
)
def test_a_codec_that_would_be_downloaded_is_refused_wherever_it_stands(tmp_path: Path, model: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="a pretransform of type '[a-z]+_pretrained' is not allowed"):
        load_model(folder_of(tmp_path, a_config({"type": "number"}, **model)))


@pytest.mark.parametrize("place", ["words", "text_encoder/words", "text_encoder/someone/words", "someone/words"])
def test_parts_are_found_under_their_full_and_their_last_name(tmp_path: Path, place: str) -> None:
    lut = {"type": "lut", "config": {"tokenizer_name": "someone/words"}}
    folder = folder_of(tmp_path, a_config(lut), f"{place}/tokenizer.json")
    config = a_config(lut)
    found = localize_config(config, folder)["model"]["conditioning"]["configs"][0]["config"]["tokenizer_name"]
    assert found == str((folder / place).resolve())
    assert config == a_config(lut), "what was given stays as it is"


def test_hugging_faces_own_library_reaches_no_hub_while_a_model_is_built(tmp_path: Path) -> None:
    with a_hub() as (url, asked):
        environment = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run([sys.executable, "-c", ASKS_A_HUB], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split()[0] == "LocalEntryNotFoundError"
    assert {path.rpartition("/")[2] for path in asked} == {"nullcontext.json"}, "the same question reaches the hub without it"
