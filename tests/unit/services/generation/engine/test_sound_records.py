"""Records of sounds: one for each maker of the same bytes, and none is ever replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audiotune.access import tokens
from audiotune.domain.generation import AppliedAdapter, GenerationRecord, record_key
from audiotune.errors import AlreadyInStoreError
from services.generation.engine.sound_records import SoundIndexer, read_sound_record, write_sound_record
from services.generation.errors import UnknownSoundError
from tests.fakes.in_process_service import ASK, URL, InProcessService
from tests.fakes.memory_store import MemoryStore

SOUND = "5" * 64


def a_record(member: str, **facts: Any) -> GenerationRecord:
    made = {"format": "wav", "prompt": "a drone", "seconds": 1, "steps": 3, "guidance": 4, "seed": 7, "sampler": "euler"}
    release = {"release": "patch-bay", "version": "1", "digest": "1" * 64}
    return GenerationRecord(**{"sound": SOUND, "blob": f"sounds/{SOUND}.wav", "member": member, **made, **release, **facts})


def test_who_asks_for_anothers_words_and_seed_gets_the_same_bytes_and_takes_nothing_away(tmp_path: Path) -> None:
    bench = InProcessService(tmp_path, members=True)
    bench.loaded()
    heads = {
        who: {"Authorization": f"Bearer {tokens.issue_token(bench.store, who, ['generate'], 1)}"} for who in ("ana", "ben", "chi")
    }
    hers = bench.client.post(URL, json=ASK, headers=heads["ana"])
    digest = hers.headers["x-audio-tune-sound"]
    first = bench.store.get(record_key(digest))
    assert bench.client.get(f"/v1/sounds/{digest}", headers=heads["ben"]).status_code == 404
    his = bench.client.post(URL, json=ASK, headers=heads["ben"])
    assert his.content == hers.content
    assert bench.store.get(record_key(digest)) == first
    answers = {who: bench.client.get(f"/v1/sounds/{digest}", headers=head).status_code for who, head in heads.items()}
    assert answers == {"ana": 200, "ben": 200, "chi": 404}
    for who in ("ana", "ben"):
        assert read_sound_record(bench.store, digest, who).member == who
    bench.stop()


def test_a_makers_record_is_written_once() -> None:
    store = MemoryStore()
    for member in ("ana", "ben", "ana", "ben"):
        write_sound_record(
            store, a_record(member, prompt=f"asked by {member} when {len(list(store.list('manifests/')))} were there")
        )
    assert [entry.key for entry in store.list("manifests/")] == [record_key(SOUND), record_key(SOUND, "ben")]
    assert read_sound_record(store, SOUND, "ana").prompt == "asked by ana when 0 were there"
    assert read_sound_record(store, SOUND, "ben").prompt == "asked by ben when 1 were there"
    with pytest.raises(AlreadyInStoreError):
        store.put(record_key(SOUND), b"", only_new=True)


def test_sounds_are_listed_by_what_made_them_without_their_words() -> None:
    """Also those of versions that did not do so, by the next start; who may list them may read no record."""
    store, adapter = MemoryStore(), AppliedAdapter(release="tape", version="1", digest="b" * 64, strength=1)
    old, new = a_record("ana"), a_record("ben", sound="d" * 64, adapters=(adapter,))
    store.put(record_key(old.sound), old.model_dump_json().encode())
    write_sound_record(store, new)
    made = {f"made/{new.digest}/{new.sound}", f"made/{'b' * 64}/{new.sound}"}
    assert {entry.key for entry in store.list("made/")} == made
    for _ in range(2):
        SoundIndexer(store).list_earlier()
        assert {entry.key for entry in store.list("made/")} == {*made, f"made/{old.digest}/{old.sound}", "made/.listed"}
    assert all(store.get(entry.key) == b"" for entry in store.list("made/"))


def test_a_record_from_before_there_were_members_stays_for_everybody() -> None:
    store = MemoryStore()
    write_sound_record(store, a_record(""))
    write_sound_record(store, a_record("ben"))
    assert [read_sound_record(store, SOUND, who).member for who in ("ana", "ben")] == ["", ""]


def test_a_record_that_cannot_be_read_is_nobodys_and_hinders_no_other_maker() -> None:
    store = MemoryStore()
    store.put(record_key(SOUND), b"{")
    with pytest.raises(UnknownSoundError):
        read_sound_record(store, SOUND, "ana")
    write_sound_record(store, a_record("ana"))
    assert read_sound_record(store, SOUND, "ana").member == "ana"
    assert store.get(record_key(SOUND)) == b"{"
