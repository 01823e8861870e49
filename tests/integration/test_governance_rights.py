"""The governance service with the rights of the cluster's users on a real MinIO: it writes; ingest and the studio cannot, but by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Recording
from audiotune.store.layout import User
from tests.fakes.foreign_sounds import wave, write_wav
from tests.fakes.governance_process import INGEST_KEY, STUDIO_KEY, GovernanceProcess, run_governance
from tests.integration.minio import server_or_skip
from tests.integration.store_users import BUCKET, StoreUsers, set_up_users

pytestmark = pytest.mark.integration
AGREEMENT = """
group = "The Testers"
version = {version}
recordings_licence = "LicenseRef-members-only"
weights_licence = "LicenseRef-co-owned"
[[members]]
id = "ana"
name = "Ana"
consents_to = ["store", "train"]
"""
SIGN_IN = """
import os
from audiotune.access.writer import open_access_writer
from audiotune.store import open_store
access = open_access_writer(open_store())
found = access.verify_password("ana", os.environ["PASSWORD"])
print(access.issue_token(found.ticket, ["generate"], 1))
print(access.record_consent(found.ticket, os.environ["RECORDING"], ()).contributor)
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreUsers]:
    with server_or_skip(tmp_path_factory.mktemp("minio")) as running:
        yield set_up_users(running, tmp_path_factory.mktemp("users"))


@pytest.fixture(scope="module")
def service(users: StoreUsers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernanceProcess]:
    with run_governance(f"s3://{BUCKET}", tmp_path_factory.mktemp("log"), users.environment("governance")) as running:
        yield running


def run_as(users: StoreUsers, user: User, words: list[str], more: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a Python program that has the key of a user of the store."""
    environment = {**os.environ, **users.environment(user), **(more or {})}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def ingest(users: StoreUsers, folder: Path, version: int, more: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    takes, plan = folder / "takes", folder / f"agreement-{version}.toml"
    if not takes.exists():
        takes.mkdir()
        write_wav(takes / "drone.wav", wave(seconds=1.0))
    plan.write_text(AGREEMENT.format(version=version))
    out = [word for name in ("recordings", "report", "metrics") for word in (f"--{name}", str(folder / name))]
    words = ["-m", "components.ingest", "--source", str(takes), "--agreement", str(plan), "--contributors", "ana", *out]
    return run_as(users, "pipelines", words, more)


def list_keys(users: StoreUsers, prefix: str) -> list[str]:
    return sorted({version["Key"] for version in users.list_versions(prefix)})


def test_ingest_and_a_member_write_by_the_service_and_only_by_it(
    users: StoreUsers, service: GovernanceProcess, tmp_path: Path
) -> None:
    asks = service.environment(INGEST_KEY)
    code, _, said = ingest(users, tmp_path, 1)
    assert (code, "the store refuses" in said) == (1, True)
    assert list_keys(users, "governance/") == []
    assert ingest(users, tmp_path, 1, asks)[0] == 0
    (recording,) = (row.id for row in load_manifest(tmp_path / "recordings", "recordings", Recording).rows)
    shown = run_as(users, "pipelines", ["-m", "audiotune.access", "recording", "show", recording])[1]
    assert "ana\tstore train" in shown
    code, _, said = ingest(users, tmp_path, 2, asks)
    assert (code, "agreement publish FILE" in said) == (1, True)

    code, owner, _ = run_as(users, "governance", ["-m", "audiotune.access", "first-owner", "ana", "--to", "-"])
    assert code == 0
    password = json.loads(owner)["password"]
    code, told, said = run_as(
        users,
        "studio",
        ["-c", SIGN_IN],
        {**service.environment(STUDIO_KEY), "PASSWORD": password, "RECORDING": recording},
    )
    assert (code, told.splitlines()[1:]) == (0, ["ana"]), said
    assert len(list_keys(users, "access/tokens/")) == 2  # the first owner's, and the member's own


@pytest.mark.parametrize("user", ["studio", "pipelines", "generation", "registry"])
def test_nobody_else_makes_an_owner_or_an_agreement(users: StoreUsers, user: User, tmp_path: Path) -> None:
    before = list_keys(users, "access/") + list_keys(users, "governance/")
    plan = tmp_path / "agreement.toml"
    plan.write_text(AGREEMENT.format(version=9))
    for words in (["account", "create", "mallory", "--role", "owner"], ["agreement", "publish", str(plan)]):
        code, _, said = run_as(users, user, ["-m", "audiotune.access", *words])
        assert (code, "the store refuses" in said) == (1, True), said
    assert list_keys(users, "access/") + list_keys(users, "governance/") == before
