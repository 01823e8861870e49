"""Downloads from model hubs: a port, and its implementation for Hugging Face."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from audiotune.errors import SourceError
from audiotune.stable_audio.hub_refusals import explain_refusal, find_token_place, is_passing

TOKEN_VARIABLE = "HF_TOKEN"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. `digest` is its SHA-256, which hubs know of large files only; "" for the others."""

    path: str
    size: int
    digest: str = ""


@dataclass(frozen=True)
class HubSnapshot:
    """The files of a repository as they are at one revision, path -> file."""

    repository: str
    revision: str
    files: Mapping[str, HubFile]


class Hub(Protocol):
    """A hub with repositories named `organisation/model` (or `model`, for the oldest)."""

    def list_files(self, repository: str) -> tuple[str, ...]:
        """Paths of all files of a repository. Raises SourceError."""

    def download(self, repository: str, file: str, folder: Path) -> Path:
        """Downloads one file to `folder/file`. Raises SourceError."""

    def read_snapshot(self, repository: str) -> HubSnapshot:
        """The newest revision of a repository, with the size of each file. Raises SourceError."""

    def read_range(self, snapshot: HubSnapshot, file: HubFile, begin: int, end: int, out: BinaryIO) -> None:
        """Writes the bytes [begin, end) of a file. Goes on where a connection breaks. Raises SourceError."""


class HuggingFace:
    """The Hugging Face Hub, or one of the same kind.

    Args:
        kind: of the repositories, "model" or "dataset".
        token: for private repositories and for models behind a licence; None takes that of HF_TOKEN, "" is none.
        held_in: where a given token lies, for messages.
        endpoint: address of the hub; empty takes that of HF_ENDPOINT, else https://huggingface.co.
        tries: how often in a row a request may bring no byte.
        pause_s: before the second try; doubles with each try that brings no byte.
    """

    def __init__(
        self,
        kind: str = "model",
        *,
        token: str | None = None,
        held_in: str = "",
        endpoint: str = "",
        tries: int = 6,
        pause_s: float = 1.0,
    ) -> None:
        self._kind, self._tries, self._pause_s = kind, tries, pause_s
        self._token: str | bool | None = _check_token(os.environ.get(TOKEN_VARIABLE, "") if token is None else token) or None
        self._token_place = find_token_place() if token is None else held_in if token else ""
        if token == "":
            self._token = False  # the client would send the token of an earlier login
        self._endpoint = endpoint or os.environ.get("HF_ENDPOINT") or None

    def list_files(self, repository: str) -> tuple[str, ...]:
        from huggingface_hub import HfApi

        try:
            return tuple(HfApi(self._endpoint, token=self._token).list_repo_files(repository, repo_type=self._kind))
        except Exception as e:  # the client raises errors of three libraries without a common base
            raise self._explain(e, repository) from e

    def download(self, repository: str, file: str, folder: Path) -> Path:
        from huggingface_hub import hf_hub_download

        where = {"repo_type": self._kind, "token": self._token, "endpoint": self._endpoint}
        try:
            return Path(hf_hub_download(repository, file, local_dir=folder, **where))
        except Exception as e:
            raise self._explain(e, repository, file) from e

    def read_snapshot(self, repository: str) -> HubSnapshot:
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        try:
            api = HfApi(self._endpoint, token=self._token)
            revision = str(api.repo_info(repository, repo_type=self._kind).sha)
            tree = list(api.list_repo_tree(repository, recursive=True, revision=revision, repo_type=self._kind))
        except Exception as e:
            raise self._explain(e, repository) from e
        found = (entry for entry in tree if isinstance(entry, RepoFile))
        files = {file.path: HubFile(file.path, file.size, file.lfs.sha256 if file.lfs else "") for file in found}
        return HubSnapshot(repository, revision, files)

    def read_range(self, snapshot: HubSnapshot, file: HubFile, begin: int, end: int, out: BinaryIO) -> None:
        start, fruitless = out.tell(), 0
        while True:
            have = out.tell() - start
            try:
                return self._get_range(snapshot, file, begin + have, end, out)
            except Exception as e:
                fruitless = 0 if out.tell() - start > have else fruitless + 1
                if fruitless >= self._tries or not is_passing(e):
                    raise self._explain(e, snapshot.repository, file.path) from e
                time.sleep(self._pause_s * 2**fruitless)

    def _get_range(self, snapshot: HubSnapshot, file: HubFile, begin: int, end: int, out: BinaryIO) -> None:
        """One request. It names the hub's own address each time: the address of a CDN, where it leads, is good for minutes only."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers, disable_progress_bars

        if begin >= end:
            return
        disable_progress_bars("huggingface_hub.http_get")
        headers = build_hf_headers(token=self._token)
        if end - begin < file.size:  # small files come whole, and perhaps compressed: then no range fits
            headers |= {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
        where = {"repo_type": self._kind, "revision": snapshot.revision, "endpoint": self._endpoint}
        url = hf_hub_url(snapshot.repository, file.path, **where)
        http_get(url, out, headers=headers, expected_size=end - begin)

    def _explain(self, error: Exception, repository: str, file: str = "") -> SourceError:
        return explain_refusal(error, repository, file, kind=self._kind, token_place=self._token_place)


def _check_token(token: str) -> str:
    """The token, without the line's end. Raises SourceError for one that no header can carry; it is not repeated."""
    token = token.strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise SourceError("this is no token", where=TOKEN_VARIABLE, cure="give the token alone: hf_ and letters, without spaces")
    return token
