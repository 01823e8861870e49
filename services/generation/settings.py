"""Settings of the generation service, from the environment: AUDIOTUNE_GENERATION_RELEASE, AUDIOTUNE_GENERATION_ALIAS, ..."""

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Knobs of the generation service."""

    model_config = SettingsConfigDict(env_prefix="AUDIOTUNE_GENERATION_", frozen=True, populate_by_name=True)

    release: str = Field(
        default="",
        validation_alias=AliasChoices("AUDIOTUNE_GENERATION_RELEASE", "AUDIOTUNE_RELEASE"),
        description="release to serve, as name or name@alias; empty serves the only one that is registered",
    )
    alias: str = Field(default="champion", min_length=1, description="alias to follow")
    candidates: bool = Field(default=False, description="serve the candidate while there is no champion")
    poll_s: float = Field(default=5.0, gt=0, le=3600, description="seconds between looks at the alias")
    consent_s: float = Field(
        default=60.0, gt=0, le=86_400, description="seconds between looks at the consent of everybody in the release"
    )
    queue: int = Field(default=16, ge=1, le=10_000, description="requests that may wait; more are told to come back later")
    body_mb: float = Field(default=24.0, gt=0, le=1000, description="largest request body in megabytes")
    init_s: float = Field(default=60.0, gt=0, le=600, description="longest init audio that is decoded, in seconds")
    device: str = Field(default="auto", pattern=r"auto|cpu|cuda", description="auto (a GPU if there is one), cpu or cuda")
    keep: bool = Field(default=True, description="keep every sound and its record in the store, so that it can be traced")
    log_prompts: bool = Field(default=False, description="write prompts into the log")

    @property
    def release_name(self) -> str:
        return self.release.partition("@")[0]

    @property
    def release_alias(self) -> str:
        return self.release.partition("@")[2] or self.alias
