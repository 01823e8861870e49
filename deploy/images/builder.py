"""Builds, runs and pushes images with podman or docker."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Settings of the package index; only the first stages of a build get them, and no image keeps them.
FROM_ENVIRONMENT = ("PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE", "GOPROXY")


class ImageBuildError(Exception):
    """A command of the builder failed; the message holds the last line that it printed."""


class ImageBuilder:
    """podman or docker.

    Args:
        program: podman or docker; empty takes the first that is installed.
        tls: False speaks plain HTTP to the registry, for one on this machine.
        compression: how podman packs layers that it pushes, as in zstd: several times quicker than gzip, its default.

    Raises:
        ImageBuildError: neither is installed.
    """

    def __init__(self, program: str = "", *, tls: bool = True, compression: str = "") -> None:
        self.program = program or next((name for name in ("podman", "docker") if shutil.which(name)), "")
        if not self.program:
            raise ImageBuildError("neither podman nor docker is on PATH; install one of them")
        self.tls, self.compression = tls, compression

    @property
    def is_podman(self) -> bool:
        return Path(self.program).name == "podman"

    @property
    def _tls_flag(self) -> str:
        return f"--tls-verify={str(self.tls).lower()}"

    def build(self, file: str, target: str, tag: str, arguments: dict[str, str], contexts: dict[str, str] | None = None) -> None:
        """Builds one target with the network of this machine, where the package index can be reached."""
        command = [self.program, "build", "--network", "host", "-f", file, "-t", tag]
        command += ["--target", target] if target else []
        inherited = {name: os.environ[name] for name in FROM_ENVIRONMENT if os.environ.get(name)}
        for name, value in {**inherited, **arguments}.items():
            command += ["--build-arg", f"{name}={value}"]
        for name, value in (contexts or {}).items():
            command += ["--build-context", f"{name}={value}"]
        self._run_program([*command, "."], shown=True)

    def run_command(self, image: str, command: Sequence[str]) -> str:
        """Runs a command in an image, with a read-only root and an unknown user id; returns what it prints."""
        flags = ["--rm", "--read-only", "--user=12345:0", "--tmpfs=/tmp", "--tmpfs=/cache:mode=0775", "--network=none"]
        return self._run_program([self.program, "run", *flags, image, *command])

    def push(self, tag: str, to: str) -> str:
        """Pushes and returns the digest, sha256:..."""
        self._run_program([self.program, "tag", tag, to])
        if not self.is_podman:
            self._run_program([self.program, "push", to], shown=True)
            reference = self._run_program([self.program, "inspect", "--format", "{{index .RepoDigests 0}}", to])
            return reference.strip().rpartition("@")[2]
        with tempfile.TemporaryDirectory() as folder:
            digest = Path(folder) / "digest"
            flags = [self._tls_flag, "--digestfile", str(digest)]
            flags += ["--compression-format", self.compression] if self.compression else []
            self._run_program([self.program, "push", *flags, to], shown=True)
            return digest.read_text().strip()

    def pull(self, reference: str) -> None:
        flags = [self._tls_flag] if self.is_podman else []
        self._run_program([self.program, "pull", *flags, reference], shown=True)

    def read_digest(self, reference: str) -> str:
        """The digest under which a registry has an image, sha256:...; pulls it where this machine has none. Empty for a local image."""
        command = [self.program, "image", "inspect", "--format", "{{json .RepoDigests}}", reference]
        try:
            answer = self._run_program(command)
        except ImageBuildError:
            self.pull(reference)
            answer = self._run_program(command)
        # One image may have several names. podman gives images that were built here a digest, too, below localhost/.
        names = (name.partition("@") for name in json.loads(answer) or () if not name.startswith("localhost/"))
        return next((digest for name, _, digest in names if _shorten(name) == _shorten(get_repository(reference))), "")

    def read_size_bytes(self, tag: str) -> int:
        return int(self._run_program([self.program, "inspect", "--format", "{{.Size}}", tag]).strip())

    def _run_program(self, command: list[str], *, shown: bool = False) -> str:
        done = subprocess.run(command, text=True, check=False, capture_output=not shown)
        if done.returncode:
            lines = (done.stderr or done.stdout or "see above").strip().splitlines()
            raise ImageBuildError(f"{' '.join(command[:3])} ended with {done.returncode}: {lines[-1] if lines else ''}")
        return done.stdout or ""


def get_repository(reference: str) -> str:
    """A reference without its tag and its digest."""
    host, slash, name = reference.partition("@")[0].rpartition("/")
    return f"{host}{slash}{name.partition(':')[0]}"


def _shorten(repository: str) -> str:
    """As docker names images of Docker Hub."""
    return repository.removeprefix("docker.io/").removeprefix("library/")
