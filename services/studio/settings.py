"""The studio's settings, from the environment (AUDIOTUNE_STUDIO_...) or from flags. Imports pydantic only: --help is instant."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from audiotune.errors import SettingsError
from audiotune.outside.path_prefix import normalise_path_prefix

PREFIX = "AUDIOTUNE_STUDIO_"
_PASSWORD_SESSION_S = 30 * 86_400.0


class StudioSettings(BaseModel):
    """How one studio runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    store: str = Field(default="", description="folder or s3://bucket/prefix; empty takes AUDIOTUNE_STORE")
    store_wait_s: float = Field(
        default=0, ge=0, le=3600, description="seconds to wait at the start for a store that refuses or does not answer"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 lets others on the network in")
    port: int = Field(default=7860, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    generation_url: str = Field(default="http://127.0.0.1:3000", description="where the generation service answers")
    kfp_url: str = Field(default="", description="address of Kubeflow Pipelines' API; empty runs the steps on this machine")
    kfp_pages: str = Field(
        default="",
        description="address of Kubeflow's pages as a browser reaches them; empty where the API's address has them, too",
    )
    kfp_namespace: str = Field(default="", description="namespace that runs belong to; empty on a single-user Kubeflow")
    kfp_pipeline: str = Field(
        default="prepare", min_length=1, description="name of the uploaded pipeline that takes recordings in"
    )
    kfp_tune: str = Field(default="tune", min_length=1, description="name of the uploaded pipeline that makes a release")
    kfp_service_account: str = Field(default="", description="service account of a run's steps; empty takes Kubeflow's default")
    kfp_token: str = Field(default="", repr=False, description="bearer token for Kubeflow's API; give it by environment only")
    recipe: str = Field(default="", description="recipe the steps run with; empty takes the default one")
    work_folder: Path = Field(
        default=Path(".audiotune/studio"), description="folder for run logs and files on their way to a browser"
    )
    upload_limit_mb: int = Field(default=6000, ge=1, le=100_000, description="largest file that the upload page takes, in MB")
    upload_quota_gb: float = Field(
        default=20,
        gt=0,
        le=10_000,
        description="most that one member's uploads may take on the studio's disk until they are kept, in GB; at least one largest file",
    )
    access: Literal["open", "members"] = Field(
        default="open", description="members: sign in with an account; open: whoever reaches it chooses a name"
    )
    public_url: str = Field(
        default="", description="address that members type; as in https://studio.band.org; sign-in at a provider needs it"
    )
    root_path: str = Field(
        default="",
        description="path below which a reverse proxy shows the studio; as in /studio; the proxy may take it off or leave it",
    )
    hosts: str = Field(
        default="",
        description="further names under which members reach the studio; with commas; IP addresses and local names always count",
    )
    proxies: str = Field(
        default="", description="addresses or networks of reverse proxies whose X-Forwarded headers count; with commas"
    )
    oidc_issuer: str = Field(
        default="",
        description="sign-in provider (OpenID Connect), as in https://login.band.org/realms/band; empty: members sign in with passwords",
    )
    oidc_client_id: str = Field(default="", description="client id that the provider has given this studio")
    oidc_client_secret: str = Field(
        default="", repr=False, description="client secret of this studio at the provider; by environment only"
    )
    oidc_name: str = Field(default="your account", max_length=60, description="name of the provider as members know it")
    oidc_scopes: str = Field(default="openid email profile", description="scopes that the studio asks for; with spaces")
    oidc_member_claim: str = Field(default="sub", min_length=1, description="claim that names a person; as in sub or email")
    oidc_claim_is_member: bool = Field(default=False, description="the claim's value is the member's id; no list is asked")
    oidc_groups: str = Field(
        default="", description="groups of the provider whose people may sign in; with commas; empty: all its people"
    )
    oidc_groups_claim: str = Field(default="groups", min_length=1, description="claim that lists a person's groups")
    oidc_ca: str = Field(
        default="", description="certificate of the provider's authority, as a file, where it is not a public one"
    )
    oidc_session_h: float = Field(default=12, gt=0, le=720, description="hours that a sign-in lasts")
    releases_by: Literal["members", "owners"] = Field(
        default="members", description="who may start a training: every member, or owners only (which needs sign-in)"
    )
    tune_limit_s: int = Field(default=604_800, ge=60, description="longest training on this machine, in seconds")
    run_limit_s: int = Field(default=7200, ge=10, description="longest run of ingest and segment on this machine, in seconds")
    notice_hosts: str = Field(
        default="", description="hosts of notices that need be neither https nor public; with commas; as in mail.home:25"
    )
    notice_webhook: str = Field(default="", description="https address that gets every notice as JSON; empty: none")
    notice_webhook_secret: str = Field(
        default="", repr=False, description="signs what is sent to the notices' webhook; by environment only"
    )
    smtp_host: str = Field(default="", description="mail server by which members are told by e-mail; empty: none")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="port of the mail server")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls (port 587), tls (port 465), or none, in a network of one's own"
    )
    smtp_user: str = Field(default="", description="user at the mail server; empty: it asks for none")
    smtp_password: str = Field(default="", repr=False, description="password at the mail server; by environment only")
    smtp_from: str = Field(default="", description="address that mails come from; as in tune@band.example")
    matrix_url: str = Field(default="", description="address of a Matrix server; as in https://matrix.band.example; empty: none")
    matrix_room: str = Field(default="", description="id of the room that is told; as in !abcdef:band.example")
    matrix_token: str = Field(default="", repr=False, description="access token of the account that tells; by environment only")
    generation_limit_s: int = Field(default=600, ge=5, description="longest time to wait for a sound, in seconds")

    @property
    def session_s(self) -> float:
        """Seconds that a sign-in lasts, unless it is ended before."""
        return self.oidc_session_h * 3600 if self.oidc_issuer else _PASSWORD_SESSION_S

    @property
    def base_path(self) -> str:
        """The path below which browsers see the studio, without a slash at its end; "" for the root of its name."""
        return self.root_path or normalise_path_prefix(urlsplit(self.public_url).path)

    @property
    def base_url(self) -> str:
        """The address that members type, without a slash at its end; "" when it is not known."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}{self.base_path}" if parts.scheme else ""

    @property
    def upload_quota_bytes(self) -> int:
        return max(round(self.upload_quota_gb * 1e9), self.upload_limit_mb * 1_000_000)

    @property
    def files_folder(self) -> Path:
        """Where files lie on their way to and from browsers; Gradio reads the same variable."""
        return Path(os.environ.get("GRADIO_TEMP_DIR") or self.work_folder.resolve() / "files")

    @field_validator("proxies")
    @classmethod
    def _check_proxies(cls, proxies: str) -> str:
        for part in filter(None, map(str.strip, proxies.split(","))):
            ipaddress.ip_network(part)  # its ValueError says what is wrong
        return proxies

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, path: str) -> str:
        return normalise_path_prefix(path)

    @model_validator(mode="after")
    def _check_notices(self) -> StudioSettings:
        for name, others in (
            ("notice_webhook", ("notice_webhook_secret",)),
            ("smtp_host", ("smtp_from",)),
            ("matrix_url", ("matrix_room", "matrix_token")),
        ):
            missing = [other.upper() for other in others if not getattr(self, other)]
            if getattr(self, name) and missing:
                raise ValueError(f"{name.upper()} needs {' and '.join(missing)} besides")
        return self

    @model_validator(mode="after")
    def _check_public_path(self) -> StudioSettings:
        path = normalise_path_prefix(urlsplit(self.public_url).path)
        if self.root_path and path not in ("", self.root_path):
            raise ValueError(f"PUBLIC_URL has the path {path}, ROOT_PATH is {self.root_path}: leave one of them out")
        return self

    @model_validator(mode="after")
    def _check_sign_in(self) -> StudioSettings:
        if self.releases_by == "owners" and self.access != "members":
            raise ValueError("RELEASES_BY=owners needs ACCESS=members: without sign-in nobody is known to be an owner")
        if not self.oidc_issuer:
            return self
        if self.access != "members":
            raise ValueError("OIDC_ISSUER needs ACCESS=members")
        missing = [name.upper() for name in ("oidc_client_id", "public_url") if not getattr(self, name)]
        if missing:
            raise ValueError(f"OIDC_ISSUER needs {' and '.join(missing)} besides")
        for name in ("oidc_issuer", "public_url"):
            _check_address(name, getattr(self, name))
        if "openid" not in self.oidc_scopes.split():
            raise ValueError("OIDC_SCOPES must hold openid")
        return self


def _check_address(name: str, url: str) -> None:
    """https, or http on this machine: codes and cookies must not travel in the open."""
    parts = urlsplit(url)
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme not in (("http", "https") if here else ("https",)) or not parts.hostname:
        raise ValueError(f"{name.upper()} must begin with https:// (http:// only on this machine)")


def load_studio_settings(environ: Mapping[str, str] | None = None, **given: Any) -> StudioSettings:
    """Settings from AUDIOTUNE_STUDIO_* with given values on top (None leaves a value to the environment).

    Raises:
        SettingsError: names every setting that is out of bounds.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {
        name: environ[PREFIX + name.upper()] for name in StudioSettings.model_fields if environ.get(PREFIX + name.upper())
    }
    if environ.get("AUDIOTUNE_ACCESS"):  # one setting for all services; the studio's own wins
        values.setdefault("access", environ["AUDIOTUNE_ACCESS"])
    values.update({name: value for name, value in given.items() if value is not None})
    try:
        return StudioSettings.model_validate(values)
    except ValidationError as e:
        faults = "; ".join(": ".join((*(PREFIX + str(at).upper() for at in x["loc"][:1]), x["msg"])) for x in e.errors())
        raise SettingsError(faults, where="the studio's settings", cure="see python -m services.studio --help") from e
