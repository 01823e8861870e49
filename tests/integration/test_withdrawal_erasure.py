"""An erasure on a real MinIO with versions and a real MLflow, by the program and with the rights of the job: no version is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.member_acts import append_member_event
from audiotune.registry import releases
from audiotune.registry.connection import get_mlflow_client
from audiotune.registry.runs import start_run
from audiotune.store.s3 import S3Store
from audiotune.withdrawal.cache_sweep import CacheSweep
from audiotune.withdrawal.erasure import list_erased_keys
from tests.fakes.governance_process import ERASURE_KEY, INGEST_KEY, GovernanceProcess, run_governance
from tests.fakes.withdrawal_group import WithdrawalGroup, make_withdrawal_group
from tests.integration.minio import server_or_skip
from tests.integration.store_users import BUCKET, StoreUsers, set_up_users

pytestmark = pytest.mark.integration
JAM, TAPE = "leaving-jam", "leaving-tape"
TITLES = ("jam 1", "jam 2", "tape 1")


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreUsers]:
    with server_or_skip(tmp_path_factory.mktemp("minio")) as running:
        yield set_up_users(running, tmp_path_factory.mktemp("users"))


@pytest.fixture(scope="module")
def service(users: StoreUsers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernanceProcess]:
    with run_governance(f"s3://{BUCKET}", tmp_path_factory.mktemp("log"), users.environment("governance")) as running:
        yield running


@dataclass(frozen=True)
class Surroundings:
    users: StoreUsers
    service: GovernanceProcess
    cache: Path
    mlflow: str

    def finish(self, key: str = ERASURE_KEY) -> subprocess.CompletedProcess[str]:
        """`audiotune withdrawal finish` as the job runs it."""
        own = {**self.users.environment("erasure"), **self.service.environment(key)}
        environment = {**os.environ, **own, "AUDIOTUNE_CACHE": str(self.cache), "MLFLOW_TRACKING_URI": self.mlflow}
        command = [sys.executable, "-m", "audiotune.cli", "withdrawal", "finish"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture
def surroundings(
    users: StoreUsers, service: GovernanceProcess, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Surroundings:
    for name, value in {**users.server.environment, "MLFLOW_TRACKING_URI": mlflow_server}.items():
        monkeypatch.setenv(name, value)
    return Surroundings(users, service, tmp_path / "cache", mlflow_server)


def register(group: WithdrawalGroup, folder: Path) -> None:
    """The group's releases in MLflow, with a file each, under the versions that their cards name."""
    page = folder / "card.html"
    page.write_text("<!doctype html>")
    for title in TITLES:
        card = group.releases[title]
        made = releases.register_release(card, {"card.html": page}, card.weights.run)
        assert made.version == card.version
    releases.set_alias(JAM, "champion", "2")
    releases.set_alias(TAPE, "champion", "1")


def test_no_version_is_left_anywhere(surroundings: Surroundings, tmp_path: Path) -> None:
    users, store = surroundings.users, S3Store(f"s3://{BUCKET}", surroundings.cache)
    runs = {title: start_run("audio-tune tests", title).id for title in TITLES}
    group = make_withdrawal_group(store, prefix="leaving-", runs=runs)
    register(group, tmp_path)
    own = group.takes["ben alone"]
    users.put(own.blob, b"the sound of ben alone")  # a second version
    store.delete(own.fingerprint)  # a mark of a deletion over the old version
    other = S3Store(f"s3://{BUCKET}", tmp_path / "another machine")
    sweep = CacheSweep(other)
    sweep.sweep()
    elsewhere = [other.fetch(key) for key in (own.blob, group.releases["jam 1"].weights.weights)]
    cached = store.fetch(group.releases["jam 2"].weights.weights)
    users.put(f"mlflow/1/{runs['jam 2']}/artifacts/release/card.html")
    users.put(f"mlflow/1/{runs['jam 2']}/artifacts/release/card.html", b"again")
    users.put(f"mlflow/1/{runs['jam 1']}/artifacts/release/card.html")

    number = append_member_event(store, "ben", "withdrawal_recorded", {"erase": "everything_derived"})
    refused = surroundings.finish(INGEST_KEY)  # the registry and the store follow, but this caller may not say so
    assert (refused.returncode, "ingest may not record_erasure" in refused.stderr) == (1, True), refused.stderr
    assert number not in open_ledger(store).read_state().erasures
    done = surroundings.finish()
    assert done.returncode == 0, done.stderr
    assert f"withdrawal {number}: erased:" in done.stdout

    erased = set(list_erased_keys(store))
    assert {own.blob, own.fingerprint, group.releases["jam 2"].weights.weights} <= erased
    left = {version["Key"] for version in users.list_versions("")}
    assert erased.isdisjoint(left)
    assert not [key for key in left if f"/{runs['jam 2']}/" in key]
    assert [key for key in left if f"/{runs['jam 1']}/" in key]
    for take in ("ana alone", "chi alone", "both"):
        assert {group.takes[take].blob, group.takes[take].fingerprint} <= left
    assert set(group.releases["jam 1"].list_files().values()) <= left
    assert not cached.exists()
    sweep.sweep()
    assert [path.exists() for path in elsewhere] == [False, True]

    assert releases.list_aliases(JAM) == {"champion": "1"}
    assert [releases.find_release(JAM, version) is None for version in ("1", "2")] == [False, True]
    assert releases.list_releases(TAPE) == []
    assert [len(get_mlflow_client().list_artifacts(runs[title])) for title in TITLES] == [1, 0, 0]
    assert open_ledger(store).read_state().erasures[number][0].counts["releases in the registry"] == 2

    again = surroundings.finish()
    assert (again.returncode, again.stdout.strip()) == (0, "nothing is left to do")
