"""The store knows once and for all what weights were trained on, and a release that says otherwise is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audiotune.domain.lineage import LineageChecker, bind_weights, build_lineage, find_bound_dataset, require_lineage
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, Lineage, Release
from audiotune.errors import LineageError
from audiotune.store import FolderStore
from audiotune.store.layout import LINEAGES
from audiotune.store.port import blob_key
from tests.fakes.group_release import Group, group
from tests.fakes.old_release import read_expected, unpack


@pytest.fixture
def ours(tmp_path: Path) -> Group:
    """A group whose first weights are bound to its dataset, which is in the store."""
    made = group(tmp_path)
    made.dataset.save(made.store)
    bind_weights(made.store, made.pointer)
    return made


def lied(ours: Group, **update: object) -> Release:
    """The group's release with another lineage."""
    true = ours.release(ours.pointer)
    return true.model_copy(update={"lineage": true.lineage.model_copy(update=update)})


def test_a_true_release_is_welcome_whatever_the_order_of_its_names(ours: Group) -> None:
    require_lineage(ours.store, ours.release(ours.pointer))
    lineage = ours.release(ours.pointer).lineage
    turned = {recording: people[::-1] for recording, people in reversed(lineage.recordings.items())}
    require_lineage(ours.store, lied(ours, recordings=turned, segments=lineage.segments[::-1]))


def leave_one_recording_out(lineage: Lineage) -> dict[str, object]:
    return {"recordings": dict(list(lineage.recordings.items())[1:])}


LIES: dict[str, Callable[[Lineage], dict[str, object]]] = {
    "nobody": lambda lineage: {"recordings": {}},
    "one recording less": leave_one_recording_out,
    "no contributors": lambda lineage: {"recordings": dict.fromkeys(lineage.recordings, ())},
    "one person less": lambda lineage: {"recordings": {r: people[:1] for r, people in lineage.recordings.items()}},
    "another person": lambda lineage: {"recordings": dict.fromkeys(lineage.recordings, ("chi",))},
    "another recording": lambda lineage: {"recordings": {"0" * 64: ("ana",)}},
    "fewer segments": lambda lineage: {"segments": lineage.segments[1:]},
    "no annotators": lambda lineage: {"annotators": ()},
    "another dataset": lambda lineage: {"dataset": "0" * 64},
    "another base": lambda lineage: {"base_digest": "0" * 64},
}


@pytest.mark.parametrize("lie", LIES)
def test_another_lineage_is_refused(ours: Group, lie: str) -> None:
    made = lied(ours, **LIES[lie](ours.release(ours.pointer).lineage))
    with pytest.raises(LineageError, match="another lineage"):
        require_lineage(ours.store, made)


def test_another_dataset_of_the_store_does_not_take_its_place(ours: Group) -> None:
    """A whole lie: pointer, lineage and manifest agree with each other, but these weights were trained on something else."""
    part = Manifest("datasets", ours.dataset.rows[:2], ours.dataset.meta)
    part.save(ours.store)
    pointer = ours.pointer.model_copy(update={"dataset": part.digest})
    made = ours.release(ours.pointer).model_copy(
        update={"weights": pointer, "lineage": build_lineage(part, pointer, ours.agreement.digest)}
    )
    with pytest.raises(LineageError, match="another lineage"):
        require_lineage(ours.store, made)
    with pytest.raises(LineageError, match="were trained on dataset"):
        bind_weights(ours.store, pointer)
    assert find_bound_dataset(ours.store, pointer) == ours.dataset.digest


def test_weights_that_no_training_wrote_are_refused(ours: Group) -> None:
    pointer = ours.trained(b"the same tensors, saved again", passed=True)
    with pytest.raises(LineageError, match="does not know what these weights were trained on"):
        require_lineage(ours.store, ours.release(pointer))


@pytest.mark.parametrize("digest", ["0" * 64, "", "../../governance", "a/b", "x" * 2000, "*"])
def test_a_digest_that_is_not_that_of_the_key_is_a_lie_and_no_outage(ours: Group, digest: str) -> None:
    for update in ({"weights_digest": digest}, {"weights": digest}, {"weights": digest, "weights_digest": digest}):
        with pytest.raises(LineageError, match="does not carry their digest"):
            require_lineage(ours.store, ours.release(ours.pointer.model_copy(update=update)))


def test_an_adapter_is_bound_by_itself_and_not_its_base(ours: Group) -> None:
    adapter = ours.store.put_blob(b"an adapter", ".safetensors")
    kept = ours.pointer.model_copy(update={"adapter": adapter})
    with pytest.raises(LineageError, match="does not know"):
        require_lineage(ours.store, ours.release(kept))
    bind_weights(ours.store, kept)
    require_lineage(ours.store, ours.release(kept))
    other = kept.model_copy(update={"adapter": ours.store.put_blob(b"another adapter", ".safetensors")})
    with pytest.raises(LineageError, match="does not know"):
        require_lineage(ours.store, ours.release(other))
    with pytest.raises(LineageError, match="carry its digest"):
        require_lineage(ours.store, ours.release(kept.model_copy(update={"adapter": "imports/adapter.safetensors"})))


def test_the_same_training_may_say_it_again_and_none_says_nothing(ours: Group) -> None:
    bind_weights(ours.store, ours.pointer)
    assert len(list(ours.store.list(LINEAGES.path))) == 1
    with pytest.raises(LineageError, match="name no dataset"):
        bind_weights(ours.store, ours.pointer.model_copy(update={"dataset": ""}))


def test_the_store_is_asked_once_for_what_is_true_and_again_for_what_is_not(ours: Group) -> None:
    checker, made = LineageChecker(ours.store), ours.release(ours.pointer)
    lie = lied(ours, recordings={})
    for _ in range(2):
        checker.require(made)
        with pytest.raises(LineageError):
            checker.require(lie)
    ours.store.delete(ours.dataset.key)
    checker.require(made)
    with pytest.raises(LineageError, match="gone"):
        checker.require(made.model_copy(update={"version": "2"}))


class OvertakingStore(FolderStore):
    """Another process writes its entry between our look and our write."""

    def put(self, key: str, data: bytes, *, only_new: bool = False) -> None:
        super().put(key, data.replace(b"d" * 64, b"e" * 64))
        super().put(key, data, only_new=only_new)


def test_who_comes_second_is_refused_and_changes_nothing(ours: Group, tmp_path: Path) -> None:
    store, pointer = OvertakingStore(tmp_path / "other"), ours.pointer.model_copy(update={"dataset": "d" * 64})
    with pytest.raises(LineageError, match="were trained on dataset e"):
        bind_weights(store, pointer)
    assert find_bound_dataset(store, pointer) == "e" * 64


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"weights": "0", "dataset": "0"}'], ids=["empty", "half", "list", "other"])
def test_an_entry_that_cannot_be_read_refuses(ours: Group, text: bytes) -> None:
    (entry,) = ours.store.list(LINEAGES.path)
    ours.store.put(entry.key, text)
    with pytest.raises(LineageError, match="entry is") as e:
        require_lineage(ours.store, ours.release(ours.pointer))
    assert entry.key in str(e.value)
    assert "Restore it from a backup" in str(e.value)


def test_a_manifest_that_is_gone_changed_or_another_refuses(ours: Group) -> None:
    made = ours.release(ours.pointer)
    other = Manifest("datasets", ours.dataset.rows[:2])
    for data, words in ((other.to_bytes(), "another dataset"), (ours.dataset.to_bytes()[:-9], "cut or changed"), (None, "gone")):
        if data is None:
            ours.store.delete(ours.dataset.key)
        else:
            ours.store.put(ours.dataset.key, data)
        with pytest.raises(LineageError, match=words):
            require_lineage(ours.store, made)


def test_a_dataset_without_recordings_is_no_lineage(ours: Group) -> None:
    with pytest.raises(LineageError, match="no recording"):
        build_lineage(Manifest("datasets", []), ours.pointer, ours.agreement.digest)


def test_everybody_whom_a_row_names_counts(ours: Group) -> None:
    first, *rest = ours.dataset.rows
    more = Manifest("datasets", [first.model_copy(update={"contributors": ("zoe",)}), *rest])
    people = build_lineage(more, ours.pointer, ours.agreement.digest).recordings[first.segment.recording]
    assert set(people) == {*ours.dataset.rows[0].contributors, "zoe"}


class TestOlderWeights:
    """Weights of 0.2 and older have no entry: the cards count that their register wrote into the store."""

    @pytest.fixture
    def old(self, ours: Group) -> Group:
        for entry in list(ours.store.list(LINEAGES.path)):
            ours.store.delete(entry.key)
        ours.release(ours.pointer).save(ours.store)
        return ours

    def test_the_card_is_believed_and_the_registry_is_not(self, old: Group) -> None:
        require_lineage(old.store, old.release(old.pointer))
        with pytest.raises(LineageError, match="another lineage"):
            require_lineage(old.store, lied(old, recordings={}))

    def test_nobody_pretends_to_be_old(self, old: Group) -> None:
        """Without a card in the store, no dataset counts, neither an older one nor one whose digest begins alike."""
        digest = old.pointer.weights_digest[:16] + "0" * 48
        pointer = old.pointer.model_copy(update={"weights_digest": digest, "weights": blob_key(digest, ".safetensors")})
        with pytest.raises(LineageError, match="does not know"):
            require_lineage(old.store, old.release(pointer))

    def test_a_later_binding_does_not_contradict_the_card(self, old: Group) -> None:
        other = old.pointer.model_copy(update={"dataset": "0" * 64})
        with pytest.raises(LineageError, match="were trained on dataset"):
            bind_weights(old.store, other)
        bind_weights(old.store, old.pointer)
        assert [entry.key for entry in old.store.list(LINEAGES.path)]

    def test_cards_that_contradict_each_other_refuse(self, old: Group) -> None:
        card = old.release(old.pointer)
        lineage = card.lineage.model_copy(update={"dataset": "0" * 64})
        card.model_copy(update={"name": "other", "lineage": lineage}).save(old.store)
        with pytest.raises(LineageError, match="several datasets"):
            require_lineage(old.store, card)

    def test_a_damaged_card_is_no_card(self, old: Group) -> None:
        card = old.release(old.pointer)
        old.store.put(card.key, b"{")
        with pytest.raises(LineageError, match="does not know"):
            require_lineage(old.store, card)


def test_each_release_of_an_old_store_has_a_lineage(tmp_path: Path) -> None:
    store = FolderStore(unpack("store", tmp_path))
    cards = [
        Release.model_validate_json(store.get(key)) for key in read_expected()["keys"] if key.startswith("manifests/releases/")
    ]
    assert cards
    for card in cards:
        require_lineage(store, card)
        with pytest.raises(LineageError, match="another lineage"):
            require_lineage(store, card.model_copy(update={"lineage": card.lineage.model_copy(update={"recordings": {}})}))


def test_name_version_and_evaluation_are_no_lineage(ours: Group) -> None:
    judged = Evaluation(metrics={"kad_after": 1.0}, passed=True)
    require_lineage(ours.store, ours.release(ours.pointer).model_copy(update={"evaluation": judged, "version": "7", "name": "x"}))
