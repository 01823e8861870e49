"""The images of the backend: Kubeflow's and Argo's programs in one, the metadata store and MariaDB each in its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.e2e.cluster_access import LabCluster, require_lab

HERE = Path(__file__).parent
# program -> its package in Kubeflow's sources, in Argo's
KFP = {
    "apiserver": "./backend/src/apiserver",
    "persistence_agent": "./backend/src/agent/persistence",
    "driver": "./backend/src/v2/cmd/driver",
    "launcher-v2": "./backend/src/v2/cmd/launcher-v2",
}
ARGO = {"workflow-controller": "./cmd/workflow-controller", "argoexec": "./cmd/argoexec"}
_BACKEND = f"""FROM {LabCluster.base}
COPY bin/ /bin/
COPY config/ /config/
ENV NAMESPACE="" TTL_SECONDS_AFTER_WORKFLOW_FINISH=86400 NUM_WORKERS=2
ENV TAG_NAME={{version}}
USER 65532
"""
_METADATA = f"""FROM {LabCluster.base}
RUN python3 -m venv /v && /v/bin/pip install --no-cache-dir ml-metadata==1.17.1
COPY serve.py /serve.py
USER 1000
CMD ["/v/bin/python", "/serve.py", "/tmp/metadata.db"]
"""
_MYSQL = f"""FROM {LabCluster.base}
RUN apt-get update && apt-get install -y --no-install-recommends mariadb-server && rm -rf /var/lib/apt/lists/* /var/lib/mysql/*
COPY start /start
CMD ["/bin/sh", "/start"]
"""


def fetch_argo_sources(kfp: Path, folder: Path) -> Path:
    """Argo's sources of the version that Kubeflow's go.mod names, as Go's module proxy gives them, in a folder of their own."""
    found = re.search(r"github.com/argoproj/argo-workflows/(v\d+) (v\S+)", (kfp / "go.mod").read_text())
    if not found:
        raise ValueError(f"{kfp}/go.mod names no Argo Workflows: is it a checkout of github.com/kubeflow/pipelines?")
    made = folder / f"argo-{found[2]}"
    if not made.exists():
        module = f"github.com/argoproj/argo-workflows/{found[1]}@{found[2]}"
        downloaded = subprocess.run(
            ["go", "mod", "download", "-json", module], cwd=kfp, check=True, capture_output=True, text=True
        )
        shutil.copytree(json.loads(downloaded.stdout)["Dir"], made, copy_function=shutil.copyfile)
        for inner in (made, *(path for path in made.rglob("*") if path.is_dir())):
            inner.chmod(0o755)
        lost = made / "workflow/executor/osspecific"  # a symbolic link in the repository, and modules hold none
        shutil.copyfile(lost / "signal_darwin.go", lost / "signal_linux.go")
    return made


def compile_programs(sources: Path, packages: dict[str, str], folder: Path) -> None:
    """Compiles what is not in the folder yet. All but the API server, which holds a driver in C, must run in any image."""
    for name, package in packages.items():
        if not (folder / name).exists():
            env = {**os.environ, "CGO_ENABLED": "1" if name == "apiserver" else "0", "GOFLAGS": "-buildvcs=false"}
            subprocess.run(["go", "build", "-o", str(folder / name), package], cwd=sources, env=env, check=True)


def build_images(kfp: Path, folder: Path) -> dict[str, str]:
    """All images, pushed to the lab's registry.

    Args:
        kfp: Kubeflow Pipelines' sources.
        folder: where `compile_programs` put what it compiled.

    Returns:
        `backend`, `metadata`, `mysql` and `store`, each by digest.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        context = Path(name)
        for inner in ("bin", "config"):
            (context / inner).mkdir()
        for program in (*KFP, *ARGO):
            (context / "bin" / program).hardlink_to(folder / program)
        shutil.copy(kfp / "backend/src/apiserver/config/config.json", context / "config")
        backend = _build_image("backend", _BACKEND.replace("{version}", (kfp / "VERSION").read_text().strip()), context)
    return {
        "backend": backend,
        "metadata": _build_image("metadata", _METADATA, HERE / "metadata"),
        "mysql": _build_image("mysql", _MYSQL, HERE / "mysql"),
        "store": require_lab().push_image("minio:1"),
    }


def _build_image(name: str, lines: str, context: Path) -> str:
    """Builds with pip's and apt's settings of this machine, which no layer keeps."""
    env = require_lab().read_environment()
    given = [word for key in env if key.startswith("PIP_") for word in ("--env", key)]
    command = [
        "podman",
        "build",
        "-q",
        "--network",
        "host",
        "-v",
        "/etc/apt:/etc/apt:O",
        *given,
        "-t",
        f"localhost/kubeflow/{name}:1",
    ]
    subprocess.run([*command, "-f", "-", str(context)], input=lines, text=True, env=env, check=True, stdout=subprocess.DEVNULL)
    return require_lab().run("push", f"localhost/kubeflow/{name}:1", f"kubeflow/{name}:1").strip().splitlines()[-1]
