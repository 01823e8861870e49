"""The images' files, without building anything; tests/e2e builds and starts them."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from deploy.images import bill
from deploy.images.__main__ import IMAGES
from deploy.images.builder import Builder, BuildError
from deploy.images.check import ROOMS, TORCH

ROOT = Path(__file__).resolve().parents[2]
FILES = ("Dockerfile.train", "Dockerfile.serve", "deploy/object-store/Dockerfile")
COMPILERS = re.compile(r"\b(gcc|build-essential|apt-get|apk|yum|dnf)\b")


def stages(file: str) -> dict[str, str]:
    """Stage name -> its lines; the last stage without a name is ""."""
    found, name = dict[str, str](), ""
    for line in (ROOT / file).read_text().replace("\\\n", " ").splitlines():
        if line.startswith("FROM "):
            name = line.split(" AS ")[1] if " AS " in line else ""
            found[name] = ""
        elif line and not line.startswith("#"):
            found[name] = found.get(name, "") + line + "\n"
    return found


FINAL = [(file, target) for file, target, _ in IMAGES.values()]


@pytest.mark.parametrize(("file", "target"), FINAL)
def test_an_image_runs_as_a_number_that_is_not_root(file: str, target: str) -> None:
    users = re.findall(r"^USER (.+)$", stages(file)[target], re.MULTILINE)
    assert users == ["10001:0"]


@pytest.mark.parametrize(("file", "target"), FINAL)
def test_an_image_says_what_it_is(file: str, target: str) -> None:
    for label in ("version", "source", "licenses", "title"):
        assert f"org.opencontainers.image.{label}=" in stages(file)[target]


@pytest.mark.parametrize(("file", "target"), FINAL)
def test_nothing_is_installed_in_the_stage_that_ships(file: str, target: str) -> None:
    assert not re.search(r"\b(pip|uv|go) ", stages(file)[target])
    assert "ADD " not in stages(file)[target]


@pytest.mark.parametrize("file", FILES)
def test_no_package_manager_and_no_compiler_is_brought_in(file: str) -> None:
    assert not [name for name, lines in stages(file).items() if COMPILERS.search(lines)]


@pytest.mark.parametrize("file", FILES)
def test_the_base_is_an_argument(file: str) -> None:
    text = (ROOT / file).read_text()
    assert "ARG BASE_IMAGE=" in text
    assert "FROM ${BASE_IMAGE}" in text


def test_settings_of_the_index_never_reach_a_stage_that_ships() -> None:
    for file, target in FINAL:
        assert "PIP_" not in stages(file)[target]


def test_packages_are_pinned_and_hashed() -> None:
    for name in ("prepare", "train", "generation", "studio", "registry"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        pins = re.findall(r"^[a-z0-9][^ ]*==", text, re.MULTILINE)
        assert len(pins) > 20
        assert text.count("--hash=sha256:") >= len(pins)
        assert not re.search(r"https?://", text)


def test_no_image_gets_kfp_and_only_two_get_torch() -> None:
    for name in ("prepare", "train", "generation", "studio", "registry"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert not re.search(r"^kfp", text, re.MULTILINE)
        assert bool(re.search(r"^torch==", text, re.MULTILINE)) == (name in TORCH)


def test_every_image_is_looked_into() -> None:
    assert set(ROOMS) == set(IMAGES) - {"object-store"}


def test_the_bill_names_every_package_with_its_licence() -> None:
    made = bill.bill("prepare", "1.0")
    names = [component["name"] for component in made["components"]]
    assert names == sorted({str(d.metadata["Name"]).lower().replace("_", "-") for d in metadata.distributions()})
    numpy: Any = next(component for component in made["components"] if component["name"] == "numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{metadata.version('numpy')}"
    assert numpy["licenses"]
    assert sum(bill.licences_of(made).values()) == len(names)


def test_without_a_builder_the_words_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError, match="podman nor docker"):
        Builder()
