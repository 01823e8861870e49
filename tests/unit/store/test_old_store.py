"""A store that 0.1.0 wrote is read by this version, whole and unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from audiotune.access import accounts, identities, tokens
from audiotune.domain import annotation, checkpoint, manifest
from audiotune.domain.dataset import DatasetRow, LatentRow
from audiotune.domain.generation import GenerationRecord, record_key
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import AccessError, ConsentError
from audiotune.governance import read_consents, read_current_agreement, require_permission
from audiotune.stable_audio.base_models import resolve_base
from audiotune.store import backup, compute_digest
from audiotune.withdrawal.store_traces import StoreTraces
from services.generation.jobs.job_store import JobStore
from services.studio.history import read_history
from services.studio.library import LibraryCache
from services.studio.releases import list_releases, read_evaluation_report
from tests.fakes.layout_store import LayoutStore
from tests.fakes.old_release import read_expected, unpack

EXPECTED = read_expected()
NOW = datetime(2026, 12, 1, tzinfo=UTC)  # shortly after the store was made, whatever the day of the test


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayoutStore]:
    made = LayoutStore(unpack("store", tmp_path_factory.mktemp("old")))
    yield made
    assert [entry.key for entry in made.list("")] == EXPECTED["keys"], "reading wrote something"


def test_every_key_and_every_byte_is_there(store: LayoutStore) -> None:
    assert {entry.key: compute_digest(store.fetch(entry.key)) for entry in store.list("")} == EXPECTED["digests"]


def test_the_agreement_its_members_and_their_consents(store: LayoutStore) -> None:
    found, wanted = read_current_agreement(store), EXPECTED["agreement"]
    assert found is not None
    assert (found.version, found.digest, found.group) == (wanted["version"], wanted["digest"], wanted["group"])
    assert [member.id for member in found.members] == wanted["members"]
    assert [member.id for member in found.members if member.left] == wanted["left"]
    consents = read_consents(store, EXPECTED["recordings"])
    given = {id: {who: list(c.uses) for (of, who), c in consents.items() if of == id} for id in EXPECTED["recordings"]}
    assert given == EXPECTED["consents"]
    for id in EXPECTED["withdrawn"]:
        with pytest.raises(ConsentError, match="chi has not agreed"):
            require_permission(store, "finetune", {id: EXPECTED["recordings"][id]["contributors"]})


def test_accounts_passwords_and_identities(store: LayoutStore) -> None:
    found = accounts.list_accounts(store)
    assert {a.member: {"role": a.role, "signs_in": bool(a.password)} for a in found} == EXPECTED["accounts"]
    for member, password in EXPECTED["passwords"].items():
        assert accounts.verify_password(store, member, password) is not None, member
        assert accounts.verify_password(store, member, f"{password}x") is None, member
    assert {one.identity: one.member for one in identities.list_identities(store)} == EXPECTED["identities"]
    assert all(getattr(identities.find_identity(store, one), "member", "") == who for one, who in EXPECTED["identities"].items())


def test_tokens(store: LayoutStore) -> None:
    for member, token in EXPECTED["tokens"]["good"].items():
        found = tokens.check_token(store, token["text"], "read", NOW)
        assert (found.member, list(found.scopes)) == (member, token["scopes"])
    for word in ("revoked", "expired"):
        with pytest.raises(AccessError):
            tokens.check_token(store, EXPECTED["tokens"][word], "read", NOW)
    listed = {t.id: {"member": t.member, "scopes": list(t.scopes), "label": t.label} for t in tokens.list_tokens(store)}
    assert listed == EXPECTED["tokens"]["listed"]


def test_recordings_and_segments_as_the_studio_shows_them(store: LayoutStore) -> None:
    library = LibraryCache(store).current()
    facts = ("name", "session", "frames", "blob")
    shown = {id: {fact: getattr(r, fact) for fact in facts} for id, r in library.recordings.items()}
    assert shown == {id: {fact: wanted[fact] for fact in facts} for id, wanted in EXPECTED["recordings"].items()}
    assert {id: list(r.contributors) for id, r in library.recordings.items()} == {
        id: wanted["contributors"] for id, wanted in EXPECTED["recordings"].items()
    }
    cut = {segment.id: segment.recording for segment in StoreTraces(store).segments}
    kept = [id for id in EXPECTED["segments"]["ids"] if cut[id] not in EXPECTED["withdrawn"]]  # nobody may listen to the others
    assert sorted(library.segments) == kept
    assert len(kept) < len(EXPECTED["segments"]["ids"])


def test_the_newest_annotations_and_a_members_word(store: LayoutStore) -> None:
    found = [
        {
            "segment": a.segment,
            "member": a.member,
            "words": a.words,
            "tags": {f: list(t) for f, t in a.tags.items()},
            "key": a.key,
        }
        for a in annotation.keep_newest_annotations(
            annotation.Annotation.model_validate_json(store.get(entry.key)) for entry in store.list("annotations/")
        )
    ]
    assert found == EXPECTED["annotations"]
    for id, wanted in EXPECTED["vocabulary"].items():
        term = Vocabulary.load(store).get_term(id)
        assert term is not None
        assert {"facet": term.facet, "label": term.label, "member": term.member} == wanted


def test_the_dataset_and_its_latents(store: LayoutStore) -> None:
    wanted = EXPECTED["dataset"]
    assert manifest.find_newest_manifest(store, "datasets") == wanted["key"]
    dataset = manifest.fetch_manifest(store, wanted["key"], "datasets", DatasetRow)
    assert (dataset.digest, dataset.key, len(dataset.rows)) == (wanted["digest"], wanted["key"], wanted["rows"])
    assert {row.segment.id: row.caption.text for row in dataset.rows} == wanted["captions"]
    assert {row.segment.id: row.split for row in dataset.rows} == wanted["splits"]
    latents = manifest.fetch_manifest(store, EXPECTED["latents"]["key"], "latents", LatentRow)
    assert (latents.digest, len(latents.rows)) == (EXPECTED["latents"]["digest"], EXPECTED["latents"]["rows"])
    assert all(store.exists(key) for row in latents.rows for key in (row.latents, *row.embeddings))


def test_checkpoints_and_the_base_model(store: LayoutStore) -> None:
    wanted = EXPECTED["checkpoints"]
    found = checkpoint.find_newest_checkpoint(store, wanted["run_key"])
    assert found is not None
    assert (found.key, found.step, found.kind, found.report_key) == (
        wanted["newest"],
        wanted["step"],
        wanted["kind"],
        wanted["page"],
    )
    assert store.exists(found.report_key)
    earlier = [checkpoint.load_checkpoint(store, checkpoint.checkpoint_key(wanted["run_key"], step)) for step in wanted["steps"]]
    assert [one.step for one in earlier] == wanted["steps"]
    assert resolve_base(store, EXPECTED["base"]["name"]).digest == EXPECTED["base"]["digest"]


@pytest.mark.parametrize("id", sorted(EXPECTED["jobs"]))
def test_a_job_of_each_state(store: LayoutStore, id: str) -> None:
    jobs, wanted = JobStore(store), EXPECTED["jobs"][id]
    found = jobs.read(wanted["member"], id)
    assert found is not None
    assert (found.state, found.length, found.digest) == (wanted["state"], wanted["events"], wanted["request_digest"])
    assert (found.request.prompt, found.webhook) == (wanted["prompt"], wanted["webhook"])
    assert (found.problem or {}).get("code") == wanted["problem"]
    made = [{"digest": s.sound, "key": s.blob, "seed": s.seed, "format": s.format} for s in found.sounds]
    assert made == wanted["sounds"]
    if wanted["webhook"]:
        assert jobs.get_webhook_log(wanted["member"], id).state == wanted["telling"]


def test_the_queues_of_jobs(store: LayoutStore) -> None:
    jobs = JobStore(store)
    assert sorted(id for _, _, id in jobs.list_open()) == EXPECTED["jobs_open"]
    assert sorted(id for _, _, id in jobs.list_undelivered()) == EXPECTED["jobs_untold"]
    assert [job.id for job in jobs.list_page("ana", 50)[0]] == EXPECTED["jobs_listed"]


def test_every_sound_and_its_record(store: LayoutStore) -> None:
    for digest, key in EXPECTED["sounds"].items():
        assert compute_digest(store.get(key)) == digest
        record = GenerationRecord.model_validate_json(store.get(record_key(digest)))
        assert (record.sound, record.blob, record.member) == (digest, key, "ana")


def test_the_history(store: LayoutStore) -> None:
    shown = [
        {"key": r.key, "blob": r.blob, "seed": r.seed, "format": r.format, "seconds": r.seconds, "prompt": r.wish.prompt}
        for r in read_history(store, "ana")
    ]
    assert shown == EXPECTED["history"]["ana"]


def test_the_release_cards_and_their_reports(store: LayoutStore) -> None:
    cards, wanted = list_releases(store), EXPECTED["releases"]
    assert sorted(card.key for card in cards) == sorted([EXPECTED["candidate"]["key"], *(r["key"] for r in wanted.values())])
    for card in cards:
        expected: dict[str, Any] = wanted[card.name]
        if card.key != expected["key"]:
            continue
        assert (card.version, card.digest, card.weights.weights) == (expected["version"], expected["digest"], expected["weights"])
        assert (card.licence, card.notice, card.evaluation.metrics) == (
            expected["licence"],
            expected["notice"],
            expected["metrics"],
        )
        assert (list(card.lineage.contributors), card.weights.adapter_digest) == (
            expected["contributors"],
            expected["adapter_digest"],
        )
        assert "<html" in (read_evaluation_report(store, [card], card.digest) or "").lower()


def test_the_backup(store: LayoutStore, tmp_path: Path) -> None:
    wanted = EXPECTED["backups"]["database"]
    assert backup.fetch_backup(store, "database", tmp_path / "dump") == wanted["key"]
    assert (tmp_path / "dump").read_text() == wanted["content"]
