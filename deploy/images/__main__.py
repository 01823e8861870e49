"""Builds the images, checks each, and pushes them where a cluster can pull them.

python -m deploy.images                                      builds and checks all of them
python -m deploy.images --registry registry.home:5000        and pushes them; writes deploy/values/images.yaml and images.lock
python -m deploy.images prepare studio --base-image IMAGE    some of them, on another base
python -m deploy.images --locked                             on the base images that images.lock names by digest
python -m deploy.images --relocate-to other:5000/mine        pulls what images.lock names and pushes it to another registry;
                                                             writes deploy/values/relocated.yaml
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.images.bill import count_licences
from deploy.images.builder import ImageBuilder, ImageBuildError, get_repository

ROOT = Path(__file__).resolve().parents[2]
VALUES, LOCK, BILLS = ROOT / "deploy/values/images.yaml", ROOT / "deploy/images.lock", ROOT / "build/sbom"
RELOCATED = ROOT / "deploy/values/relocated.yaml"
# name -> Dockerfile, target, name in the chart's values
IMAGES = {
    "prepare": ("Dockerfile.train", "prepare", "prepare"),
    "train": ("Dockerfile.train", "train", "train"),
    "generation": ("Dockerfile.serve", "generation", "generation"),
    "studio": ("Dockerfile.serve", "studio", "studio"),
    "registry": ("Dockerfile.serve", "registry", "mlflow"),
    "object-store": ("deploy/object-store/Dockerfile", "compiled", "objectStore"),
}
_BASE = re.compile(r"^ARG ((?:BASE|GO)_IMAGE)=(\S+)", re.MULTILINE)  # the images that come from elsewhere
UV_VERSION = next(line.split()[-1] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("UV_VERSION"))


def main(argv: list[str] | None = None) -> int:
    args = _make_parser().parse_args(argv)
    try:
        builder = ImageBuilder(args.builder, tls=not args.plain_http, compression=args.compression)
        if args.relocate_to:
            return relocate_images(builder, args.relocate_to, args.images, args.database)
        names = args.images or list(IMAGES)
        bases = {} if args.no_build else find_bases(builder, args, names)
        images = [_make_image(builder, name, args, bases) for name in names]
        database = pin_image(builder, args.database) if args.database else ""
    except ImageBuildError as e:
        print(f"images: {e}", file=sys.stderr)
        return 1
    if args.registry:
        _write_lock_and_values(args.registry, images, bases, database)
    return 0


def find_bases(builder: ImageBuilder, args: argparse.Namespace, names: Sequence[str]) -> dict[str, str]:
    """Base image as a Dockerfile names it -> the image to build on, by digest; of those that these images need.

    With --locked they are those of images.lock, so that another build has the same bases.

    Raises:
        ImageBuildError: a base that is not in the lock, or that cannot be pulled.
    """
    needed = {image: argument for name in names for argument, image in _list_base_arguments(name).items()}
    if args.minio:  # then no Go builds it
        needed = {image: argument for image, argument in needed.items() if argument != "GO_IMAGE"}
    if not args.locked:
        given = {"BASE_IMAGE": args.base_image, "GO_IMAGE": args.go_image}
        return {image: pin_image(builder, given[argument] or image) for image, argument in needed.items()}
    known = json.loads(LOCK.read_text()).get("bases", {}) if LOCK.is_file() else {}
    if missing := [image for image in needed if "@sha256:" not in known.get(image, "")]:
        cure = "build with --registry and without --locked once"
        raise ImageBuildError(f"deploy/{LOCK.name} has no digest of {', '.join(missing)}; {cure}")
    return {image: known[image] for image in needed}


def _list_base_arguments(name: str) -> dict[str, str]:
    """Build argument -> the base image that it stands for in the Dockerfile of an image."""
    return dict(_BASE.findall((ROOT / IMAGES[name][0]).read_text()))


def pin_image(builder: ImageBuilder, reference: str) -> str:
    """The reference by digest instead of by tag; as it is where it has one, or where the image came from no registry."""
    if "@sha256:" in reference:
        return reference
    digest = builder.read_digest(reference)
    pinned = f"{get_repository(reference)}@{digest}" if digest else reference
    print(f"{reference}: {digest or 'it came from no registry, so it has no digest'}")
    return pinned


def _make_image(builder: ImageBuilder, name: str, args: argparse.Namespace, bases: Mapping[str, str]) -> dict[str, Any]:
    """Builds and checks one image, writes its bill of materials and, with --registry, pushes it."""
    file, target, _ = IMAGES[name]
    tag = f"localhost/audio-tune/{name}:{read_version()}"
    arguments = {"UV_VERSION": UV_VERSION, "VERSION": read_version(), "SOURCE": _describe_commit()}
    arguments |= {argument: bases[image] for argument, image in _list_base_arguments(name).items() if image in bases}
    contexts = {}
    if name == "object-store" and args.minio:
        contexts, target = {"minio": args.minio}, "given"
    if not args.no_build:
        builder.build(str(ROOT / file), target, tag, arguments, contexts)
    if name == "object-store":
        purl = "pkg:golang/github.com/minio/minio"
        bill = {"components": [{"name": "minio", "licenses": [{"expression": "AGPL-3.0-only"}], "purl": purl}]}
        print(builder.run_command(tag, ["minio", "--version"]).splitlines()[0])
    else:
        print(builder.run_command(tag, ["python", "-m", "deploy.images.check", name]).strip())
        bill = json.loads(builder.run_command(tag, ["python", "-m", "deploy.images.bill", name, read_version()]))
    BILLS.mkdir(parents=True, exist_ok=True)
    (BILLS / f"{name}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    image = {"name": name, "version": read_version(), "bytes": builder.read_size_bytes(tag), "licences": count_licences(bill)}
    if args.registry:
        reference = f"{args.registry}/audio-tune/{name}:{read_version()}"
        image |= {"reference": reference, "digest": builder.push(tag, reference)}
        print(f"{reference}@{image['digest']}")
    return image


def relocate_images(builder: ImageBuilder, to: str, names: list[str], database: str = "") -> int:
    """Copies images of images.lock, and a PostgreSQL image, to another registry and writes the values for it.

    Args:
        names: which images; empty takes all that the lock holds.
        database: reference of a PostgreSQL image to copy, too; empty copies none.
    """
    if not LOCK.is_file():
        raise ImageBuildError(f"no deploy/{LOCK.name}; `make images REGISTRY=host/prefix` writes it")
    known = {image["name"]: image for image in json.loads(LOCK.read_text())["images"]}
    if missing := [name for name in names if name not in known]:
        raise ImageBuildError(f"deploy/{LOCK.name} does not name {', '.join(missing)}; it holds {', '.join(known) or 'nothing'}")
    values: dict[str, Any] = {"registry": to}
    for name in names or known:
        image = known[name]
        old = f"{image['reference'].rpartition(':')[0]}@{image['digest']}"
        digest = _copy_image(builder, old, f"{to}/audio-tune/{name}:{image['version']}")
        values[IMAGES[name][2]] = {"tag": image["version"], "digest": digest}
    if database:
        tag = _get_tag(database)
        digest = _copy_image(builder, database, f"{to}/postgres:{tag}")
        values["database"] = {"registry": to, "name": "postgres", "tag": tag, "digest": digest}
    _write_values(RELOCATED, values, "`python -m deploy.images --relocate-to`")
    print(f"{RELOCATED.relative_to(ROOT)} is written: helm install ... -f {RELOCATED.relative_to(ROOT)}")
    return 0


def _copy_image(builder: ImageBuilder, old: str, new: str) -> str:
    """Pulls an image, pushes it under another name and returns its digest there."""
    builder.pull(old)
    digest = builder.push(old, new)
    print(f"{new}@{digest}")
    return digest


def _get_tag(reference: str) -> str:
    """The tag of a reference, which may have a digest and a registry with a port."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[2] or "latest"


def _write_lock_and_values(registry: str, new: list[dict[str, Any]], bases: Mapping[str, str], database: str) -> None:
    """Writes the values that a chart is installed with, and the lock; what was not built this time keeps its line."""
    old = json.loads(LOCK.read_text()) if LOCK.is_file() else {}
    listed = [*old.get("images", []), *new]
    kept = {image["name"]: image for image in listed if image.get("reference", "").startswith(f"{registry}/")}
    images = [kept[name] for name in IMAGES if name in kept]
    lock = {"images": images, "bases": old.get("bases", {}) | bases, "database": database or old.get("database", "")}
    LOCK.write_text(json.dumps(lock, indent=1) + "\n")
    values: dict[str, Any] = {"registry": registry}
    values |= {IMAGES[image["name"]][2]: {"tag": image["version"], "digest": image["digest"]} for image in images}
    if "@" in lock["database"]:
        repository, _, digest = lock["database"].partition("@")
        host, _, name = repository.rpartition("/")
        values["database"] = {"registry": host, "name": name, "digest": digest}
    _write_values(VALUES, values, "`make images`")
    print(f"{VALUES.relative_to(ROOT)} and {LOCK.name} are written: helm install ... -f {VALUES.relative_to(ROOT)}")


def _write_values(path: Path, values: dict[str, Any], by: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# written by {by}: {len(values) - 1} images by digest. JSON is YAML.\n{json.dumps({'images': values}, indent=2)}\n"
    )


def read_version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _describe_commit() -> str:
    """The commit, for the image's label; with `-dirty` where the work tree differs from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("images", nargs="*", choices=[*IMAGES, []], help="which images; all by default")
    parser.add_argument("--registry", default="", help="host/prefix to push to; empty does not push")
    parser.add_argument("--builder", default="", help="podman or docker; by default the one that is installed")
    parser.add_argument("--base-image", default="", help="another base image with Python 3.11, best by digest")
    parser.add_argument("--go-image", default="", help="another image with Go 1.24 or newer, which MinIO is built in")
    parser.add_argument("--minio", default="", help="folder with `minio` and its LICENSE, instead of building it")
    parser.add_argument("--plain-http", action="store_true", help="the registry speaks HTTP (one on this machine)")
    parser.add_argument(
        "--compression", default="", choices=["", "gzip", "zstd"], help="of pushed layers (podman); zstd is quicker"
    )
    parser.add_argument("--locked", action="store_true", help="build on the base images that images.lock names by digest")
    parser.add_argument("--no-build", action="store_true", help="take the existing images")
    parser.add_argument("--relocate-to", default="", help="copy what images.lock names to this host/prefix")
    parser.add_argument(
        "--database",
        default="",
        help="the PostgreSQL whose digest the values get (--relocate-to copies it), as in docker.io/library/postgres:15",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
