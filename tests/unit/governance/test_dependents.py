from __future__ import annotations

from pathlib import Path

import pytest

from audiotune.domain.generation import AppliedAdapter, GenerationRecord
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import WeightsPointer
from audiotune.governance.dependents import Dependents, DependentsReader, list_dependents
from audiotune.store import compute_digest
from tests.fakes import group_release
from tests.fakes.described_store import digest
from tests.fakes.group_release import Group


@pytest.fixture
def group(tmp_path: Path) -> Group:
    made = group_release.group(tmp_path)
    for entry in [*made.store.list("manifests/releases/"), *made.store.list("manifests/datasets/")]:
        made.store.delete(entry.key)
    made.dataset.save(made.store)
    return made


def keep_sound(group: Group, pointer: WeightsPointer, member: str, name: str, *adapters: str) -> None:
    applied = tuple(AppliedAdapter(release="tape", version="1", digest=adapter, strength=1) for adapter in adapters)
    record = GenerationRecord(
        sound=digest(name),
        blob=f"sounds/{digest(name)}.wav",
        format="wav",
        prompt="x",
        seconds=1,
        steps=1,
        guidance=1,
        seed=1,
        sampler="euler",
        release="ours",
        version="1",
        digest=pointer.weights_digest,
        adapters=applied,
        member=member,
    )
    for key in record.maker_keys:
        group.store.put(key, b"")


def recordings_of(group: Group) -> list[str]:
    return list(dict.fromkeys(row.segment.recording for row in group.dataset.rows))


def test_what_hangs_on_a_recording_is_found_at_every_step(group: Group) -> None:
    first, second, third = recordings_of(group)
    smaller = Manifest("datasets", [row for row in group.dataset.rows if row.segment.recording != first])
    smaller.save(group.store)
    adapter = group.store.put_blob(b"adapter", ".safetensors")
    whole = group.release(group.pointer).model_copy(update={"version": "1"})
    beside = group.pointer.model_copy(update={"adapter": adapter, "dataset": smaller.digest})
    tape = Group(group.store, group.agreement, smaller, beside, group.paths).release(beside).model_copy(update={"name": "tape"})
    for card in (whole, tape):
        card.save(group.store)
    keep_sound(group, group.pointer, "ana", "one")
    keep_sound(group, group.pointer, "ben", "one")  # the same bytes, asked for twice
    keep_sound(group, group.pointer, "ana", "two", compute_digest(b"adapter"))
    other = group.pointer.model_copy(update={"weights_digest": digest("other")})
    keep_sound(group, other, "ana", "three")  # of another group's release

    found = list_dependents(group.store, [first])
    assert set(found.segments) == {r.segment.id for r in group.dataset.rows if r.segment.recording == first}
    assert [(one.number, one.digest) for one in found.datasets] == [(1, group.dataset.digest)]
    assert (found.releases, found.adapters) == ((whole,), ())
    assert set(found.sounds) == {digest("one"), digest("two")}

    found = list_dependents(group.store, [second])
    assert [one.number for one in found.datasets] == [1, 2]
    assert (found.releases, found.adapters) == ((whole,), (tape,))
    assert len(found.sounds) == 2
    assert len(list_dependents(group.store, [second, third]).segments) == 4


def test_an_adapter_counts_the_sounds_it_was_added_to(group: Group) -> None:
    """Its base's weights come from elsewhere, so what others made with them is none of its recordings' business."""
    recording = recordings_of(group)[0]
    adapter = group.store.put_blob(b"adapter", ".safetensors")
    beside = group.pointer.model_copy(update={"adapter": adapter})
    group.release(beside).save(group.store)
    keep_sound(group, group.pointer, "ana", "without")
    keep_sound(group, group.pointer, "ana", "with", compute_digest(b"adapter"))
    assert list_dependents(group.store, [recording]).sounds == (digest("with"),)


def test_nothing_hangs_on_what_nobody_used(group: Group) -> None:
    assert list_dependents(group.store, [digest("unknown")]) == Dependents()
    assert list_dependents(group.store, []) == Dependents()


def test_a_reader_sees_what_came_later_and_passes_over_what_it_cannot_read(group: Group) -> None:
    reader, recording = DependentsReader(group.store), recordings_of(group)[0]
    assert reader.list_dependents([recording]).releases == ()
    group.store.put("manifests/releases/ours/2-0123456789abcdef.json", b"{}")
    group.release(group.pointer).save(group.store)
    assert [card.name for card in reader.list_dependents([recording]).releases] == ["ours"]
    again = group.release(group.pointer).model_copy(update={"licence": "another"})
    again.save(group.store)  # the same key
    assert [card.licence for card in reader.list_dependents([recording]).releases] == ["another"]
