"""Where the tests on a real cluster find one: a cluster and a registry that the environment names, or a lab on this machine.

KUBECONFIG and REGISTRY    any cluster, and a registry that it pulls from, as in registry.home:5000/jam. IMAGES_OPTIONS are the
                           options of `python -m deploy.images` that this machine needs (another base image, no TLS).
AUDIOTUNE_LAB              folder of a lab: a program `lab` with the verbs up, down, status, env, image, push and load, for a
                           Kubernetes of one node on this machine and a registry at localhost:5000. It is started and stopped as
                           needed, its Services are reached by their own addresses, and its API server takes simulated nodes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import httpx
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "audio-tune"
LAB_ONLY = "this needs a lab (AUDIOTUNE_LAB), where images are loaded and nodes are simulated at will"
_MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " + (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)
_HERE = ("localhost", "127.0.0.1")


class ClusterAccess(Protocol):
    """A cluster to test on, and a registry that it pulls from.

    Attributes:
        registry: where images are pushed, as in host/prefix.
        reaches_services: whether this machine reaches the addresses of Services; otherwise ports are forwarded.
    """

    registry: str
    reaches_services: bool

    def find_obstacle(self) -> str:
        """Why the tests cannot run here, or ""."""

    def read_environment(self) -> dict[str, str]:
        """The environment for kubectl, helm and the builder of images."""

    def build_options(self) -> list[str]:
        """Options of `python -m deploy.images`."""

    def chart_options(self) -> list[str]:
        """Options of `helm install` that this cluster needs."""

    def prepare_images(self) -> None:
        """Brings the images that are not ours to where the cluster finds them."""

    def is_running(self) -> bool:
        """Whether the cluster runs already."""

    def start(self) -> None:
        """Starts the cluster; does nothing when it runs."""

    def stop(self, *, wipe: bool = False) -> None:
        """Stops the cluster; `wipe` also forgets what was on it."""


class NamedCluster:
    """The cluster of KUBECONFIG and the registry of REGISTRY. It runs before the tests and after them."""

    reaches_services = False

    def __init__(self) -> None:
        self.registry = os.environ.get("REGISTRY", "").rstrip("/")

    def find_obstacle(self) -> str:
        if not os.environ.get("KUBECONFIG") or not self.registry:
            return (
                "no cluster is named: set KUBECONFIG and REGISTRY (host/prefix, where the cluster pulls images), "
                "or AUDIOTUNE_LAB (the folder of a lab)"
            )
        if missing := [name for name in ("kubectl", "helm") if not shutil.which(name)]:
            return f"{' and '.join(missing)} not on PATH"
        asked = subprocess.run(
            ["kubectl", "version", "--request-timeout=10s"], capture_output=True, text=True, check=False, timeout=60
        )
        return f"the cluster of KUBECONFIG does not answer: {asked.stderr.strip()[-300:]}" if asked.returncode else ""

    def read_environment(self) -> dict[str, str]:
        return dict(os.environ)

    def build_options(self) -> list[str]:
        return shlex.split(os.environ.get("IMAGES_OPTIONS", "")) or (["--plain-http"] if _is_local(self.registry) else [])

    def chart_options(self) -> list[str]:
        """PostgreSQL comes from REGISTRY where it is there, as `deploy.images --relocate-to` puts it; else from the chart's own."""
        database = yaml.safe_load((CHART / "values.yaml").read_text())["images"]["database"]
        if not _has_image(self.registry, "postgres", database["tag"]):
            return []
        return ["--set", f"images.database.registry={self.registry},images.database.name=postgres"]

    def prepare_images(self) -> None:
        """None: the cluster pulls them itself."""

    def is_running(self) -> bool:
        return True

    def start(self) -> None:
        """Nothing to start."""

    def stop(self, *, wipe: bool = False) -> None:
        """It is not ours to stop."""


class LabCluster:
    """A lab: a Kubernetes of one node on this machine.

    Args:
        program: its `lab`.
    """

    reaches_services = True
    registry, base, go = "localhost:5000", "localhost/lab/python:3.11", "localhost/lab/golang:1"

    def __init__(self, program: Path) -> None:
        self.program = program

    def find_obstacle(self) -> str:
        """Never starts a set-up, which takes minutes."""
        if not self.program.is_file():
            return f"no lab at {self.program} (AUDIOTUNE_LAB names its folder)"
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        home = Path(os.environ.get("LAB_HOME") or cache / "audio-tune-lab")
        if not (home / "pki" / "done").exists():
            return f"the lab is not set up ({self.program} setup, about ten minutes, once)"
        return "" if shutil.which("podman") else "podman is not on PATH"

    def read_environment(self) -> dict[str, str]:
        """What `lab env` sets: KUBECONFIG, PATH with helm and kubectl, podman's settings."""
        command = f'eval "$({shlex.quote(str(self.program))} env)" && env -0'
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)

    def build_options(self) -> list[str]:
        options = ["--base-image", self.base, "--plain-http", "--compression", "zstd"]
        return [*options, *(["--go-image", self.go] if self._make_go_image() else [])]

    def chart_options(self) -> list[str]:
        return ["--set", f"images.database.registry={self.registry}"]

    def prepare_images(self) -> None:
        """Also the one that every pod begins with: a node whose images were pruned lacks even that."""
        self.run("load", "localhost/lab/pause:1")
        self.run("image", "postgres")
        self.run("push", "localhost/lab/postgres:15", "postgres:15")

    def push_image(self, name: str) -> str:
        """One of the lab's own images in its registry; returns its reference with the digest."""
        self.run("image", name.partition(":")[0])
        return self.run("push", f"localhost/lab/{name}", f"lab/{name}").strip().splitlines()[-1]

    def is_running(self) -> bool:
        answer = subprocess.run([str(self.program), "status"], capture_output=True, text=True, check=False).stdout
        return any(line.split()[-1:] == ["running"] for line in answer.splitlines())

    def start(self) -> None:
        self.run("up")

    def stop(self, *, wipe: bool = False) -> None:
        """Its exit code is 1 when there was nothing to stop, so it is not looked at: an `up` that fails afterwards says more."""
        subprocess.run([str(self.program), "down", *(["--wipe"] if wipe else [])], check=False, capture_output=True)

    def run(self, *words: str) -> str:
        """Runs a verb of the lab and returns what it prints. Raises CalledProcessError."""
        return subprocess.run([str(self.program), *words], check=True, capture_output=True, text=True).stdout

    def _make_go_image(self) -> bool:
        """Makes an image with this machine's Go, where there is one and no registry to pull Go's own from."""
        env = self.read_environment()
        if subprocess.run(["podman", "image", "exists", self.go], env=env, check=False).returncode == 0:
            return True
        if not (go := shutil.which("go")):
            return False
        root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
        lines = f"FROM {self.base}\nCOPY bin /usr/local/go/bin\nCOPY pkg /usr/local/go/pkg\nCOPY src /usr/local/go/src\n"
        lines += "COPY lib /usr/local/go/lib\nCOPY go.env VERSION /usr/local/go/\nENV PATH=/usr/local/go/bin:/usr/bin:/bin\n"
        build = ["podman", "build", "-q", "-t", self.go, "-f", "-", root]
        return subprocess.run(build, input=lines, text=True, env=env, check=False, capture_output=True).returncode == 0


def find_lab() -> LabCluster | None:
    """The lab of AUDIOTUNE_LAB: a folder, or the program itself."""
    named = os.environ.get("AUDIOTUNE_LAB")
    if not named:
        return None
    path = Path(named).resolve()
    return LabCluster(path / "lab" if path.is_dir() else path)


def find_cluster() -> ClusterAccess:
    """The lab where AUDIOTUNE_LAB names one, else the cluster of KUBECONFIG."""
    return find_lab() or NamedCluster()


def find_obstacle(*, lab_only: bool = False) -> str:
    """Why the tests cannot run here, or ""."""
    return LAB_ONLY if lab_only and find_lab() is None else find_cluster().find_obstacle()


def require_lab() -> LabCluster:
    """The lab, for tests that were left out where `find_obstacle(lab_only=True)` says so."""
    lab = find_lab()
    assert lab is not None, LAB_ONLY
    return lab


def _is_local(registry: str) -> bool:
    return registry.partition("/")[0].partition(":")[0] in _HERE


def _has_image(registry: str, name: str, tag: str) -> bool:
    """Whether a registry that asks for no login has an image."""
    host, _, prefix = registry.partition("/")
    path = "/".join(filter(None, ["v2", prefix, name, "manifests", tag]))
    for scheme in ("https", "http"):
        try:
            answer = httpx.head(f"{scheme}://{host}/{path}", headers={"Accept": _MANIFESTS}, timeout=5, follow_redirects=True)
        except httpx.HTTPError:
            continue
        return answer.status_code == 200
    return False
