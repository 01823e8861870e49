"""Folders of this machine for files that can be fetched or made again: a cache for slow ones, a temporary folder for quick ones."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

from audiotune.errors import StoreError


def choose_cache_folder() -> Path:
    """AUDIOTUNE_CACHE, or the user's cache folder, or, where the home folder is read-only, the temporary folder."""
    if named := os.environ.get("AUDIOTUNE_CACHE"):
        return Path(named).expanduser()
    folder = platformdirs.user_cache_path("audiotune", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return choose_temporary_folder("cache")
    return folder if os.access(folder, os.W_OK) else choose_temporary_folder("cache")


def choose_temporary_folder(kind: str) -> Path:
    """This user's folder for links, rewritten files and compiled code; a machine may empty it at every start.

    Raises StoreError: the folder belongs to somebody else, who could put code and weights there.
    """
    own = Path(tempfile.gettempdir()) / f"audiotune-{os.getuid()}"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    if own.stat().st_uid != os.getuid():
        raise StoreError("the temporary folder belongs to somebody else", where=str(own), cure="set TMPDIR to a folder of yours")
    return own / kind
