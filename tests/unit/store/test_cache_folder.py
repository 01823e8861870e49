"""Where caches lie: the variable, the user's folder, or the temporary one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from audiotune.errors import StoreError
from audiotune.store.cache_folder import choose_cache_folder, choose_temporary_folder
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.settings import GenerationSettings
from tests.fakes.layout_store import LayoutStore


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a temporary folder of the test's own."""
    for name in ("AUDIOTUNE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "home"


def test_the_variable_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert choose_cache_folder() == tmp_path / "xdg" / "audiotune"
    monkeypatch.setenv("AUDIOTUNE_CACHE", "~/weights")
    assert choose_cache_folder() == home / "weights"


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="other systems have other cache folders")
def test_without_it_the_users_own(home: Path) -> None:
    assert choose_cache_folder() == home / ".cache" / "audiotune"


def test_without_a_home_the_temporary_folder(home: Path) -> None:
    home.write_text("no folder")
    assert choose_cache_folder() == Path(tempfile.gettempdir()) / f"audiotune-{os.getuid()}" / "cache"


def test_nobody_else_may_write_into_the_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own = choose_temporary_folder("models").parent
    assert own.stat().st_mode & 0o777 == 0o700
    somebody_else = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody_else)
    own.rename(own.with_name(f"audiotune-{somebody_else}"))
    with pytest.raises(StoreError, match="belongs to somebody else"):
        choose_temporary_folder("models")


def test_the_generation_service_remembers_its_release_there(tmp_path: Path, home: Path) -> None:
    loader = ReleaseLoader(GenerationSettings(release="band"), LayoutStore(tmp_path / "store"))
    assert loader._cache_path("band").is_relative_to(choose_cache_folder() / "generation")
