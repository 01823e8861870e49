"""The documentation builds as a site: strictly, so that a broken link or a page outside the navigation is red."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import REPOSITORY

pytest.importorskip("mkdocs")
pytest.importorskip("material")


def build_site(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build_site(REPOSITORY / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    """What lies in docs/ and the pages beside the code."""
    pages = [path.relative_to(REPOSITORY / "docs") for path in (REPOSITORY / "docs").rglob("*.md")]
    pages += [path.relative_to(REPOSITORY) for path in REPOSITORY.glob("components/*/README.md")]
    for page in [*pages, Path("CONTRIBUTING.md"), Path("SECURITY.md"), Path("CHANGELOG.md"), Path("index.md")]:
        html = page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html")
        assert (site / html).is_file(), page


def test_a_page_loads_nothing_from_other_servers(site: Path) -> None:
    """Links that a reader follows may lead out; what a browser loads by itself may not."""
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe|audio)[^>]*\bsrc=\"(https?:[^\"]+)", page.read_text())
        loaded += re.findall(r"<link[^>]*rel=\"(?:stylesheet|preconnect|icon)\"[^>]*href=\"(https?:[^\"]+)", page.read_text())
        assert loaded == [], page


def test_a_broken_link_fails(tmp_path: Path) -> None:
    """The hook rewrites links, so a mistake in it could hide a broken one."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "page.md").write_text("# Page\n[gone](nowhere.md), [moved](page.md#nowhere), [fine](https://example.com/)\n")
    (tmp_path / "mkdocs.yml").write_text(
        f"site_name: broken\nuse_directory_urls: false\nhooks: [{REPOSITORY / 'docs/site_pages.py'}]\nnav: [page.md]\n"
        "validation: {links: {not_found: warn, anchors: warn}, nav: {not_found: ignore, omitted_files: ignore}}\n"
    )
    built = build_site(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode != 0
    assert "nowhere.md" in built.stderr
    assert "#nowhere" in built.stderr
