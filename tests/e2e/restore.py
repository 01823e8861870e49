"""Everything is lost and comes back: dump and mirror, release and volumes and Secrets deleted, installed anew, restored, compared.

    python -m tests.e2e.restore

Plays docs/operations/backup.md with the images of deploy/values/images.yaml that hold no torch. Needs `mc`, MinIO's client.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.e2e.cluster_namespace import ClusterError
from tests.e2e.drill import BUCKET, NAME, Drill, run_drill


class Restore(Drill):
    """The stages, in their order."""

    def __init__(self) -> None:
        super().__init__("audio-tune-restore")
        self.elsewhere = Path(tempfile.mkdtemp(prefix="audio-tune-elsewhere-"))

    def stages(self) -> list[Callable[[], None]]:
        return [
            self.install,
            self.ready,
            self.make_group_data,
            self.dump_the_database,
            self.mirror_the_bucket,
            self.lose_everything,
            self.install_anew,
            self.mirror_back,
            self.restore_the_database,
            self.ready,
            self.nothing_is_lost,
        ]

    def dump_the_database(self) -> None:
        self.job(f"{NAME}-backup", "backup-now")

    def mirror_the_bucket(self) -> None:
        self._mirror("group/" + BUCKET, str(self.elsewhere), "--remove")
        if not list(self.elsewhere.glob("backups/database/*.dump")):
            raise ClusterError("the mirror holds no dump of the database")

    def lose_everything(self) -> None:
        self.cluster.helm("uninstall", NAME, "--wait")
        self.cluster.kubectl("delete", "pvc,secret", "-l", f"app.kubernetes.io/instance={NAME}")
        left = ("get", "pvc,secret,pod", "-o", "name")
        self.cluster.wait_until("everything is gone", lambda: not self.cluster.kubectl(*left).split(), 180)

    def install_anew(self) -> None:
        """Without a first owner: the old one comes back with the bucket. MLflow need not make tables that are replaced anyway."""
        self.install("--set", "access.firstOwner=")
        self.cluster.kubectl("scale", f"deploy/{NAME}-registry", "--replicas=0")

    def mirror_back(self) -> None:
        job = (f"job/{NAME}-bootstrap-r1", "--for=condition=complete", "--timeout=10m")
        self.cluster.kubectl("wait", *job, timeout_s=630)
        self._mirror(str(self.elsewhere), "group/" + BUCKET)

    def restore_the_database(self) -> None:
        registry = f"deploy/{NAME}-registry"
        self.cluster.kubectl("rollout", "status", f"statefulset/{NAME}-database", "--timeout=10m", timeout_s=630)
        self.job(f"{NAME}-restore", "restore-1")
        self.cluster.kubectl("scale", registry, "--replicas=1")
        self.cluster.kubectl("rollout", "status", registry, "--timeout=10m", timeout_s=630)

    def _mirror(self, source: str, target: str, *flags: str) -> None:
        keys = self.secret(f"{NAME}-object-store") or {}
        with self.cluster.forward_port(f"svc/{NAME}-object-store", 9000) as address:
            env = {**self.cluster.env, "MC_HOST_group": f"http://{keys['accesskey']}:{keys['secretkey']}@{address}"}
            done = subprocess.run(
                ["mc", "mirror", "--quiet", "--overwrite", *flags, source, target],
                env=env,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
        if done.returncode:
            raise ClusterError(f"mc mirror ended with {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")

    def clean(self) -> None:
        super().clean()
        shutil.rmtree(self.elsewhere, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(run_drill(Restore, __doc__ or ""))
