from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from audiotune.audio.synthesizer.patch import ENVELOPES, REGISTERS, TIMBRES
from audiotune.domain.vocabulary import FACETS, Term, Vocabulary
from audiotune.errors import ManifestError, SettingsError
from audiotune.store import FolderStore
from tests.fakes.layout_store import LayoutStore


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return Vocabulary.load()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def ids(found: list[Term]) -> list[str]:
    return [term.id for term in found]


def test_about_180_terms_each_with_a_meaning(words: Vocabulary) -> None:
    terms = [term for facet in words.facets for term in words.list_terms(facet)]
    assert 170 <= len(terms) <= 200
    assert len({term.id for term in terms}) == len(terms)
    for term in terms:
        assert term.id.startswith(f"{term.facet}.")
        assert term.definition, term.id
        assert term.label, term.id


def test_every_label_finds_its_own_term_first_in_its_facet(words: Vocabulary) -> None:
    for facet in FACETS:
        for term in words.list_terms(facet):
            assert ids([t for t in words.find_terms(term.label) if t.facet == facet])[0] == term.id


def test_no_word_means_two_things_in_one_facet(words: Vocabulary) -> None:
    for facet in FACETS:
        seen: dict[str, str] = {}
        for term in words.list_terms(facet):
            for name in (term.label.lower(), *term.synonyms):
                assert seen.setdefault(name, term.id) == term.id, name


@pytest.mark.parametrize(
    ("word", "id"),
    [
        ("eerie", "mood.eerie"), ("EERIE", "mood.eerie"), ("drones", "type.drone"), ("filter_sweep", "synthesis.filter_sweep"),
        ("Ring Modulation", "synthesis.ring"), ("FM", "synthesis.fm"), ("laser3", "type.laser"), ("arpeggio1a", "type.arpeggio"),
        ("crashes", "type.impact"), ("glass", "texture.glassy"), ("sci-fi", "mood.futuristic"),
    ],
)  # fmt: skip
def test_words_are_found_however_they_are_written(words: Vocabulary, word: str, id: str) -> None:
    assert ids(words.find_terms(word))[0] == id


@pytest.mark.parametrize("word", ["", "   ", "_", "qwertz", "s", "7", "💥"])
def test_what_is_no_term_is_not_found(words: Vocabulary, word: str) -> None:
    assert words.find_terms(word) == []


def test_every_word_of_the_synthesizer_is_a_term(words: Vocabulary) -> None:
    qualities = (
        "dark",
        "bright",
        "harsh",
        "metallic",
        "hollow",
        "warm",
        "soft",
        "airy",
        "wobbling",
        "trembling",
        "rising",
        "falling",
    )
    for word in (*REGISTERS, *ENVELOPES, *TIMBRES, *qualities):
        assert words.find_terms(word), word


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("Resonant_FM_laser1", {"synthesis": ("synthesis.resonant", "synthesis.fm"), "type": ("type.laser",)}),
        ("eerie_synth7", {"mood": ("mood.eerie",), "type": ("type.synth",)}),
        ("synth_siren4_short", {"type": ("type.synth", "type.siren"), "motion": ("motion.short",)}),
        ("arpeggio_shortFX2", {"type": ("type.arpeggio", "type.effect"), "motion": ("motion.short",)}),
    ],
)
def test_the_names_musicians_give(words: Vocabulary, name: str, tags: dict[str, tuple[str, ...]]) -> None:
    found, _ = words.find_tags(name)
    assert {facet: set(found[facet]) for facet in found} == {facet: set(tags[facet]) for facet in tags}


def test_other_words_are_kept(words: Vocabulary) -> None:
    _, rest = words.find_tags("a drone like Grandma's fridge")
    assert rest == ("a", "like", "grandma", "s", "fridge")


@pytest.mark.parametrize(
    ("tags", "caption"),
    [
        ({}, ""),
        ({"mood": ("mood.dark",), "texture": ("texture.metallic",), "type": ("type.drone",), "synthesis": ("synthesis.fm",),
          "motion": ("motion.swelling",)}, "dark metallic drone, FM, swelling"),
        ({"mood": ("mood.dark",)}, "dark sound"),
        ({"synthesis": ("synthesis.fm",)}, "FM"),
        ({"type": ("type.old_radio", "type.drone")}, "old radio drone"),
    ],
)  # fmt: skip
def test_captions_read_well(words: Vocabulary, tags: dict[str, tuple[str, ...]], caption: str) -> None:
    assert words.write_caption(tags) == caption


def test_members_add_words_once(store: FolderStore) -> None:
    words = Vocabulary.load(store)
    first = words.add_word(store, "texture", " Cat-Like ", "ana")
    assert (first.id, first.label, first.member) == ("texture.cat_like", "cat like", "ana")
    assert words.add_word(store, "texture", "cat like", "ben").member == "ana"
    assert words.add_word(store, "type", "drones", "ben").id == "type.drone"  # it is there already
    assert [entry.key for entry in store.list("manifests/vocabulary/")] == ["manifests/vocabulary/000001.json"]
    again = Vocabulary.load(store)
    assert ids(again.find_terms("Cat_Like")) == ["texture.cat_like"]
    assert again.get_term("texture.cat_like") == first


@pytest.mark.parametrize(
    ("facet", "label"), [("taste", "sweet"), ("mood", ""), ("mood", "  __ "), ("mood", "77"), ("mood", "x" * 61)]
)
def test_what_is_no_word_is_refused(store: FolderStore, facet: str, label: str) -> None:
    with pytest.raises(SettingsError):
        Vocabulary.load().add_word(store, facet, label, "ana")
    assert list(store.list("")) == []


def test_nobody_loses_a_word_when_all_add_at_once(store: FolderStore) -> None:
    together = [
        threading.Thread(target=Vocabulary.load().add_word, args=(store, "mood", f"mood{'abcdefgh'[i]}", "ana")) for i in range(8)
    ]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    own = [term for term in Vocabulary.load(store).list_terms("mood") if term.member]
    assert len(own) == 8


def test_a_deleted_number_is_never_given_again_below_the_last(store: FolderStore) -> None:
    words = Vocabulary.load()
    for label in ("oink", "moo"):
        words.add_word(store, "type", label, "ana")
    store.delete("manifests/vocabulary/000001.json")
    words.add_word(store, "type", "meow", "ana")
    assert store.exists("manifests/vocabulary/000003.json")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"id": "mood.x"}', b"null"])
def test_a_damaged_word_says_where(store: FolderStore, body: bytes) -> None:
    store.put("manifests/vocabulary/000001.json", body)
    with pytest.raises(ManifestError, match="000001"):
        Vocabulary.load(store)


def test_an_id_keeps_its_first_meaning(store: FolderStore) -> None:
    body = {"id": "mood.dark", "facet": "mood", "label": "light", "member": "eve"}
    store.put("manifests/vocabulary/000001.json", json.dumps(body).encode())
    term = Vocabulary.load(store).get_term("mood.dark")
    assert term is not None
    assert term.label == "dark"
