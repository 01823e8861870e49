"""The bases that are known by name: where their files lie, under which licence, and how they are sampled.

Any other base works, too; of these it need not be said twice. A new base is one entry here. What was looked up, and where, is in each
entry's `checked`: most repositories show their files only to who has accepted the licence. Imports neither torch nor
stable_audio_tools.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

_T5_FILES = ("config.json", "model.safetensors", "spiece.model", "tokenizer.json", "tokenizer_config.json")
_T5GEMMA_FILES = (
    *("config.json", "model.safetensors", "tokenizer.json"),
    *("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
)


@dataclass(frozen=True, slots=True)
class GenerationDefaults:
    """How a model is sampled. The shift of its noise levels is in its config (`sampling_distribution_shift_options`).

    Attributes:
        guidance: classifier-free guidance; 1 is none.
        sampler: one of `samplers.list_samplers`.
        sigma_min, sigma_max: noise levels of the v objective's samplers, standard deviations relative to the latents'.
        length_s: what a form offers; at most the model's window.
        comparison_steps: steps at which base and tuned model are compared.
        projected_guidance: part of guidance that keeps only what is orthogonal to the prediction (Sadat et al. 2024), 0 to 1;
            stable-audio-tools' `apg_scale`.
    """

    steps: int = 50
    guidance: float = 4.0
    sampler: str = "dpmpp-2m"
    sigma_min: float = 0.01
    sigma_max: float = 100.0
    length_s: float = 2.0
    comparison_steps: int = 24
    projected_guidance: float = 0.0


@dataclass(frozen=True, slots=True)
class TextEncoderSource:
    """The hub's files of a text encoder.

    Attributes:
        repository: may be the base's own.
        folder: inside the repository; "" is its root.
        files: inside that folder; a hub may lack those after the first two.
    """

    repository: str
    folder: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Licence:
    """A base's licence.

    Attributes:
        name: as SPDX names it, or `LicenseRef-...`.
        words: address of its text.
        files: the repository's files with its words, which travel with the model; a hub may lack some.
        notice: what must be said wherever the model, or one tuned from it, is offered; "" where nothing must.
    """

    name: str
    words: str
    files: tuple[str, ...] = ()
    notice: str = ""


_APACHE = Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")
_STABILITY = Licence(
    "LicenseRef-Stability-AI-Community",
    "https://stability.ai/license",
    ("LICENSE.md", "LICENSE"),
    "Powered by Stability AI. This model is licensed under the Stability AI Community License, "
    "Copyright (c) Stability AI Ltd. All Rights Reserved. https://stability.ai/license",
)
_STABILITY_AND_GEMMA = replace(
    _STABILITY,
    files=("LICENSE.md", "LICENSE_GEMMA.md", "NOTICE"),
    notice=f"{_STABILITY.notice} Its text encoder is Gemma, provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms.",
)


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base model that is known by name.

    Attributes:
        name: as a recipe says it.
        repository: on Hugging Face; "" for a base that is shipped.
        config: the repository's file that becomes `model_config.json`.
        weights: its files that may become `model.safetensors`; the first that the hub has is taken.
        gated: whether the hub asks for a token and an accepted licence.
        for_tuning: name of the base to tune in place of this one, which was distilled; "" where this is the one to tune.
        window_s: longest sound.
        checked: what of this entry was looked up, and where; and what was not.
    """

    name: str
    repository: str
    licence: Licence
    defaults: GenerationDefaults
    window_s: float
    checked: str
    text_encoder: TextEncoderSource | None = None
    config: str = "model_config.json"
    weights: tuple[str, ...] = ("model.safetensors", "model.ckpt")
    gated: bool = False
    for_tuning: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are wanted of the base's own repository, words before weights."""
        own = self.text_encoder if self.text_encoder and self.text_encoder.repository == self.repository else None
        inner = tuple(f"{own.folder}/{file}" for file in own.files) if own else ()
        return (*self.licence.files, self.config, *inner, *self.weights)


_T5 = TextEncoderSource("t5-base", "", _T5_FILES)
_SMALL_BASE = KnownBase(
    name="stable-audio-open-small-base",
    repository="stabilityai/stable-audio-open-small",
    licence=_STABILITY,
    defaults=GenerationDefaults(steps=50, guidance=7.0, sampler="euler", length_s=11.0, comparison_steps=50),
    window_s=11.89,
    text_encoder=_T5,
    config="base_model_config.json",
    weights=("base_model.safetensors", "base_model.ckpt"),
    gated=True,
    checked="base_model.ckpt and base_model_config.json: three public programs that load them. Steps and guidance: not stated by the "
    "card; those of Stability AI's other bases of rectified flow.",
)


def _describe_stable_audio_3(variant: str, window_s: float) -> Iterator[KnownBase]:
    """A variant of Stable Audio 3, and the base it was distilled from."""
    checked = (
        "Repository, config, weights: Stability-AI/stable-audio-3, model_configs.py. Steps and guidance: its docs/workflows/inference.md "
        "(8 and 1; base 50 and 7, with projected guidance, which is its default). Files of licence and text encoder, sizes and config: "
        "a public record of the snapshots of 2026-07. Not read here: the gated card."
    )
    for suffix in ("-base", ""):
        base, repository = bool(suffix), f"stabilityai/stable-audio-3-{variant}{suffix}"
        steps, guidance, sampler = (50, 7.0, "euler") if base else (8, 1.0, "pingpong")
        yield KnownBase(
            name=f"stable-audio-3-{variant}{suffix}",
            repository=repository,
            licence=_STABILITY_AND_GEMMA,
            defaults=GenerationDefaults(steps, guidance, sampler, length_s=30.0, comparison_steps=steps, projected_guidance=1.0),
            window_s=window_s,
            text_encoder=TextEncoderSource(repository, "t5gemma-b-b-ul2", _T5GEMMA_FILES),
            weights=("model.safetensors",),
            gated=not base,
            for_tuning="" if base else f"stable-audio-3-{variant}-base",
            checked=checked,
        )


KNOWN_BASES: tuple[KnownBase, ...] = (
    KnownBase(
        name="tiny",
        repository="",
        licence=_APACHE,
        defaults=GenerationDefaults(),
        window_s=2.97,
        checked="Made and shipped here (bases/tiny).",
    ),
    KnownBase(
        name="stable-audio-open-1.0",
        repository="stabilityai/stable-audio-open-1.0",
        licence=_STABILITY,
        defaults=GenerationDefaults(
            100, 7.0, "dpmpp-3m-sde", sigma_min=0.3, sigma_max=500.0, length_s=30.0, comparison_steps=100
        ),
        window_s=47.55,
        text_encoder=_T5,
        gated=True,
        checked="Files and the card's program (100 steps, guidance 7, sigma 0.3 to 500, dpmpp-3m-sde, 30 s): public copies of the "
        "repository. The licence's file was LICENSE at first and is LICENSE.md now.",
    ),
    replace(
        _SMALL_BASE,
        name="stable-audio-open-small",
        defaults=GenerationDefaults(8, 1.0, "pingpong", length_s=11.0, comparison_steps=8),
        config="model_config.json",
        weights=("model.safetensors", "model.ckpt"),
        for_tuning=_SMALL_BASE.name,
        checked="Files and the card's program (8 steps, guidance 1, pingpong, 11 s): Arm's learning path and public programs.",
    ),
    _SMALL_BASE,
    *_describe_stable_audio_3("small-music", 120.0),
    *_describe_stable_audio_3("small-sfx", 120.0),
    *_describe_stable_audio_3("medium", 380.0),
)


def find_known_base(name: str) -> KnownBase | None:
    """The base of this name (`stable-audio-open-1.0`) or repository (`stabilityai/stable-audio-open-1.0`); None if it is not known.

    Where a repository holds two bases, its name is that of the one in `model.safetensors`.
    """
    return next((base for base in KNOWN_BASES if name in (base.name, base.repository or base.name)), None)
