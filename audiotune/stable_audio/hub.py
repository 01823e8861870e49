"""Downloads from model hubs: a port, and its implementation for Hugging Face."""

import os
from pathlib import Path
from typing import Protocol

from audiotune.errors import SourceError


class Hub(Protocol):
    """A hub with repositories named `organisation/model` (or `model`, for the oldest)."""

    def list_files(self, repository: str) -> tuple[str, ...]:
        """Paths of all files of a repository. Raises SourceError."""

    def download(self, repository: str, file: str, folder: Path) -> Path:
        """Downloads one file to `folder/file`. Raises SourceError."""


class HuggingFace:
    """The Hugging Face Hub, with the token of HF_TOKEN for private repositories and for models behind a licence.

    Args:
        kind: of the repositories, "model" or "dataset".
    """

    def __init__(self, kind: str = "model") -> None:
        self._kind, self._token = kind, os.environ.get("HF_TOKEN") or None

    def list_files(self, repository: str) -> tuple[str, ...]:
        from huggingface_hub import HfApi

        try:
            return tuple(HfApi(token=self._token).list_repo_files(repository, repo_type=self._kind))
        except Exception as e:  # the client raises errors of three libraries without a common base
            raise _make_source_error(repository, e) from e

    def download(self, repository: str, file: str, folder: Path) -> Path:
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(repository, file, repo_type=self._kind, local_dir=folder, token=self._token))
        except Exception as e:
            raise _make_source_error(f"{repository}/{file}", e) from e


def _make_source_error(where: str, error: Exception) -> SourceError:
    kind, first = type(error).__name__, (str(error).strip().splitlines() or [""])[0]
    repository = "/".join(where.split("/")[:2])
    if "Gated" in kind or "401" in first or "403" in first:
        return SourceError(
            "Hugging Face asks for an accepted licence and a token",
            where=where,
            cure=f"accept the licence at https://huggingface.co/{repository} and set HF_TOKEN",
        )
    return SourceError(
        f"Hugging Face refuses: {kind}: {first}", where=where, cure="check the name and the network, or name a local folder"
    )
