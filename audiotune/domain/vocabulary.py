"""The vocabulary: facets, terms with stable ids, and the words that members add. The shipped file beside this one is CC0.

The store has each member's word as a small object under `manifests/vocabulary/`. It is written only if its number is free, and
never deleted: an id keeps its meaning.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from audiotune.errors import AlreadyInStoreError, ManifestError, SettingsError
from audiotune.store.layout import VOCABULARY
from audiotune.store.port import Store

FACETS = ("mood", "type", "texture", "synthesis", "motion")
_FILE = Path(__file__).with_name("vocabulary.toml")
_TRIES = 50
_LONGEST = 60  # letters of a member's word


@dataclass(frozen=True, slots=True)
class Term:
    """A word with a stable id, as in `mood.eerie`. `member` added it; empty for shipped terms."""

    id: str
    facet: str
    label: str
    synonyms: tuple[str, ...] = ()
    member: str = ""
    definition: str = ""


class Vocabulary:
    """All terms: the shipped ones and those that members added."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self._terms: dict[str, Term] = {}
        self._terms_by_name: dict[str, list[Term]] = {}
        for term in terms:
            if term.id in self._terms:
                continue  # an id keeps its first meaning
            self._terms[term.id] = term
            for name in dict.fromkeys([normalise_text(term.label), *map(normalise_text, term.synonyms)]):
                self._terms_by_name.setdefault(name, []).append(term)
        self.longest_words = max((name.count(" ") + 1 for name in self._terms_by_name), default=1)

    @classmethod
    def load(cls, store: Store | None = None) -> Vocabulary:
        """The shipped terms and, with a store, the members' words. Raises ManifestError: a member's word is damaged."""
        keys = [entry.key for entry in store.list(VOCABULARY.path)] if store else []
        return cls([*_load_shipped_terms(), *(_parse_member_term(store.get(key), key) for key in keys if store)])

    @property
    def facets(self) -> tuple[str, ...]:
        return FACETS

    def list_terms(self, facet: str) -> list[Term]:
        """The terms of a facet in the order they were written or added. Empty for an unknown facet."""
        return [term for term in self._terms.values() if term.facet == facet]

    def get_term(self, id: str) -> Term | None:
        return self._terms.get(id)

    def find_terms(self, word: str) -> list[Term]:
        """Terms that a word or phrase names by label or synonym, whatever its case, underscores, plural or take number."""
        spellings = _guess_spellings(normalise_text(word))
        return list(next((self._terms_by_name[guess] for guess in spellings if guess in self._terms_by_name), []))

    def find_tags(self, text: str) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """(facet -> term ids, words that are no terms) of a free text, longest phrases first. camelCase counts as two words."""
        words = normalise_text(_CAMEL.sub(r"\1 \2", text)).split()
        tags, rest, at = dict[str, list[str]](), list[str](), 0
        while at < len(words):
            length, terms = self._match_longest(words, at)
            for term in terms[:1]:
                tags.setdefault(term.facet, []).append(term.id)
            if not terms:
                rest.append(words[at])
            at += length
        return {facet: tuple(dict.fromkeys(ids)) for facet, ids in tags.items()}, tuple(dict.fromkeys(rest))

    def write_caption(self, tags: Mapping[str, Iterable[str]]) -> str:
        """Readable words for term ids by facet: "dark metallic drone, FM, swelling"; empty without tags."""
        words = {facet: " ".join(self._find_label(id) for id in dict.fromkeys(tags.get(facet, ()))) for facet in FACETS}
        kind = words["type"] or ("sound" if words["mood"] or words["texture"] else "")
        head = " ".join(filter(None, (words["mood"], words["texture"], kind)))
        return ", ".join(filter(None, (head, words["synthesis"], words["motion"])))

    def add_word(self, store: Store, facet: str, label: str, member: str) -> Term:
        """Adds a member's word, or returns the existing term. Raises SettingsError: an unknown facet, or a word without letters."""
        name = normalise_text(label)
        if facet not in FACETS:
            raise SettingsError(f"no facet {facet!r}", cure=f"take one of: {', '.join(FACETS)}")
        if not re.search(r"[^\W\d]", name) or len(name) > _LONGEST:
            raise SettingsError(f"{label[:_LONGEST]!r} is no word", cure=f"write 1 to {_LONGEST} letters")
        for _ in range(_TRIES):
            keys = [
                entry.key for entry in store.list(VOCABULARY.path)
            ]  # before the terms are read: a word added meanwhile takes this number
            known = Vocabulary([*_load_shipped_terms(), *(_parse_member_term(store.get(key), key) for key in keys)])
            existing = [term for term in known.find_terms(name) if term.facet == facet]
            if existing:
                return existing[0]
            term = Term(f"{facet}.{name.replace(' ', '_')}", facet, name, (), member)
            body = {"id": term.id, "facet": facet, "label": name, "member": member}
            try:
                store.put(VOCABULARY.key(f"{_next_number(keys):06d}.json"), json.dumps(body).encode(), only_new=True)
            except AlreadyInStoreError:
                continue  # somebody else added a word meanwhile
            return term
        raise SettingsError("too many people add words at once", cure="try again")

    def _match_longest(self, words: list[str], at: int) -> tuple[int, list[Term]]:
        """How many words from `at` name a term, and the terms; (1, []) when none do."""
        for length in range(min(self.longest_words, len(words) - at), 0, -1):
            terms = self.find_terms(" ".join(words[at : at + length]))
            if terms:
                return length, terms
        return 1, []

    def _find_label(self, id: str) -> str:
        term = self._terms.get(id)
        return term.label if term else id.rpartition(".")[2].replace("_", " ")


_CAMEL = re.compile(r"([a-z])([A-Z])")


def normalise_text(text: str) -> str:
    """Small letters, single spaces, no underscores or other signs."""
    return " ".join(re.sub(r"[^\w]+|_", " ", text.lower()).split())


def _guess_spellings(name: str) -> Iterator[str]:
    """The name, then without a take's number (`laser3`), each also in the singular."""
    bare = re.sub(r"(?<=[a-z])\d{1,2}[a-z]?$", "", name)
    for guess in dict.fromkeys((name, bare)):
        yield guess
        yield guess.removesuffix("s")
        yield guess.removesuffix("es")


def _next_number(keys: list[str]) -> int:
    return 1 + max((int(key.rpartition("/")[2].partition(".")[0]) for key in keys), default=0)


@functools.cache
def _load_shipped_terms() -> tuple[Term, ...]:
    data = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(
        Term(f"{facet}.{name}", facet, about.get("label", name.replace("_", " ")), tuple(about["also"]), "", about["is"])
        for facet in FACETS
        for name, about in data[facet].items()
    )


def _parse_member_term(data: bytes, key: str) -> Term:
    try:
        body = json.loads(data)
        return Term(body["id"], body["facet"], body["label"], (), body["member"])
    except (ValueError, KeyError, TypeError) as e:
        raise ManifestError("a member's word is damaged", where=key, cure="restore it from a backup, or delete it") from e
