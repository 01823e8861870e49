"""Settings of the governance service, from the environment: AUDIOTUNE_GOVERNANCE_STUDIO_KEY, ..."""

from __future__ import annotations

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from audiotune.errors import SettingsError

PREFIX = "AUDIOTUNE_GOVERNANCE_"
_SHORTEST_KEY = 20  # the ledger's own have more: audiotune.governance.ledger.keys


class GovernanceSettings(BaseSettings):
    """How the governance service runs, and who may call it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    studio_key: SecretStr = Field(default=SecretStr(""), description="key of the studio; empty: the studio is refused")
    ingest_key: SecretStr = Field(default=SecretStr(""), description="key of the ingest steps; empty: they are refused")
    erasure_key: SecretStr = Field(default=SecretStr(""), description="key of the erasure job; empty: it is refused")
    ticket_key: SecretStr = Field(
        default=SecretStr(""), description="signs what a sign-in gives; empty: members sign in again after a restart"
    )
    ledger_key: SecretStr = Field(
        default=SecretStr(""), description="signs the ledger's events; empty: a key of this user's own, in a file"
    )
    older_ledger_key: SecretStr = Field(
        default=SecretStr(""), description="the ledger's key before a change: it introduces the new one"
    )
    oidc_issuer: str = Field(default="", description="address of the sign-in provider, as the studio has it; empty: passwords")
    oidc_client_id: str = Field(default="", description="client id of the studio there")
    oidc_member_claim: str = Field(default="sub", min_length=1, description="claim that names a person, as the studio has it")
    oidc_claim_is_member: bool = Field(default=False, description="the claim's value is the member's id")
    oidc_groups: str = Field(default="", description="groups of which a person must be in one, with commas; empty: everybody")
    oidc_groups_claim: str = Field(default="groups", min_length=1, description="claim that lists a person's groups")
    oidc_ca: str = Field(default="", description="file with the authority of the provider's certificate; empty: the usual ones")
    body_kb: int = Field(default=256, ge=1, le=10_000, description="largest request body, in kB")
    body_s: float = Field(default=10, gt=0, le=600, description="seconds in which a request's body must arrive")
    open_requests: int = Field(default=100, ge=1, le=10_000, description="requests that may be open at once; more get 503")
    passwords_at_once: int = Field(default=2, ge=1, le=64, description="passwords that are checked at once, 16 MB each")

    @field_validator("studio_key", "ingest_key", "erasure_key", "ticket_key", "ledger_key", "older_ledger_key")
    @classmethod
    def _check_length(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < _SHORTEST_KEY:
            raise ValueError(f"a key has {_SHORTEST_KEY} characters at least")
        return key


def load_governance_settings() -> GovernanceSettings:
    """The settings of the environment. Raises SettingsError: names what is out of bounds, and no key's value."""
    try:
        return GovernanceSettings()
    except ValidationError as e:
        faults = "; ".join(f"{PREFIX}{'.'.join(map(str, x['loc'])).upper()}: {x['msg']}" for x in e.errors())
        raise SettingsError(faults, where="the governance service's settings", cure="mend the variables named") from e
