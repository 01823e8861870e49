"""The version is said in a few files that different programs read; they agree, and the changelog has its section."""

from __future__ import annotations

import re
import tomllib

import yaml

import audiotune
from components import image
from tests import REPOSITORY


def test_every_file_says_the_same_version() -> None:
    version = audiotune.__version__
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == version
    chart = yaml.safe_load((REPOSITORY / "helm/audio-tune/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    defaults = re.findall(r"AUDIOTUNE_VERSION:-([^}]+)\}", (REPOSITORY / "deploy/compose.yaml").read_text())
    assert defaults
    assert set(defaults) == {version}
    assert image.PREPARE.endswith(f":{version}")
    assert image.TRAIN.endswith(f":{version}")


def test_the_changelog_has_a_section_for_it() -> None:
    sections = re.findall(r"^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"
    assert re.fullmatch(re.escape(audiotune.__version__) + r" \(\d{4}-\d{2}-\d{2}\)", sections[1])
