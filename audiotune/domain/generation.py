"""Generation: a request for sounds and the record of a generated sound. Service, client and forms share these definitions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.store.layout import GENERATIONS, MADE_WITH

Format = Literal["wav", "flac", "mp3", "ogg", "opus"]
MEDIA_TYPES: dict[Format, str] = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
}
LARGEST_SEED = 2**31 - 1  # exact in every client's numbers


class AdapterRequest(FrozenModel):
    """One LoRA adapter that a request adds to its release. A name alone means the version that the service follows."""

    model_config = ConfigDict(allow_inf_nan=False)

    release: str = Field(
        pattern=r"^[^\s@:/][^@:/]{0,199}([@:][A-Za-z0-9][\w.-]{0,99})?$",
        description="name, name@alias or name:version of a release that is an adapter of the same base",
    )
    strength: float = Field(default=1.0, ge=0, le=2, description="0 is none of it, 1 as it was tuned")


def parse_adapter(text: str) -> dict[str, Any]:
    """`name=0.7`, or `name` alone for full strength, as a field of a request: {"release": ..., "strength": ...}.

    Raises ValueError when no number follows `=`. The request checks the bounds.
    """
    name, sign, strength = text.strip().partition("=")
    return {"release": name.strip(), "strength": float(strength) if sign else 1.0}


class AppliedAdapter(FrozenModel):
    """One adapter that a sound was made with."""

    release: str
    version: str
    digest: Digest = Field(description="of the adapter's file")
    strength: float

    def __str__(self) -> str:
        """As in headers and tags."""
        return f"{self.release}:{self.version}={self.strength:g};digest={self.digest}"


class GenerationRequest(FrozenModel):
    """A request for one or several sounds."""

    model_config = ConfigDict(allow_inf_nan=False)

    prompt: str = Field(min_length=1, max_length=1000, description="what to hear, in the group's own words")
    negative_prompt: str = Field(default="", max_length=1000, description="what to stay away from")
    seconds: float | None = Field(
        default=None, gt=0, le=600, description="length in seconds; default: the release's own, or the model's longest"
    )
    bpm: float | None = Field(default=None, ge=20, le=400, description="quarter notes a minute; with `bars` it gives the length")
    time_signature: str = Field(
        default="4/4", pattern=r"^([1-9]|[12]\d|3[0-2])/(1|2|4|8|16|32)$", description="of a bar; a beat is its lower number"
    )
    bars: float | None = Field(default=None, gt=0, le=512, description="length in bars, instead of seconds; needs bpm")
    key: str | None = Field(
        default=None,
        pattern=r"^[A-Ga-g]([#b♯♭]| sharp| flat)?( [A-Za-z][A-Za-z ]{0,30})?$",
        description="as in A minor; said in words",
    )
    steps: int | None = Field(default=None, ge=1, le=250, description="denoising steps; default: the release's own")
    guidance: float | None = Field(
        default=None, ge=0, le=30, description="classifier-free guidance; 1 is none; default: the release's own"
    )
    seed: int | None = Field(default=None, ge=0, le=LARGEST_SEED, description="decides all noise; default: a random one")
    sampler: str | None = Field(default=None, max_length=60, description="default: the release's own")
    count: int = Field(default=1, ge=1, le=8, description="how many variations; their seeds count up from `seed`")
    init_audio: str | None = Field(
        default=None, description="base64 of a sound file to start from; also as a data: address, also wrapped"
    )
    init_strength: float = Field(default=0.7, gt=0, le=1, description="how much of the init sound is made anew")
    init_sound: Digest | None = Field(default=None, description="digest of a sound that was made here, to start from")
    inpaint_start_s: float | None = Field(
        default=None, ge=0, le=600, description="the init sound is made anew from here, in seconds"
    )
    inpaint_end_s: float | None = Field(default=None, gt=0, le=600, description="up to here; default: its end")
    extend_s: float | None = Field(default=None, gt=0, le=600, description="seconds that are added to the init sound's end")
    loop: bool = Field(default=False, description="the end runs into the beginning without a seam")
    loudness_lufs: float | None = Field(
        default=None,
        ge=-60,
        le=-5,
        description="integrated loudness to reach (ITU-R BS.1770), as far as a true peak of -1 dBTP allows",
    )
    bit_depth: int | None = Field(default=None, description="16, 24 or 32 (float) in wav, 16 or 24 in flac; default 24")
    format: Format | None = Field(
        default=None, description="wav, flac, mp3, ogg or opus; default: by the Accept header, else wav"
    )
    release: str | None = Field(default=None, max_length=200, description="name of the release; default: the one that serves")
    adapters: tuple[AdapterRequest, ...] = Field(
        default=(),
        max_length=8,
        description="LoRA adapters of the group that are added to the release, in any order; a release that is "
        "an adapter itself has strength 1 unless it is named here",
    )

    @field_validator("bars")
    @classmethod
    def _check_bars(cls, value: float | None, others: ValidationInfo) -> float | None:
        if value is not None and others.data.get("bpm") is None:
            raise ValueError("needs bpm")
        if value is not None and others.data.get("seconds") is not None:
            raise ValueError("give seconds or bars, not both")
        return value

    @field_validator("init_sound", "inpaint_start_s", "extend_s", "loop", "inpaint_end_s")
    @classmethod
    def _check_init_sound(cls, value: Any, others: ValidationInfo) -> Any:
        """The fields that change an init sound need one, and exclude each other."""
        earlier, name = others.data, others.field_name or ""
        if value in (None, False):
            return value
        if name == "init_sound" and earlier.get("init_audio"):
            raise ValueError("give init_audio or init_sound, not both")
        if name in ("inpaint_start_s", "extend_s") and not (earlier.get("init_audio") or earlier.get("init_sound")):
            raise ValueError("needs init_audio or init_sound")
        if name == "inpaint_end_s" and (earlier.get("inpaint_start_s") is None or value <= earlier["inpaint_start_s"]):
            raise ValueError("needs inpaint_start_s, and lies after it")
        if name == "extend_s" and any(earlier.get(other) is not None for other in ("inpaint_start_s", "seconds", "bars")):
            raise ValueError("goes without seconds, bars and inpaint")
        if name == "loop" and (earlier.get("inpaint_start_s") is not None or earlier.get("extend_s") is not None):
            raise ValueError("goes without inpaint and extend")
        return value

    @field_validator("adapters")
    @classmethod
    def _check_adapters(cls, value: tuple[AdapterRequest, ...]) -> tuple[AdapterRequest, ...]:
        names = [adapter.release for adapter in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)[:200]} is named twice; name each once, with its strength")
        return value

    @field_validator("bit_depth")
    @classmethod
    def _check_bit_depth(cls, value: int | None) -> int | None:
        if value not in (None, 16, 24, 32):
            raise ValueError("16, 24 or 32")
        return value

    @property
    def length_s(self) -> float | None:
        """The requested length in seconds, or None when the request does not say."""
        if self.bars is None or self.bpm is None:
            return self.seconds
        beats, lower = (int(number) for number in self.time_signature.split("/"))
        return self.bars * beats * (4 / lower) * 60 / self.bpm

    @property
    def prompt_with_key(self) -> str:
        """The prompt for the model: with the key in words."""
        return f"{self.prompt}, {self.key}" if self.key else self.prompt


def record_key(sound: Digest, member: str = "") -> str:
    """Store key of the record of a generated sound: of the one who made it first, or of a member who made the same bytes later."""
    return GENERATIONS.key(sound, f"{member}.json") if member else GENERATIONS.key(f"{sound}.json")


class GenerationRecord(FrozenModel):
    """The record of one generated sound. With it, a sound can be traced to its release and its people."""

    sound: Digest = Field(description="SHA-256 of the file's bytes")
    blob: str
    format: Format
    prompt: str
    negative_prompt: str = ""
    seconds: float
    steps: int
    guidance: float
    seed: int
    sampler: str
    init: Digest | None = None
    init_strength: float | None = None
    bars: float | None = None
    bpm: float | None = None
    time_signature: str | None = None
    key: str | None = Field(default=None, description="musical key, in words")
    redone: tuple[float, float] | None = Field(default=None, description="seconds of the init sound that were made anew or added")
    seam_db: float | None = Field(default=None, description="of a loop: step from end to beginning against its usual steps")
    loudness_lufs: float | None = Field(default=None, description="reached, where the request has one")
    bit_depth: int | None = None
    release: str
    version: str
    digest: Digest = Field(description="of the release's weights")
    adapters: tuple[AppliedAdapter, ...] = Field(default=(), description="LoRA adapters that were added, with their strengths")
    synthetic: Literal[True] = True
    notice: str = ""
    member: str = Field(default="", description="who requested it; empty or `anyone` without sign-in")
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def makers(self) -> tuple[tuple[str, str], ...]:
        """Name and version of the release and the adapters that it was made with."""
        return ((self.release, self.version), *((one.release, one.version) for one in self.adapters))

    @property
    def maker_keys(self) -> tuple[str, ...]:
        """Store keys that say which weights and adapters made the sound, and nothing of its words and its member."""
        digests = dict.fromkeys((self.digest, *(adapter.digest for adapter in self.adapters)))
        return tuple(MADE_WITH.key(digest, self.sound) for digest in digests)

    def file_tags(self) -> dict[str, str]:
        """Tags for the sound file."""
        settings: dict[str, Any] = {
            **{name: getattr(self, name) for name in ("seed", "seconds", "steps", "guidance", "sampler")},
            "release": f"{self.release} {self.version}",
            "digest": self.digest,
            "adapters": ",".join(map(str, self.adapters)) or None,
            "synthetic": "true",
            "negative_prompt": json.dumps(self.negative_prompt) if self.negative_prompt else None,
            **{name: getattr(self, name) for name in ("init", "init_strength", "bars", "bpm", "seam_db", "loudness_lufs")},
        }
        words = " ".join(f"{name}={value}" for name, value in settings.items() if value is not None)
        return {
            "title": self.prompt,
            "comment": f"Synthetic sound made with Audio Tune. {words}",
            "copyright": self.notice,
            "artist": f"{self.release} {self.version}",
            "software": "Audio Tune",
        }
