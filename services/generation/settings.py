"""Settings of the generation service, from the environment: AUDIOTUNE_GENERATION_RELEASE, AUDIOTUNE_GENERATION_ALIAS, ..."""

import re
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from audiotune.outside.path_prefix import normalise_path_prefix

# as browsers send it: scheme, host in lower case, and a port that is not the scheme's own; without a path
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


class GenerationSettings(BaseSettings):
    """How one generation service runs."""

    model_config = SettingsConfigDict(env_prefix="AUDIOTUNE_GENERATION_", frozen=True, populate_by_name=True)

    release: str = Field(
        default="",
        validation_alias=AliasChoices("AUDIOTUNE_GENERATION_RELEASE", "AUDIOTUNE_RELEASE"),
        description="releases to serve, as name or name@alias; several with commas, the default first; empty serves the only one "
        "that is registered",
    )
    alias: str = Field(default="champion", min_length=1, description="alias that is followed")
    candidates: bool = Field(default=False, description="serve the candidate while there is no champion")
    adapters: str = Field(
        default="*",
        description="releases whose LoRA adapters a request may add to its own, with commas; * is all that are registered, empty is none",
    )
    poll_s: float = Field(default=5.0, gt=0, le=3600, description="seconds between looks at the alias")
    ledger_s: float = Field(
        default=0.5, gt=0, le=3600, description="seconds between looks whether the ledger has a new event, as a withdrawal"
    )
    consent_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="seconds between looks at the consent of everybody who is heard in the release, also without a new event",
    )
    grace_s: float = Field(
        default=3600.0,
        ge=0,
        le=604_800,
        description="seconds that a release is served on while the store cannot tell who consents",
    )
    registry_secret: SecretStr = Field(
        default=SecretStr(""), description="secret of the registry's webhook; empty: the alias is only looked at every poll_s"
    )
    cors_origins: str = Field(
        default="",
        description="origins of web pages that may use the API from a browser (CORS); as in https://band.example, with commas; "
        "* is any page, empty none",
    )
    root_path: str = Field(
        default="",
        description="path below which a reverse proxy shows the API; as in /tune; the proxy may take it off or leave it",
    )
    queue: int = Field(
        default=64, ge=1, le=10_000, description="sounds that may wait in one replica; more get 429 and Retry-After"
    )
    member_queue: int = Field(default=32, ge=1, le=10_000, description="sounds of one member that may wait in one replica")
    queue_s: float = Field(default=300.0, gt=0, le=86_400, description="predicted seconds of work that may wait in one replica")
    batch: int = Field(default=8, ge=1, le=256, description="most sounds that are made together in one batch")
    batch_s: float = Field(
        default=2.0, gt=0, le=600, description="predicted seconds of work that one batch takes on; the next waits that long"
    )
    patience_s: float = Field(default=900, gt=0, le=86_400, description="longest wait of a request for its sound, in seconds")
    rate_per_minute: int = Field(
        default=600, ge=1, le=1_000_000, description="requests of one member a minute, over all replicas"
    )
    sound_s_per_day: float = Field(
        default=0,
        ge=0,
        le=1e9,
        description="seconds of sound a member may ask for in a day (UTC), over all replicas; 0: no bound",
    )
    kept_mb_per_day: float = Field(
        default=1000,
        ge=0,
        le=1e9,
        description="MB of init sounds that a member's jobs may keep in the store in a day (UTC), over all replicas; 0: no bound",
    )
    open_requests: int = Field(default=1000, ge=1, le=100_000, description="requests that may be open at once")
    body_mb: float = Field(default=24.0, gt=0, le=1000, description="largest request body, in MB")
    body_s: float = Field(default=30.0, gt=0, le=3600, description="seconds in which a request's body must arrive")
    head_s: float = Field(default=10.0, gt=0, le=3600, description="seconds in which a request's head must arrive")
    init_s: float = Field(default=60.0, gt=0, le=600, description="longest sound that a request may start from, in seconds")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto (a GPU if there is one), cpu or cuda")
    keep: bool = Field(default=True, description="keep every sound and its record in the store, so that it can be traced")
    keep_days: float = Field(default=30.0, ge=0, le=36_500, description="days that kept sounds and ended jobs stay; 0: for ever")
    member_jobs: int = Field(default=200, ge=1, le=1_000_000, description="jobs of one member that may wait or run")
    member_streams: int = Field(
        default=32, ge=1, le=100_000, description="event streams of one member that may be open in one replica"
    )
    lease_s: float = Field(default=15.0, gt=0, le=3600, description="seconds of silence after which a worker's jobs go to others")
    jobs_poll_s: float = Field(default=1.0, gt=0, le=60, description="seconds between looks for jobs that wait in the store")
    cancel_s: float = Field(
        default=0.2, gt=0, le=60, description="seconds between looks whether another replica ended a job that is made here"
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="signs what is sent to the webhooks of jobs; empty: nothing is sent"
    )
    webhook_hosts: str = Field(
        default="", description="hosts that webhooks may reach although they are not public https; as in studio,10.0.0.7:8080"
    )
    drain_s: float = Field(
        default=20.0, ge=0, le=86_400, description="seconds in which a stopping service ends what it has begun"
    )
    log_prompts: bool = Field(default=False, description="write prompts into the log")

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str) -> str:
        for origin in filter(None, map(str.strip, origins.split(","))):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin[:200]!r} is no origin; write scheme, host in small letters and port, as in https://band.example"
                )
        return origins

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, path: str) -> str:
        return normalise_path_prefix(path)

    @property
    def allowed_origins(self) -> list[str]:
        """Origins in `cors_origins`."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def adapter_names(self) -> set[str]:
        """Names in `adapters`."""
        return {name.strip() for name in self.adapters.split(",") if name.strip()}

    @property
    def release_aliases(self) -> dict[str, str]:
        """Release name -> alias, in the order given."""
        named = (part.strip().partition("@") for part in self.release.split(",") if part.strip())
        return {name: alias or self.alias for name, _, alias in named}
