"""The studio's knobs, from the environment (AUDIOTUNE_STUDIO_...) or from flags. Imports pydantic only: --help is instant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from audiotune.errors import SettingsError

PREFIX = "AUDIOTUNE_STUDIO_"


class Settings(BaseModel):
    """How one studio runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    store: str = Field(default="", description="folder or s3://bucket/prefix; empty takes AUDIOTUNE_STORE")
    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 lets others on the network in")
    port: int = Field(default=7860, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    generation_url: str = Field(default="http://127.0.0.1:3000", description="where the generation service answers")
    kfp_url: str = Field(default="", description="Kubeflow Pipelines' address; empty runs the steps on this machine")
    kfp_namespace: str = Field(default="", description="namespace runs belong to; empty on a single-user Kubeflow")
    kfp_pipeline: str = Field(
        default="prepare", min_length=1, description="name of the uploaded pipeline that takes recordings in"
    )
    kfp_tune: str = Field(default="tune", min_length=1, description="name of the uploaded pipeline that makes a release")
    kfp_service_account: str = Field(default="", description="account of a run's steps; empty takes Kubeflow's default")
    kfp_token: str = Field(default="", repr=False, description="bearer token for Kubeflow; give it by environment only")
    recipe: str = Field(default="", description="recipe the steps run with; empty takes the default one")
    work_folder: Path = Field(
        default=Path(".audiotune/studio"), description="folder for run logs and files on their way to a browser"
    )
    upload_limit_mb: int = Field(default=6000, ge=1, le=100_000, description="largest file taken by the upload page, in MB")
    access: Literal["open", "members"] = Field(
        default="open", description="members: sign in with an account; open: whoever reaches the page chooses a name"
    )
    releases_by: Literal["members", "owners"] = Field(
        default="members", description="who may start a training: every member, or owners only (needs sign-in)"
    )
    tune_limit_s: int = Field(default=604_800, ge=60, description="longest a training on this machine may take, in seconds")
    run_limit_s: int = Field(default=7200, ge=10, description="longest a run of ingest and segment may take, in seconds")
    generation_limit_s: int = Field(default=600, ge=5, description="longest to wait for a sound, in seconds")

    @model_validator(mode="after")
    def _owners_sign_in(self) -> Settings:
        if self.releases_by == "owners" and self.access != "members":
            raise ValueError("RELEASES_BY=owners needs ACCESS=members: without sign-in nobody is known to be an owner")
        return self


def from_environment(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from AUDIOTUNE_STUDIO_* with given values on top (None leaves a value to the environment).

    Raises:
        SettingsError: names every knob that is out of bounds.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {
        name: environ[PREFIX + name.upper()] for name in Settings.model_fields if environ.get(PREFIX + name.upper())
    }
    if environ.get("AUDIOTUNE_ACCESS"):  # one setting for all services; the studio's own wins
        values.setdefault("access", environ["AUDIOTUNE_ACCESS"])
    values.update({name: value for name, value in given.items() if value is not None})
    try:
        return Settings.model_validate(values)
    except ValidationError as e:
        faults = "; ".join(": ".join((*(PREFIX + str(at).upper() for at in x["loc"][:1]), x["msg"])) for x in e.errors())
        raise SettingsError(faults, where="the studio's settings", cure="see python -m services.studio --help") from e
