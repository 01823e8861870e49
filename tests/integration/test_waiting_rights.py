"""Recordings that wait, with the rights of the cluster's users on a real MinIO: who hears them, and who deletes all versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Recording
from audiotune.store import compute_digest
from audiotune.store.layout import User
from tests.fakes.foreign_sounds import wave, write_wav
from tests.fakes.governance_process import INGEST_KEY, STUDIO_KEY, GovernanceProcess, run_governance
from tests.integration.minio import server_or_skip
from tests.integration.store_users import BUCKET, StoreUsers, set_up_users
from tests.integration.test_governance_rights import AGREEMENT, list_keys, run_as

pytestmark = pytest.mark.integration
PLAN = AGREEMENT.format(version=1) + '[[members]]\nid = "ben"\nname = "Ben"\n'  # ben asks for each recording
ANSWER = """
import os
from audiotune.access.writer import open_access_writer
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.waiting import list_waiting
from audiotune.governance.writer import open_governance_writer
from audiotune.store import open_store
store = open_store()
(one,) = list_waiting(open_ledger(store).read_state(), "ben")
print(len(store.get(open_ledger(store).read_state().waiting[one.recording].sound)))
access = open_access_writer(store)
ticket = access.verify_password("ben", os.environ["PASSWORD"]).ticket
access.record_event(ticket, "recording_answered", {"recording": one.recording, "uses": os.environ["USES"].split()})
print(open_governance_writer(store).end_due_waiting().erased)
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreUsers]:
    with server_or_skip(tmp_path_factory.mktemp("minio")) as running:
        yield set_up_users(running, tmp_path_factory.mktemp("users"))


@pytest.fixture(scope="module")
def service(users: StoreUsers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernanceProcess]:
    with run_governance(f"s3://{BUCKET}", tmp_path_factory.mktemp("log"), users.environment("governance")) as running:
        yield running


@pytest.fixture(scope="module")
def password(users: StoreUsers, service: GovernanceProcess) -> str:
    """Ben's."""
    code, told, said = run_as(users, "governance", ["-m", "audiotune.access", "first-owner", "ben", "--to", "-"])
    assert code == 0, said
    return str(json.loads(told)["password"])


def bring(users: StoreUsers, service: GovernanceProcess, folder: Path, seed: int) -> tuple[Path, Path, int, str]:
    """Plays ingest on a take of ana and ben with the rights of a pipeline: take, manifest, exit code, last words."""
    (folder / "takes").mkdir(exist_ok=True)
    take, plan, out = folder / "takes" / f"duo {seed}.wav", folder / "agreement.toml", folder / "recordings"
    write_wav(take, wave(seconds=1.0, seed=seed))
    plan.write_text(PLAN)
    more = [word for name in ("recordings", "report", "metrics") for word in (f"--{name}", str(folder / name))]
    words = ["-m", "components.ingest", "--source", str(take), "--agreement", str(plan), "--contributors", "ana,ben", *more]
    code, _, said = run_as(users, "pipelines", words, service.environment(INGEST_KEY))
    return take, out, code, said


def answer(users: StoreUsers, service: GovernanceProcess, password: str, uses: str) -> str:
    """As the studio: ben's word by his ticket, heard before with the studio's rights."""
    more = {**service.environment(STUDIO_KEY), "PASSWORD": password, "USES": uses}
    code, told, said = run_as(users, "studio", ["-c", ANSWER], more)
    assert code == 0, said
    return told


def test_a_no_deletes_all_versions_by_the_governance_service(
    users: StoreUsers, service: GovernanceProcess, password: str, tmp_path: Path
) -> None:
    take, _, code, said = bring(users, service, tmp_path, 1)
    assert (code, "waits for Ben" in said) == (1, True), said
    keys = list_keys(users, "waiting/")
    assert len(keys) == 2
    assert all(compute_digest(take) in key for key in keys)
    users.put(keys[1], take.read_bytes())  # a second version
    assert not [key for key in list_keys(users, "") if compute_digest(take) in key and key not in keys]
    told = answer(users, service, password, "")
    assert told.splitlines()[0] == str(take.stat().st_size)
    assert "3}" in told  # versions
    assert users.list_versions("waiting/") == []


def test_a_yes_takes_it_in_and_deletes_the_copy(
    users: StoreUsers, service: GovernanceProcess, password: str, tmp_path: Path
) -> None:
    take, _, code, said = bring(users, service, tmp_path, 2)
    assert code == 1, said
    answer(users, service, password, "store train")
    _, manifest, code, said = bring(users, service, tmp_path, 2)
    assert code == 0, said
    (row,) = load_manifest(manifest, "recordings", Recording).rows
    assert (row.id, row.contributors) == (compute_digest(take), ("ana", "ben"))
    assert users.list_versions("waiting/") == []


def is_refused(users: StoreUsers, user: User, call: str, **given: object) -> bool:
    """Whether the server refuses a request of this user, and not for another reason."""
    with pytest.raises(ClientError) as refused:
        getattr(users.clients[user], call)(Bucket=BUCKET, **given)
    return refused.value.response["Error"]["Code"] in ("AccessDenied", "403")


@pytest.mark.parametrize("user", ["generation", "registry", "backup", "erasure", "governance"])
def test_what_waits_is_read_by_nobody_who_need_not_ask(users: StoreUsers, user: User) -> None:
    key = f"waiting/{'ab' * 32}/one/sound.wav"
    version = users.put(key, b"bytes")
    assert is_refused(users, user, "get_object", Key=key)
    assert is_refused(users, user, "get_object", Key=key, VersionId=version)
    assert is_refused(users, user, "put_object", Key=key, Body=b"other")


@pytest.mark.parametrize("user", ["studio", "pipelines", "generation"])
def test_who_stores_it_cannot_delete_it(users: StoreUsers, user: User) -> None:
    key = f"waiting/{'cd' * 32}/one/sound.wav"
    version = users.put(key, b"bytes")
    assert is_refused(users, user, "delete_object", Key=key)
    assert is_refused(users, user, "delete_object", Key=key, VersionId=version)


@pytest.mark.parametrize("key", ["access/accounts/x.json", "access/identities/x.json", "governance/ledger/x.json", "blobs/x.wav"])
def test_the_right_to_delete_what_waits_opens_nothing_else(users: StoreUsers, key: str) -> None:
    """MinIO takes the right to delete an object for the right to delete its old versions, unless that is denied."""
    version = users.put(key, b"bytes")
    assert is_refused(users, "governance", "delete_object", Key=key, VersionId=version)
