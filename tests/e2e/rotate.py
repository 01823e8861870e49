"""New keys for everybody: the store's users and administrator, the database, the first owner. Nothing is lost, old keys are refused.

    python -m tests.e2e.rotate

Plays "New keys" of docs/operations/upgrade.md with the images of deploy/values/images.yaml that hold no torch.
"""

from __future__ import annotations

import functools
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from audiotune.store.layout import USERS
from tests.e2e.cluster_access import CHART
from tests.e2e.cluster_namespace import ClusterError
from tests.e2e.drill import BUCKET, NAME, Drill, run_drill

RUNNING = ("studio", "registry")  # generation has no pod in this drill, and pipelines have none between runs


class Rotate(Drill):
    """The stages, in their order."""

    def __init__(self) -> None:
        super().__init__("audio-tune-rotate")

    def stages(self) -> list[Callable[[], None]]:
        return [
            self.install,
            self.ready,
            self.make_group_data,
            self.keys_of_the_users,
            self.nothing_is_lost,
            self.key_of_the_administrator,
            self.nothing_is_lost,
            self.password_of_the_database,
            self.nothing_is_lost,
            self.keys_of_mlflow,
            self.nothing_is_lost,
            self.password_and_token_of_the_owner,
            self.upgrade_afterwards,
            self.nothing_is_lost,
        ]

    def keys_of_the_users(self) -> None:
        old = {user: self._read_key_pair(f"{NAME}-store-{user}") for user in USERS}
        for user in USERS:
            self.change_key(f"{NAME}-store-{user}", "secretkey")
        self.update_store_users()
        for part in RUNNING:
            self.restart(f"deploy/{NAME}-{part}")
        for user in USERS:
            self._check_old_key_refused(old[user], self._read_key_pair(f"{NAME}-store-{user}"))

    def update_store_users(self) -> None:
        """Runs the bootstrap job; without the hooks, whose dump would use a key that the store does not know yet."""
        began = time.monotonic()
        words = ("upgrade", NAME, str(CHART), "--reuse-values", "--no-hooks", "--wait", "--wait-for-jobs", "--timeout", "10m")
        self.cluster.helm(*words)
        print(f"{time.monotonic() - began:9.1f} s  the store has the new keys", flush=True)

    def key_of_the_administrator(self) -> None:
        old = self._read_key_pair(f"{NAME}-object-store")
        self.change_key(f"{NAME}-object-store", "secretkey")
        self.restart(f"statefulset/{NAME}-object-store")
        self._check_old_key_refused(old, self._read_key_pair(f"{NAME}-object-store"))

    def keys_of_mlflow(self) -> None:
        secrets = [f"{NAME}-registry-{user}" for user in ("pipelines", "generation")]
        old = [(self.secret(name) or {})["token"] for name in secrets]
        new = [self.change_key(name, "token") for name in secrets]
        self.restart(f"deploy/{NAME}-registry")
        with self.cluster.forward_port(f"svc/{NAME}-registry", 5000) as address:
            taken = [_ask_mlflow(address, key) for key in (*new, *old, "")]
        if taken != [200, 200, 401, 401, 401]:
            raise ClusterError(f"MLflow answers {taken} to the new keys, the old ones and none")

    def password_of_the_database(self) -> None:
        old = (self.secret(f"{NAME}-database") or {})["password"]
        self.change_key(f"{NAME}-database", "password")
        template = "ALTER USER {{base64decode .data.username}} PASSWORD '{{base64decode .data.password}}';"
        change = self.cluster.kubectl("get", "secret", f"{NAME}-database", "-o", f"go-template={template}")
        self.cluster.kubectl(
            "exec",
            "-i",
            f"{NAME}-database-0",
            "--",
            "psql",
            "-q",
            "-U",
            "mlflow",
            "-d",
            "mlflow",
            "-v",
            "ON_ERROR_STOP=1",
            stdin=change,
        )
        self.restart(f"deploy/{NAME}-registry")
        words = ("exec", f"{NAME}-database-0", "--", "env", f"PGPASSWORD={old}", "psql", "-h", f"{NAME}-database", "-U", "mlflow")
        if "1 row" in self.cluster.kubectl(*words, "-d", "mlflow", "-c", "select 1", check=False):
            raise ClusterError("the database still takes the old password")

    def password_and_token_of_the_owner(self) -> None:
        access = ("exec", f"deploy/{NAME}-governance", "-c", "governance", "--", "python", "-m", "audiotune.access")
        old, member = self.owner["password"], self.owner["member"]
        printed = self.cluster.kubectl(*access, "account", "password", member).strip()
        self.owner["password"] = printed.removeprefix(f"{member}: ")
        self.sign_in(member, old, expected=400)
        self.sign_in(member, self.owner["password"])
        self.cluster.kubectl(*access, "token", "revoke", self.owner["token"].split("_")[1])
        token = self.cluster.kubectl(*access, "token", "issue", member, "--days", "365", "--scope", "admin").strip()
        checks = {self.owner["token"]: "refused", token: "welcome"}
        code = f"""
from audiotune.access import tokens
from audiotune.errors import AudioTuneError
from audiotune.store import open_store
for text in {list(checks)!r}:
    try:
        tokens.check_token(open_store(), text, 'generate')
        print('welcome')
    except AudioTuneError:
        print('refused')
"""
        if (said := self.run_in_studio(code).split()) != list(checks.values()):
            raise ClusterError(f"old and new token: {said}")

    def upgrade_afterwards(self) -> None:
        """The ordinary upgrade, with its dump, works with all the new keys."""
        self.cluster.helm("upgrade", NAME, str(CHART), *self.values, "--timeout", "10m")
        self.ready()

    def _read_key_pair(self, name: str) -> tuple[str, str]:
        found = self.secret(name)
        if found is None:
            raise ClusterError(f"there is no Secret {name}")
        return found["accesskey"], found["secretkey"]

    def _check_old_key_refused(self, old: tuple[str, str], new: tuple[str, str]) -> None:
        with self.cluster.forward_port(f"svc/{NAME}-object-store", 9000) as address:
            self.cluster.wait_until(f"the store takes {new[0]}'s new key", functools.partial(_can_list_bucket, address, new), 60)
            if _can_list_bucket(address, old):
                raise ClusterError(f"the store still takes the old key of {old[0]}")


def _ask_mlflow(address: str, key: str) -> int:
    """The status of its answer to a question that every key may ask."""
    request = urllib.request.Request(f"http://{address}/version", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code


def _can_list_bucket(address: str, pair: tuple[str, str]) -> bool:
    """Whether a key lists the bucket."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://{address}",
        region_name="us-east-1",
        aws_access_key_id=pair[0],
        aws_secret_access_key=pair[1],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    try:
        s3.list_objects_v2(Bucket=BUCKET, MaxKeys=1)
    except (BotoCoreError, ClientError):
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(run_drill(Rotate, __doc__ or ""))
