"""Adapters of stable-audio-tools and of peft: each program's own loader gives the sound that ours gives."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from audiotune.errors import ModelError
from audiotune.stable_audio.adapter_files import read_foreign_adapter, write_foreign_adapter
from audiotune.stable_audio.adapters import Adapter, describe_adapter, merge_adapter, open_adapter, read_adapter
from audiotune.stable_audio.weight_merging import collect_adapter_tensors
from audiotune.store import tensor_files
from audiotune.store.port import compute_digest
from audiotune.store.tensor_files import LazyTensor, wrap_tensor
from tests.fakes.random_model import make_random_model
from tests.fakes.upstream_lora import ASK, add_upstream_lora, difference, load_with_upstream, make_sound

EQUAL = 2e-3  # of the peak: two orders of the same sums in fp32, through six steps
PLAIN: dict[str, Any] = {"rank": 4, "alpha": 6, "adapter_type": "lora"}


@pytest.fixture(scope="module")
def base() -> dict[str, LazyTensor]:
    torch.set_num_threads(1)
    return {name: wrap_tensor(tensor) for name, tensor in make_random_model().model.state_dict().items()}


def an_upstream_file(path: Path, config: dict[str, Any]) -> Path:
    """A LoRA as stable-audio-tools' trainer writes it: half precision, its config in the metadata."""
    from stable_audio_tools.models.lora import save_lora_safetensors

    save_lora_safetensors(add_upstream_lora(make_random_model(), config), config, path)
    return path


def ours(path: Path, source: Path, base: dict[str, LazyTensor]) -> Adapter:
    """A file of another program as our own file."""
    weights = read_foreign_adapter(source, base).weights
    tensor_files.write_tensors(path, collect_adapter_tensors(weights, base), describe_adapter(weights.scale))
    return open_adapter(compute_digest(path), lambda: path)


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        {**PLAIN, "adapter_type": "dora-rows"},
        {**PLAIN, "adapter_type": "dora"},
        {**PLAIN, "adapter_type": "lora-xs"},
        {**PLAIN, "include": ["layers.[0-1].self_attn"], "exclude": ["to_out"]},
    ],
    ids=lambda config: f"{config['adapter_type']}{'-some' if 'include' in config else ''}",
)
def test_upstreams_adapter_sounds_here_as_there(tmp_path: Path, base: dict[str, LazyTensor], config: dict[str, Any]) -> None:
    """With neither include nor exclude upstream adapts every linear layer and convolution, also those of the conditioner."""
    source = an_upstream_file(tmp_path / "theirs.safetensors", config)
    adapter = ours(tmp_path / "ours.safetensors", source, base)
    plain = make_sound(make_random_model())
    expected = make_sound(load_with_upstream(make_random_model(), source))
    beside = make_sound(make_random_model(), dataclasses.replace(ASK, adapters=((adapter, 1.0),)))
    merged = make_random_model()
    merge_adapter(merged.model, adapter.fetch())
    assert difference(expected, plain) > 0.05
    assert difference(beside, expected) < EQUAL
    assert difference(make_sound(merged), expected) < EQUAL
    assert adapter.adds_up is ("dora" not in config["adapter_type"])


@pytest.mark.parametrize("kind", ["lora", "dora-rows"])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.6])
def test_a_strength_means_what_it_means_upstream(tmp_path: Path, base: dict[str, LazyTensor], kind: str, strength: float) -> None:
    from stable_audio_tools.models.lora import set_lora_strength

    source = an_upstream_file(tmp_path / "theirs.safetensors", {**PLAIN, "adapter_type": kind})
    adapter = ours(tmp_path / "ours.safetensors", source, base)
    there = load_with_upstream(make_random_model(), source)
    set_lora_strength(there.model, strength)
    expected = make_sound(there)
    beside = make_sound(make_random_model(), dataclasses.replace(ASK, adapters=((adapter, strength),)))
    merged = make_random_model()
    merge_adapter(merged.model, adapter.fetch(), strength)
    assert difference(beside, expected) < EQUAL
    assert difference(make_sound(merged), expected) < EQUAL


@pytest.mark.parametrize("kind", ["lora", "dora-rows"])
def test_our_adapter_goes_out_and_sounds_there_as_here(tmp_path: Path, base: dict[str, LazyTensor], kind: str) -> None:
    from peft import PeftModel

    source = an_upstream_file(tmp_path / "theirs.safetensors", {**PLAIN, "adapter_type": kind})
    adapter = ours(tmp_path / "ours.safetensors", source, base)
    weights = read_adapter(adapter.fetch())
    here = make_sound(make_random_model(), dataclasses.replace(ASK, adapters=((adapter, 1.0),)))
    again = write_foreign_adapter(weights, base, tmp_path / "again", "stable-audio-tools", {"licence": "CC-BY-4.0"})
    assert difference(make_sound(load_with_upstream(make_random_model(), again)), here) < EQUAL
    folder = write_foreign_adapter(weights, base, tmp_path / "peft", "peft", {"licence": "CC-BY-4.0"})
    there = make_random_model()
    PeftModel.from_pretrained(there.model, str(folder)).merge_and_unload()
    assert difference(make_sound(there), here) < EQUAL
    for file in (again, folder):  # and in again: the same matrices
        back = read_foreign_adapter(file, base).weights
        assert back.pairs.keys() == weights.pairs.keys()
        assert back.scale == weights.scale
        for layer, (a, b) in weights.pairs.items():
            assert torch.equal(back.pairs[layer][0].load(), a.load())
            assert torch.equal(back.pairs[layer][1].load(), b.load())
            if kind == "dora-rows":
                assert torch.equal(back.magnitudes[layer].load(), weights.magnitudes[layer].load())


def test_pefts_own_file_with_ranks_of_its_own_comes_in(tmp_path: Path, base: dict[str, LazyTensor]) -> None:
    from peft import LoraConfig, get_peft_model

    there = make_random_model()
    config = LoraConfig(
        r=4, lora_alpha=8, use_rslora=True, target_modules=["to_qkv", "to_q"], rank_pattern={"to_q": 2}, init_lora_weights=False
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        tuned = get_peft_model(there.model.model, config)  # of the diffusion model alone: its names begin elsewhere
    tuned.save_pretrained(str(tmp_path / "peft"))
    adapter = ours(tmp_path / "ours.safetensors", tmp_path / "peft", base)
    ranks = {a.shape[0] for a, _ in read_adapter(adapter.fetch()).pairs.values()}
    assert ranks == {2, 4}
    tuned.merge_and_unload()
    beside = make_sound(make_random_model(), dataclasses.replace(ASK, adapters=((adapter, 1.0),)))
    assert difference(beside, make_sound(there)) < EQUAL
    out = write_foreign_adapter(read_adapter(adapter.fetch()), base, tmp_path / "out", "stable-audio-tools", {})
    assert difference(make_sound(load_with_upstream(make_random_model(), out)), beside) < EQUAL
    back = read_foreign_adapter(write_foreign_adapter(read_adapter(adapter.fetch()), base, tmp_path / "p", "peft", {}), base)
    layer = next(layer for layer, (a, _) in back.weights.pairs.items() if a.shape[0] == 2)
    made, kept = (read.pairs[layer] for read in (back.weights, read_adapter(adapter.fetch())))
    assert torch.allclose(
        made[1].load() @ made[0].load() * back.weights.scale,
        kept[1].load() @ kept[0].load() * read_adapter(adapter.fetch()).scale,
    )


@pytest.mark.parametrize(("kind", "words"), [("bora", "bora is not kept"), ("dora-cols", "dora-cols is not kept")])
def test_a_kind_that_is_no_pair_of_matrices_is_refused_with_the_cure(
    tmp_path: Path, base: dict[str, LazyTensor], kind: str, words: str
) -> None:
    source = an_upstream_file(tmp_path / "theirs.safetensors", {**PLAIN, "adapter_type": kind})
    with pytest.raises(ModelError, match=words) as refused:
        read_foreign_adapter(source, base)
    assert "audiotune adopt" in refused.value.cure


def test_what_is_no_adapter_of_this_base_is_refused(tmp_path: Path, base: dict[str, LazyTensor]) -> None:
    source = an_upstream_file(tmp_path / "theirs.safetensors", PLAIN)
    tensors = tensor_files.read_tensors(source)
    metadata = tensor_files.read_metadata(source)

    def rewritten(name: str, changed: dict[str, torch.Tensor]) -> Path:
        lazy = {key: wrap_tensor(tensor) for key, tensor in changed.items()}
        return tensor_files.write_tensors(tmp_path / f"{name}.safetensors", lazy, metadata)

    first = next(name for name in tensors if name.endswith("lora_A"))
    elsewhere = {name.replace("layers.0", "layers.77"): tensor for name, tensor in tensors.items()}
    narrow = {name: tensor[:, :-1].contiguous() if name == first else tensor for name, tensor in tensors.items()}
    half = {name: tensor for name, tensor in tensors.items() if name != first}
    for name, changed, words in (
        ("elsewhere", elsewhere, "the base does not have"),
        ("narrow", narrow, "do not fit"),
        ("half", half, "two matrices"),
        ("whole", {"model.x": torch.zeros(2)}, "no part of an adapter"),
    ):
        with pytest.raises(ModelError, match=words):
            read_foreign_adapter(rewritten(name, changed), base)
    with pytest.raises(ModelError, match="no such adapter"):
        read_foreign_adapter(tmp_path / "nothing.safetensors", base)
    (tmp_path / "peft").mkdir()
    tensor_files.write_tensors(tmp_path / "peft" / "adapter_model.safetensors", {})
    for config, words in (({"peft_type": "LOHA"}, "LOHA"), ({"bias": "all"}, "bias"), ({"init_lora_weights": "pissa"}, "pissa")):
        (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=words):
            read_foreign_adapter(tmp_path / "peft", base)


def test_a_pickled_adapter_with_code_in_it_is_refused(tmp_path: Path, base: dict[str, LazyTensor]) -> None:
    state = add_upstream_lora(make_random_model(), PLAIN)
    torch.save({"state_dict": state, "lora_config": PLAIN}, tmp_path / "good.ckpt")
    assert read_foreign_adapter(tmp_path / "good.ckpt", base).weights.scale == 1.5
    torch.save({"state_dict": state, "lora_config": TouchesAFile(tmp_path / "was-here")}, tmp_path / "evil.ckpt")
    with pytest.raises(ModelError, match="nothing of it was run") as refused:
        read_foreign_adapter(tmp_path / "evil.ckpt", base)
    assert "Path" in str(refused.value) or "touch" in str(refused.value) or "getattr" in str(refused.value)
    assert not (tmp_path / "was-here").exists()


class TouchesAFile:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
