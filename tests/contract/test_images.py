"""The images' files, without building anything; tests/e2e builds and starts them."""

from __future__ import annotations

import argparse
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from deploy.chart.value_types import ImageReference
from deploy.images import __main__ as program
from deploy.images import bill
from deploy.images.__main__ import IMAGES
from deploy.images.builder import ImageBuilder, ImageBuildError
from deploy.images.check import IMAGE_MODULES, TORCH

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


def shipped(file: str, target: str) -> str:
    """Lines of a stage and of those it is built on: all that is in the image."""
    text = (ROOT / file).read_text()
    below = re.search(rf"^FROM (\S+) AS {re.escape(target)}$", text, re.MULTILINE)
    return stages(file).get(target, "") + (shipped(file, below.group(1)) if below else "")


FINAL = [(file, target) for file, target, _ in IMAGES.values()]


@pytest.mark.parametrize(("file", "target"), FINAL)
def test_an_image_runs_as_a_number_that_is_not_root(file: str, target: str) -> None:
    users = re.findall(r"^USER (.+)$", shipped(file, target), re.MULTILINE)
    assert users == ["10001:0"]


@pytest.mark.parametrize(("file", "target"), FINAL)
def test_an_image_says_what_it_is(file: str, target: str) -> None:
    for label in ("version", "source", "licenses", "title"):
        assert f"org.opencontainers.image.{label}=" in shipped(file, target)


@pytest.mark.parametrize(("file", "target"), FINAL)
def test_nothing_is_installed_in_the_stage_that_ships(file: str, target: str) -> None:
    assert not re.search(r"\b(pip|uv|go) ", stages(file)[target])
    assert "ADD " not in stages(file)[target]


@pytest.mark.parametrize("file", FILES)
def test_no_package_manager_and_no_compiler_is_brought_in(file: str) -> None:
    assert not [name for name, lines in stages(file).items() if COMPILERS.search(lines)]


@pytest.mark.parametrize("file", FILES)
def test_no_stage_is_named_by_a_variable(file: str) -> None:
    """podman 4.3 does not see which stage is meant and asks a registry for it; a base image by a variable is another thing."""
    variables = re.findall(r"^FROM \$\{(\w+)\}", (ROOT / file).read_text(), re.MULTILINE)
    assert variables
    assert set(variables) <= {"BASE_IMAGE", "GO_IMAGE"}


@pytest.mark.parametrize("file", FILES)
def test_the_base_is_an_argument(file: str) -> None:
    text = (ROOT / file).read_text()
    assert "ARG BASE_IMAGE=" in text
    assert "FROM ${BASE_IMAGE}" in text


@pytest.mark.parametrize(("file", "target"), FINAL)
def test_the_installer_and_the_settings_of_the_index_never_reach_a_stage_that_ships(file: str, target: str) -> None:
    lines = shipped(file, target)
    assert not re.search(r"PIP_|SSL_CERT|UV_|--from=tool", lines)
    assert "/tool" not in re.sub(r"--mount=type=bind,from=tool,source=/tool,target=/tool", "", lines)


def test_the_layer_with_torch_is_the_same_in_both_files() -> None:
    """Word for word down to the base, or a node would pull 6 GB twice."""
    ours = [shipped(file, "torch-packages") for file in FILES[:2]]
    assert ours[0] == ours[1]
    assert "torch.txt" in ours[0]
    assert [stages(file)["tool"] for file in FILES[:1]] == [stages(file)["tool"] for file in FILES[1:2]]


@pytest.mark.parametrize("name", sorted(TORCH))
def test_what_the_common_layer_holds_is_in_both_lists(name: str) -> None:
    """A pin that differed would be installed a second time above the first."""
    common, own = (set(re.findall(r"^[a-z0-9][^ ]*==[^ ]+", text, re.MULTILINE)) for text in map(_list, ("torch", name)))
    assert len(common) > 150
    assert common <= own
    assert len(own - common) < 40


def _list(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def test_packages_are_pinned_and_hashed() -> None:
    for name in ("prepare", "torch", "train", "generation", "studio", "registry"):
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
    assert set(IMAGE_MODULES) == set(IMAGES) - {"object-store"}


def test_the_bill_names_every_package_with_its_licence() -> None:
    made = bill.make_bill("prepare", "1.0")
    names = [component["name"] for component in made["components"]]
    assert names == sorted({str(d.metadata["Name"]).lower().replace("_", "-") for d in metadata.distributions()})
    numpy: Any = next(component for component in made["components"] if component["name"] == "numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{metadata.version('numpy')}"
    assert numpy["licenses"]
    assert sum(bill.count_licences(made).values()) == len(names)


def test_without_a_builder_the_words_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ImageBuildError, match="podman nor docker"):
        ImageBuilder()


def test_a_push_says_how_layers_are_packed(tmp_path: Path) -> None:
    """A program named podman that writes down what it was asked, and a digest where podman would."""
    podman = tmp_path / "podman"
    podman.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        'while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && printf sha256:abc > "$2"; shift; done\n'
    )
    podman.chmod(0o755)
    assert ImageBuilder(str(podman), tls=False, compression="zstd").push("mine:1", "there:5000/mine:1") == "sha256:abc"
    assert ImageBuilder(str(podman)).push("mine:1", "there:5000/mine:1") == "sha256:abc"
    packed, plain = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("push")]
    assert "--compression-format zstd" in packed
    assert "--tls-verify=false" in packed
    assert "compression" not in plain
    assert "--tls-verify=true" in plain


class Carrier(ImageBuilder):
    """A builder that notes what it would carry; what it pushes gets a digest of its own."""

    def __init__(self) -> None:
        self.pulled: list[str] = []

    def pull(self, reference: str) -> None:
        self.pulled.append(reference)

    def push(self, tag: str, to: str) -> str:
        assert tag in self.pulled
        return f"sha256:pushed-{to.rpartition('/')[2].partition(':')[0]}"


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of two images; the file that relocating writes."""
    images = [
        {"name": n, "version": "1", "reference": f"old:5000/audio-tune/{n}:1", "digest": f"sha256:{n}"}
        for n in ("prepare", "registry")
    ]
    (tmp_path / "images.lock").write_text(json.dumps({"images": images}))
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "LOCK", tmp_path / "images.lock")
    monkeypatch.setattr(program, "RELOCATED", tmp_path / "values" / "relocated.yaml")
    return tmp_path / "values" / "relocated.yaml"


def test_relocating_carries_by_digest_and_writes_the_values_of_the_new_place(locked: Path) -> None:
    carrier = Carrier()
    program.relocate_images(carrier, "inside:5000/band", [], "db.io:443/library/postgres:15")
    ours = ["old:5000/audio-tune/prepare@sha256:prepare", "old:5000/audio-tune/registry@sha256:registry"]
    assert carrier.pulled == [*ours, "db.io:443/library/postgres:15"]
    values = json.loads(locked.read_text().partition("\n")[2])["images"]
    assert values["registry"] == "inside:5000/band"
    assert values["mlflow"] == {"tag": "1", "digest": "sha256:pushed-registry"}
    assert values["database"] == {
        "registry": "inside:5000/band",
        "name": "postgres",
        "tag": "15",
        "digest": "sha256:pushed-postgres",
    }


def test_relocating_takes_some_and_leaves_the_database_alone(locked: Path) -> None:
    program.relocate_images(Carrier(), "inside:5000", ["registry"])
    assert set(json.loads(locked.read_text().partition("\n")[2])["images"]) == {"registry", "mlflow"}


def test_what_the_lock_does_not_name_is_reported(locked: Path) -> None:
    with pytest.raises(ImageBuildError, match=r"does not name studio; it holds prepare, registry"):
        program.relocate_images(Carrier(), "inside:5000", ["studio"])
    assert not locked.exists()


@pytest.mark.parametrize(
    ("reference", "tag"),
    [
        ("a:5000/b/postgres:15", "15"),
        ("a:5000/postgres", "latest"),
        ("a/postgres:15@sha256:0", "15"),
        ("postgres@sha256:0", "latest"),
    ],
)
def test_the_tag_of_a_reference(reference: str, tag: str) -> None:
    assert program._get_tag(reference) == tag


class Puller(ImageBuilder):
    """A builder that knows the digests of a registry, and notes what it was asked to build with."""

    def __init__(self) -> None:
        self.digests = {PYTHON: f"sha256:{'1' * 64}", "db.io:443/library/postgres:15": f"sha256:{'2' * 64}"}

    def read_digest(self, reference: str) -> str:
        return self.digests.get(reference, "")


PYTHON = "docker.io/library/python:3.11-slim-bookworm"


def arguments(*flags: str) -> argparse.Namespace:
    return program._make_parser().parse_args(flags)


def test_bases_are_taken_by_digest() -> None:
    """Not by tag: what a tag names changes. The images of one Dockerfile share their base."""
    assert program.find_bases(Puller(), arguments(), ["prepare", "studio"]) == {
        PYTHON: f"docker.io/library/python@sha256:{'1' * 64}"
    }
    given = program.find_bases(Puller(), arguments("--base-image", "mine.io/python@sha256:0"), ["train"])
    assert given == {PYTHON: "mine.io/python@sha256:0"}
    local = program.find_bases(Puller(), arguments("--base-image", "localhost/python:3"), ["train"])
    assert local == {PYTHON: "localhost/python:3"}  # it came from no registry
    store = program.find_bases(Puller(), arguments("--minio", "/here"), ["object-store"])
    assert list(store) == ["docker.io/library/debian:bookworm-slim"]  # a given program needs no Go


def test_the_lock_keeps_bases_and_database_and_the_values_name_them(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "VALUES", tmp_path / "values" / "images.yaml")
    built = {"name": "prepare", "version": "2", "reference": "old:5000/audio-tune/prepare:2", "digest": f"sha256:{'3' * 64}"}
    database = program.pin_image(Puller(), "db.io:443/library/postgres:15")
    program._write_lock_and_values("old:5000", [built], {PYTHON: "docker.io/library/python@sha256:1"}, database)
    program._write_lock_and_values("old:5000", [], {}, "")  # what is not said again stays
    lock = json.loads((tmp_path / "images.lock").read_text())
    assert lock["bases"] == {PYTHON: "docker.io/library/python@sha256:1"}
    assert lock["database"] == f"db.io:443/library/postgres@sha256:{'2' * 64}"
    values = json.loads((tmp_path / "values" / "images.yaml").read_text().partition("\n")[2])["images"]
    assert values["database"] == {"registry": "db.io:443/library", "name": "postgres", "digest": f"sha256:{'2' * 64}"}
    assert values["prepare"]["digest"] == built["digest"]
    ImageReference.model_validate(values["database"])


def test_locked_builds_on_the_bases_of_the_lock_and_on_no_other(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Dockerfile.train").write_text(f"ARG BASE_IMAGE={PYTHON}\n")
    with pytest.raises(ImageBuildError, match=f"no digest of {PYTHON}"):
        program.find_bases(Puller(), arguments("--locked"), ["train"])
    pinned = f"docker.io/library/python@sha256:{'9' * 64}"
    (tmp_path / "images.lock").write_text(json.dumps({"images": [], "bases": {PYTHON: pinned}}))
    assert program.find_bases(Puller(), arguments("--locked"), ["train"]) == {PYTHON: pinned}


@pytest.mark.parametrize(
    ("reference", "digest"),
    [
        ("there:5000/a:1", "sha256:there"),
        ("docker.io/library/python:3.11", "sha256:hub"),
        ("python:3.11", "sha256:hub"),
        ("localhost/a:1", ""),
        ("elsewhere/a:1", ""),
    ],
)
def test_a_digest_is_that_of_the_name_and_pulled_where_it_is_missing(tmp_path: Path, reference: str, digest: str) -> None:
    """A program that answers as podman 4 and docker do: all digests of an image, whatever name it was asked for by."""
    names = ["localhost/a@sha256:local", "there:5000/a@sha256:there", "python@sha256:hub"]
    podman = tmp_path / "podman"
    podman.write_text(
        f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/asked\n'
        f"case $1 in pull) touch {tmp_path}/here;; *) [ -f {tmp_path}/here ] && echo '{json.dumps(names)}';; esac\n"
    )
    podman.chmod(0o755)
    assert ImageBuilder(str(podman)).read_digest(reference) == digest
    assert [line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()] == ["image", "pull", "image"]
