"""A release on somebody else's MinIO and PostgreSQL: in a namespace of their own, with TLS by an own authority, Secrets made before.

    python -m tests.e2e.external

Plays docs/operations/external.md with deploy/values/external.yaml, the images of deploy/values/images.yaml that hold no torch, and the
lab's minio and postgres as the servers. Needs the lab and openssl.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.drill import BUCKET, NAME, REGISTRY, Drill, run_drill
from tests.e2e.lab import LAB, ROOT, Cluster, ClusterError

OUTSIDE = "audio-tune-elsewhere"
STORE, DATABASE = f"store.{OUTSIDE}.svc", f"db.{OUTSIDE}.svc"
PASSWORD = "it's a secret: 100% & more"  # every character must travel whole


class External(Drill):
    """The stages, in their order."""

    def __init__(self) -> None:
        super().__init__("audio-tune-external")
        self.outside = Cluster(OUTSIDE)
        self.values += [
            "-f", str(ROOT / "deploy/values/external.yaml"),
            "--set", f"objectStorage.external.endpoint=https://{STORE}:9000,objectStorage.external.port=9000",
            "--set", "objectStorage.region=us-east-1,objectStorage.external.makeBucket=true",
            "--set", "objectStorage.external.caConfigMap=home-ca",
            "--set", f"database.external.host={DATABASE},database.external.sslMode=require",
        ]  # fmt: skip

    def stages(self) -> list[Callable[[], None]]:
        return [
            self.servers_elsewhere, self.secrets_made_before, self.install, self.ready, self.make_group_data, self.nothing_is_lost,
            self.it_is_all_elsewhere, self.dump_and_restore, self.nothing_is_lost, self.uninstall, self.it_is_all_elsewhere,
        ]  # fmt: skip

    def servers_elsewhere(self) -> None:
        for cluster in (self.outside, self.cluster):
            cluster.kubectl("create", "namespace", cluster.namespace, check=False)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for host in ("store", "db"):
                _certificate(folder, host, f"{host}.{OUTSIDE}.svc")
            self.ca = (folder / "ca.crt").read_text()
            for host in ("store", "db"):
                files = [f"--from-file={to}={folder / host}.{end}" for to, end in (("public.crt", "crt"), ("private.key", "key"))]
                self.outside.kubectl("create", "secret", "generic", f"{host}-tls", *files)
        images = {name: _pushed(name) for name in ("postgres:15", "minio:1")}
        self.outside.kubectl(
            "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": _servers(images)})
        )
        self.outside.settled(600)

    def secrets_made_before(self) -> None:
        k = self.cluster.kubectl
        k("create", "secret", "generic", "store-keys", "--from-literal=accesskey=keeper", "--from-literal=secretkey=keep-it-safe")
        k("create", "secret", "generic", "database-login", "--from-literal=username=tune", f"--from-literal=password={PASSWORD}")
        k("create", "configmap", "home-ca", f"--from-literal=ca.crt={self.ca}")

    def it_is_all_elsewhere(self) -> None:
        """The namespace of the release holds no volume; bucket and tables are in the other one."""
        if volumes := self.cluster.found("pvc")["items"]:
            raise ClusterError(f"the release has volumes of its own: {[v['metadata']['name'] for v in volumes]}")
        kept = self.outside_bucket()
        if not {"blobs/", "annotations/", "mlflow/"} <= kept:
            raise ClusterError(f"the bucket holds only {kept}")
        asked = ("psql", "-h", "127.0.0.1", "-U", "tune", "-d", "mlflow", "-Atc", "select name from registered_models")
        if self.outside.kubectl("exec", "db", "--", "env", f"PGPASSWORD={PASSWORD}", *asked).split() != ["band-model"]:
            raise ClusterError("the model is not in the database elsewhere")

    def outside_bucket(self) -> set[str]:
        """What lies at the top of the bucket, asked past the release."""
        import boto3
        import urllib3

        urllib3.disable_warnings()  # the certificate is for the Service's name, not for a port of this machine
        with self.forward("pod/store", 9000, self.outside) as address:
            s3 = boto3.client(
                "s3", endpoint_url=f"https://{address}", region_name="us-east-1", verify=False,
                aws_access_key_id="keeper", aws_secret_access_key="keep-it-safe",
            )  # fmt: skip
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
        self.cluster.until("all pods are gone", lambda: not self.cluster.found("pods")["items"], 180)

    def clean(self) -> None:
        super().clean()
        self.outside.kubectl("delete", "namespace", OUTSIDE, "--wait=false", check=False)


def _pushed(name: str) -> str:
    """The lab's own image of a server, by digest."""
    subprocess.run([str(LAB), "image", name.partition(":")[0]], check=True, capture_output=True)
    done = subprocess.run([str(LAB), "push", f"localhost/lab/{name}", f"lab/{name}"], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1].replace("localhost:5000", REGISTRY)


def _certificate(folder: Path, name: str, host: str) -> None:
    """A key and a certificate for a host, by an authority of the drill's own."""

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
        "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "7",
        "-extfile", "names", "-out", f"{name}.crt",
    )  # fmt: skip


def _servers(images: dict[str, str]) -> list[dict[str, Any]]:
    store = _pod(
        "store", images["minio:1"], 9000, {"MINIO_ROOT_USER": "keeper", "MINIO_ROOT_PASSWORD": "keep-it-safe"}, "/data", 10001,
        ["minio", "server", "/data", "--address=:9000", "--certs-dir=/tls"],
    )  # fmt: skip
    login = {"POSTGRES_USER": "tune", "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "mlflow"}
    tls = ["postgres", "-c", "ssl=on", "-c", "ssl_cert_file=/tls/public.crt", "-c", "ssl_key_file=/tls/private.key"]
    base = _pod("db", images["postgres:15"], 5432, login, "/var/lib/postgresql/data", 999, None, tls)
    return [store, base, _service("store", 9000), _service("db", 5432)]


def _pod(
    name: str, image: str, port: int, env: dict[str, str], data: str, user: int, command: list[str] | None, args: list[str] | None = None
) -> dict[str, Any]:  # fmt: skip
    volumes = {"data": data, "run": "/var/run/postgresql", "tmp": "/tmp"}
    container = {
        "name": name, "image": image, "env": [{"name": key, "value": value} for key, value in env.items()],
        **({"command": command} if command else {}), **({"args": args} if args else {}),
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [
            *({"name": key, "mountPath": path} for key, path in volumes.items()), {"name": "tls", "mountPath": "/tls", "readOnly": True},
        ],
    }  # fmt: skip
    secret = {"secretName": f"{name}-tls", "defaultMode": 0o440}  # PostgreSQL takes no key that others may read
    spec = {
        "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": user, "runAsGroup": user, "fsGroup": user},
        "containers": [container],
        "volumes": [*({"name": key, "emptyDir": {}} for key in volumes), {"name": "tls", "secret": secret}],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def _service(name: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(run_drill(External, __doc__ or ""))
