"""A release on somebody else's MinIO and PostgreSQL: in a namespace of their own, with TLS by an own authority, Secrets made before.

    python -m tests.e2e.external

Plays docs/operations/external.md with deploy/values/external.yaml, the images of deploy/values/images.yaml that hold no torch, and the
lab's minio and postgres as the servers. Needs a lab (AUDIOTUNE_LAB) and openssl.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.cluster_access import ROOT, require_lab
from tests.e2e.cluster_namespace import ClusterError, ClusterNamespace
from tests.e2e.drill import BUCKET, NAME, Drill, run_drill

OUTSIDE = "audio-tune-elsewhere"
STORE, DATABASE = f"store.{OUTSIDE}.svc", f"db.{OUTSIDE}.svc"
PASSWORD = "it's a secret: 100% & more"  # every character must travel whole


class External(Drill):
    """The stages, in their order."""

    def __init__(self) -> None:
        super().__init__("audio-tune-external")
        self.outside = ClusterNamespace(OUTSIDE)
        self.values += [
            "-f",
            str(ROOT / "deploy/values/external.yaml"),
            "--set",
            f"objectStorage.external.endpoint=https://{STORE}:9000,objectStorage.external.port=9000",
            "--set",
            "objectStorage.region=us-east-1,objectStorage.external.makeBucket=true",
            "--set",
            "objectStorage.external.caConfigMap=home-ca",
            "--set",
            f"database.external.host={DATABASE},database.external.sslMode=require",
        ]

    def stages(self) -> list[Callable[[], None]]:
        return [
            self.servers_elsewhere,
            self.secrets_made_before,
            self.install,
            self.ready,
            self.make_group_data,
            self.nothing_is_lost,
            self.it_is_all_elsewhere,
            self.dump_and_restore,
            self.nothing_is_lost,
            self.uninstall,
            self.it_is_all_elsewhere,
        ]

    def servers_elsewhere(self) -> None:
        for cluster in (self.outside, self.cluster):
            cluster.kubectl("create", "namespace", cluster.namespace, check=False)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for host in ("store", "db"):
                _make_certificate(folder, host, f"{host}.{OUTSIDE}.svc")
            self.ca = (folder / "ca.crt").read_text()
            for host in ("store", "db"):
                files = [f"--from-file={to}={folder / host}.{end}" for to, end in (("public.crt", "crt"), ("private.key", "key"))]
                self.outside.kubectl("create", "secret", "generic", f"{host}-tls", *files)
        images = {name: require_lab().push_image(name) for name in ("postgres:15", "minio:1")}
        self.outside.apply(*_build_servers(images))
        self.outside.wait_ready(600)

    def secrets_made_before(self) -> None:
        k = self.cluster.kubectl
        k("create", "secret", "generic", "store-keys", "--from-literal=accesskey=keeper", "--from-literal=secretkey=keep-it-safe")
        k("create", "secret", "generic", "database-login", "--from-literal=username=tune", f"--from-literal=password={PASSWORD}")
        k("create", "configmap", "home-ca", f"--from-literal=ca.crt={self.ca}")

    def it_is_all_elsewhere(self) -> None:
        """The namespace of the release holds no volume; bucket and tables are in the other one."""
        if volumes := self.cluster.get_object("pvc")["items"]:
            raise ClusterError(f"the release has volumes of its own: {[v['metadata']['name'] for v in volumes]}")
        kept = self.list_outside_bucket()
        if not {"blobs/", "annotations/", "mlflow/"} <= kept:
            raise ClusterError(f"the bucket holds only {kept}")
        asked = ("psql", "-h", "127.0.0.1", "-U", "tune", "-d", "mlflow", "-Atc", "select name from registered_models")
        if self.outside.kubectl("exec", "db", "--", "env", f"PGPASSWORD={PASSWORD}", *asked).split() != ["group-model"]:
            raise ClusterError("the model is not in the database elsewhere")

    def list_outside_bucket(self) -> set[str]:
        """The first parts of the keys in the bucket, read without the release."""
        import boto3
        import urllib3

        urllib3.disable_warnings()  # the certificate is for the Service's name, not for a port of this machine
        with self.outside.forward_port("pod/store", 9000) as address:
            s3 = boto3.client(
                "s3",
                endpoint_url=f"https://{address}",
                region_name="us-east-1",
                verify=False,
                aws_access_key_id="keeper",
                aws_secret_access_key="keep-it-safe",
            )
            found = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
        return {entry["Prefix"] for entry in found["CommonPrefixes"]}

    def dump_and_restore(self) -> None:
        self.job(f"{NAME}-backup", "backup-now")
        self.cluster.kubectl("scale", f"deploy/{NAME}-registry", "--replicas=0")
        self.job(f"{NAME}-restore", "restore-1")
        self.cluster.kubectl("scale", f"deploy/{NAME}-registry", "--replicas=1")
        self.ready()

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", NAME, "--wait")
        self.cluster.wait_until("all pods are gone", lambda: not self.cluster.get_object("pods")["items"], 180)

    def clean(self) -> None:
        super().clean()
        self.outside.delete()


def _make_certificate(folder: Path, name: str, host: str) -> None:
    """A key and a certificate for a host, signed by the drill's own authority."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    if not (folder / "ca.crt").exists():
        openssl(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
            "-subj",
            "/CN=home",
            "-days",
            "7",
        )
    (folder / "names").write_text(f"subjectAltName=DNS:{host},DNS:{host}.cluster.local\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}")
    openssl(
        "x509",
        "-req",
        "-in",
        f"{name}.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "7",
        "-extfile",
        "names",
        "-out",
        f"{name}.crt",
    )


def _build_servers(images: dict[str, str]) -> list[dict[str, Any]]:
    store = _build_pod(
        "store",
        images["minio:1"],
        9000,
        {"MINIO_ROOT_USER": "keeper", "MINIO_ROOT_PASSWORD": "keep-it-safe"},
        "/data",
        10001,
        ["minio", "server", "/data", "--address=:9000", "--certs-dir=/tls"],
    )
    login = {"POSTGRES_USER": "tune", "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "mlflow"}
    tls = ["postgres", "-c", "ssl=on", "-c", "ssl_cert_file=/tls/public.crt", "-c", "ssl_key_file=/tls/private.key"]
    base = _build_pod("db", images["postgres:15"], 5432, login, "/var/lib/postgresql/data", 999, None, tls)
    return [store, base, _build_service("store", 9000), _build_service("db", 5432)]


def _build_pod(
    name: str,
    image: str,
    port: int,
    env: dict[str, str],
    data: str,
    user: int,
    command: list[str] | None,
    args: list[str] | None = None,
) -> dict[str, Any]:
    volumes = {"data": data, "run": "/var/run/postgresql", "tmp": "/tmp"}
    container = {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        **({"command": command} if command else {}),
        **({"args": args} if args else {}),
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [
            *({"name": key, "mountPath": path} for key, path in volumes.items()),
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
        ],
    }
    secret = {"secretName": f"{name}-tls", "defaultMode": 0o440}  # PostgreSQL takes no key that others may read
    spec = {
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": user, "runAsGroup": user, "fsGroup": user},
        "containers": [container],
        "volumes": [*({"name": key, "emptyDir": {}} for key in volumes), {"name": "tls", "secret": secret}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def _build_service(name: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }


if __name__ == "__main__":
    raise SystemExit(run_drill(External, __doc__ or "", lab_only=True))
