"""Settings of the generation service, from the environment: AUDIOTUNE_GENERATION_RELEASE, AUDIOTUNE_GENERATION_ALIAS, ..."""

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class GenerationSettings(BaseSettings):
    """Knobs of the generation service."""

    model_config = SettingsConfigDict(env_prefix="AUDIOTUNE_GENERATION_", frozen=True, populate_by_name=True)

    release: str = Field(
        default="",
        validation_alias=AliasChoices("AUDIOTUNE_GENERATION_RELEASE", "AUDIOTUNE_RELEASE"),
        description="releases to serve: name or name@alias, several with commas, the default first; empty serves the only one "
        "that is registered",
    )
    alias: str = Field(default="champion", min_length=1, description="alias to follow")
    candidates: bool = Field(default=False, description="serve the candidate while there is no champion")
    adapters: str = Field(
        default="*",
        description="releases whose LoRA adapters requests may add to theirs, with commas; * for all that are registered, empty: none",
    )
    poll_s: float = Field(default=5.0, gt=0, le=3600, description="seconds between looks at the alias")
    consent_s: float = Field(
        default=60.0, gt=0, le=86_400, description="seconds between looks at the consent of everybody in the release"
    )
    grace_s: float = Field(
        default=3600.0, ge=0, le=604_800, description="how long a release is served while the store cannot tell who consents"
    )
    registry_secret: SecretStr = Field(
        default=SecretStr(""), description="secret of the registry's webhook; empty: only the looks every poll_s"
    )
    queue: int = Field(default=64, ge=1, le=10_000, description="sounds that may wait; more are told to come back later")
    member_queue: int = Field(default=32, ge=1, le=10_000, description="sounds that may wait for one member")
    queue_s: float = Field(default=300.0, gt=0, le=86_400, description="predicted seconds of work that may wait")
    batch: int = Field(default=8, ge=1, le=256, description="most sounds that are denoised together")
    batch_s: float = Field(
        default=2.0, gt=0, le=600, description="predicted seconds after which a batch takes no more sounds; others wait that long"
    )
    patience_s: float = Field(default=900.0, gt=0, le=86_400, description="how long a request waits for its sound")
    rate_per_minute: int = Field(
        default=600, ge=1, le=1_000_000, description="requests a minute of one member, over all replicas"
    )
    sound_s_per_day: float = Field(
        default=0,
        ge=0,
        le=1e9,
        description="seconds of sound a member may ask for in a day (UTC), over all replicas; 0: no bound",
    )
    open_requests: int = Field(default=1000, ge=1, le=100_000, description="requests that may be open at once, waiting or made")
    body_mb: float = Field(default=24.0, gt=0, le=1000, description="largest request body in megabytes")
    body_s: float = Field(default=30.0, gt=0, le=3600, description="how long a body may take to arrive")
    head_s: float = Field(default=10.0, gt=0, le=3600, description="how long a request's head may take to arrive")
    init_s: float = Field(default=60.0, gt=0, le=600, description="longest init audio that is decoded, in seconds")
    device: str = Field(default="auto", pattern=r"auto|cpu|cuda", description="auto (a GPU if there is one), cpu or cuda")
    keep: bool = Field(default=True, description="keep every sound and its record in the store, so that it can be traced")
    keep_days: float = Field(default=30.0, ge=0, le=36_500, description="life time of kept sounds and ended jobs; 0: for ever")
    member_jobs: int = Field(default=200, ge=1, le=1_000_000, description="jobs of one member that may wait or run")
    lease_s: float = Field(default=15.0, gt=0, le=3600, description="silence after which a worker's jobs are taken over")
    jobs_poll_s: float = Field(default=1.0, gt=0, le=60, description="seconds between looks for jobs that wait in the store")
    cancel_s: float = Field(
        default=0.2, gt=0, le=60, description="seconds between looks whether another replica ended a job that is made here"
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="signs what is sent to jobs' webhooks; empty: none are sent"
    )
    webhook_hosts: str = Field(
        default="", description="hosts that webhooks may reach though they are not public https, as in studio,10.0.0.7:8080"
    )
    drain_s: float = Field(default=20.0, ge=0, le=86_400, description="how long a stopping service finishes what it has begun")
    log_prompts: bool = Field(default=False, description="write prompts into the log")

    @property
    def adapter_names(self) -> set[str]:
        """Names in `adapters`."""
        return {name.strip() for name in self.adapters.split(",") if name.strip()}

    @property
    def release_aliases(self) -> dict[str, str]:
        """Release name -> alias, in the order given."""
        named = (part.strip().partition("@") for part in self.release.split(",") if part.strip())
        return {name: alias or self.alias for name, _, alias in named}
