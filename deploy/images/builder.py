"""podman or docker, whichever is there: build, run, push."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Settings of the package index reach the build from the environment and stay in its first stages; none is written anywhere.
FROM_ENVIRONMENT = ("PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE", "GOPROXY")


class ImageBuildError(Exception):
    """A command of the builder failed; its last words are in it."""


class ImageBuilder:
    """One of the two programs.

    Args:
        program: podman or docker; empty takes the first that is there.
        tls: False speaks plain HTTP to the registry, for one on this machine.
        compression: how podman packs layers that it pushes, as in zstd: several times quicker than gzip, its default.

    Raises:
        BuildError: neither is there.
    """

    def __init__(self, program: str = "", *, tls: bool = True, compression: str = "") -> None:
        found = program or next((name for name in ("podman", "docker") if shutil.which(name)), "")
        if not found:
            raise ImageBuildError("neither podman nor docker is on PATH; install one of them")
        self.program, self.tls, self.compression = found, tls, compression

    @property
    def is_podman(self) -> bool:
        return Path(self.program).name == "podman"

    def build(self, file: str, target: str, tag: str, arguments: dict[str, str], contexts: dict[str, str] | None = None) -> None:
        """Builds one target; the network is the machine's, as an index may be reachable from it only."""
        command = [self.program, "build", "--network", "host", "-f", file, "-t", tag]
        command += ["--target", target] if target else []
        given = {name: os.environ[name] for name in FROM_ENVIRONMENT if os.environ.get(name)} | arguments
        for name, value in given.items():
            command += ["--build-arg", f"{name}={value}"]
        for name, value in (contexts or {}).items():
            command += ["--build-context", f"{name}={value}"]
        self._run_program([*command, "."], shown=True)

    def run_command(self, image: str, command: Sequence[str]) -> str:
        """What a command in an image prints; read-only root, a uid that nobody chose."""
        flags = [
            "--rm",
            "--read-only",
            "--user",
            "12345:0",
            "--tmpfs",
            "/tmp",
            "--tmpfs",
            "/cache:mode=0775",
            "--network",
            "none",
        ]
        return self._run_program([self.program, "run", *flags, image, *command])

    def push(self, tag: str, to: str) -> str:
        """Pushes and returns the digest, sha256:..."""
        self._run_program([self.program, "tag", tag, to])
        if not self.is_podman:
            self._run_program([self.program, "push", to], shown=True)
            return (
                self._run_program([self.program, "inspect", "--format", "{{index .RepoDigests 0}}", to])
                .strip()
                .rpartition("@")[2]
            )
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "digest"
            packed = ["--compression-format", self.compression] if self.compression else []
            flags = [f"--tls-verify={str(self.tls).lower()}", "--digestfile", str(told), *packed]
            self._run_program([self.program, "push", *flags, to], shown=True)
            return told.read_text().strip()

    def pull(self, reference: str) -> None:
        self._run_program(
            [self.program, "pull", *([f"--tls-verify={str(self.tls).lower()}"] if self.is_podman else []), reference], shown=True
        )

    def read_size_bytes(self, tag: str) -> int:
        return int(self._run_program([self.program, "inspect", "--format", "{{.Size}}", tag]).strip())

    def has_image(self, tag: str) -> bool:
        return subprocess.run([self.program, "image", "inspect", tag], capture_output=True, check=False).returncode == 0

    def _run_program(self, command: list[str], *, shown: bool = False) -> str:
        done = subprocess.run(
            command, text=True, check=False, stdout=None if shown else subprocess.PIPE, stderr=None if shown else subprocess.PIPE
        )
        if done.returncode:
            words = (done.stderr or done.stdout or "see above").strip().splitlines()
            raise ImageBuildError(f"{' '.join(command[:3])} ended with {done.returncode}: {words[-1] if words else ''}")
        return done.stdout or ""
