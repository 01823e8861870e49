"""Generation: what is asked of a release and what came of it. The one definition that service, client and forms share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from audiotune.recording import Digest

Format = Literal["wav", "flac", "mp3", "ogg", "opus"]
MEDIA_TYPES: dict[Format, str] = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
}
LARGEST_SEED = 2**31 - 1  # exact in every client's numbers


class GenerationRequest(BaseModel):
    """A request for one or several sounds.

    Attributes:
        init_audio: base64 of a sound file to start from.
        init_strength: how much of it is made anew, above 0 to 1.
        count: sounds of the same words; their seeds count up from `seed`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field(min_length=1, max_length=1000, description="what to hear, in the group's own words")
    negative_prompt: str = Field(default="", max_length=1000, description="what to stay away from")
    seconds: float | None = Field(default=None, gt=0, le=600, description="length in seconds; default: 2, or the model's longest")
    steps: int = Field(default=50, ge=1, le=250, description="denoising steps")
    guidance: float = Field(default=4.0, ge=0, le=30, description="classifier-free guidance; 1 is none")
    seed: int | None = Field(default=None, ge=0, le=LARGEST_SEED, description="decides all noise; default: drawn and told")
    sampler: str | None = Field(default=None, max_length=60, description="default: the release's own")
    count: int = Field(default=1, ge=1, le=8, description="how many variations")
    init_audio: str | None = Field(default=None, description="base64 of a sound file to start from")
    init_strength: float = Field(default=0.7, gt=0, le=1, description="how much of the init audio is made anew")
    format: Format | None = Field(
        default=None, description="wav, flac, mp3, ogg or opus; default: by the Accept header, else wav"
    )
    release: str | None = Field(default=None, max_length=200, description="name of the release; default: the one that serves")


class Generation(BaseModel):
    """A record of one made sound: kept in the store, so that every sound can be traced to its release and people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    release: str
    version: str
    digest: Digest = Field(description="of the release's weights")
    synthetic: Literal[True] = True
    notice: str = ""
    member: str = Field(default="", description="who asked for it; empty or `anyone` where nobody had to say")
    made: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> str:
        return f"manifests/generations/{self.sound}.json"

    def tags(self) -> dict[str, str]:
        """What is written into the file itself."""
        facts = {
            "seed": self.seed,
            "seconds": self.seconds,
            "steps": self.steps,
            "guidance": self.guidance,
            "sampler": self.sampler,
            "release": f"{self.release} {self.version}",
            "digest": self.digest,
            "synthetic": "true",
        }
        words = " ".join(f"{name}={value}" for name, value in facts.items())
        return {
            "title": self.prompt,
            "comment": f"Synthetic sound made with Audio Tune. {words}",
            "copyright": self.notice,
            "artist": f"{self.release} {self.version}",
            "software": "Audio Tune",
        }
