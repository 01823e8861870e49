"""The vocabulary: facets, terms with stable ids, and the words members add. Ours is CC0 and lies beside this file.

Members' words live in the store under `manifests/vocabulary/`, one small object each, written only if its number is free.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audiotune.errors import AlreadyInStoreError, SettingsError
from audiotune.store.port import Store

FACETS = ("mood", "type", "texture", "synthesis", "motion")
_PREFIX = "manifests/vocabulary/"
_FILE = Path(__file__).with_name("vocabulary.toml")
_ORDER = ("mood", "texture", "motion", "synthesis", "type")  # how a caption is spoken: "dark metallic rising fm drone"
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Term:
    """A word with a stable id, as in `mood.eerie`. `member` is who added it; empty for those that ship."""

    id: str
    facet: str
    label: str
    synonyms: tuple[str, ...] = ()
    member: str = ""


class Vocabulary:
    """All terms, those that ship and those the members added."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self._terms = {term.id: term for term in terms}
        self._found: dict[str, list[Term]] = {}
        for term in self._terms.values():
            for name in {plain(term.label), *map(plain, term.synonyms)}:
                self._found.setdefault(name, []).append(term)
        self.longest_words = max(name.count(" ") + 1 for name in self._found)

    @classmethod
    def load(cls, store: Store | None = None) -> Vocabulary:
        """The words that ship and, with a store, the members' own."""
        own = [] if store is None else [_own(store.get(entry.key)) for entry in store.list(_PREFIX)]
        return cls([*_shipped(), *own])

    @property
    def facets(self) -> tuple[str, ...]:
        return FACETS

    def terms(self, facet: str) -> list[Term]:
        """The terms of a facet in the order they were written or added. Empty for an unknown facet."""
        return [term for term in self._terms.values() if term.facet == facet]

    def term(self, id: str) -> Term | None:
        return self._terms.get(id)

    def find(self, word: str) -> list[Term]:
        """Terms that a word or phrase names: label or synonym, whatever its case, underscores, plural or take number."""
        name = plain(word)
        bare = re.sub(r"(?<=[a-z])\d+$", "", name)
        guesses = (name, name.removesuffix("s"), bare, bare.removesuffix("s"))
        return list(next((self._found[guess] for guess in guesses if guess in self._found), []))

    def tags_in(self, text: str) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """(facet -> term ids, words that are no terms) of a free text, longest phrases first."""
        words, tags, rest, at = plain(text).split(), dict[str, list[str]](), list[str](), 0
        while at < len(words):
            for length in range(min(self.longest_words, len(words) - at), 0, -1):
                terms = self.find(" ".join(words[at : at + length]))
                if terms:
                    break
            for term in terms[:1]:
                tags.setdefault(term.facet, []).append(term.id)
            if not terms:
                rest.append(words[at])
            at += length
        return {facet: tuple(dict.fromkeys(ids)) for facet, ids in tags.items()}, tuple(dict.fromkeys(rest))

    def caption_for(self, tags: Mapping[str, Iterable[str]]) -> str:
        """Readable words for term ids by facet: "dark, metallic, rising fm drone"; empty without tags."""
        spoken = [[self._label(id) for id in tags.get(facet, ())] for facet in _ORDER]
        return " ".join(label for labels in spoken for label in labels)

    def add(self, store: Store, facet: str, label: str, member: str) -> Term:
        """Adds a member's word, or returns the term that is there already.

        Raises:
            SettingsError: an unknown facet, or a word without letters.
        """
        name = plain(label)
        if facet not in FACETS:
            raise SettingsError(f"no facet {facet!r}", cure=f"take one of: {', '.join(FACETS)}")
        if not name or len(name) > 60:
            raise SettingsError(f"{label[:60]!r} is no word", cure="write 1 to 60 letters")
        for _ in range(_TRIES):
            now = Vocabulary.load(store)
            there = [term for term in now.find(name) if term.facet == facet]
            if there:
                return there[0]
            term = Term(f"{facet}.{name.replace(' ', '_')}", facet, name, (), member)
            body = {"id": term.id, "facet": facet, "label": name, "member": member}
            try:
                store.put(
                    f"{_PREFIX}{sum(1 for _ in store.list(_PREFIX)) + 1:06d}.json", json.dumps(body).encode(), only_new=True
                )
            except AlreadyInStoreError:
                continue  # somebody else added a word just now: look again
            return term
        raise SettingsError("too many people add words at once", cure="try again")

    def _label(self, id: str) -> str:
        term = self._terms.get(id)
        return term.label if term else id.rpartition(".")[2].replace("_", " ")


def plain(text: str) -> str:
    """Small letters, single spaces, no underscores or other signs."""
    return " ".join(re.sub(r"[^\w]+|_", " ", text.lower()).split())


@functools.cache
def _shipped() -> tuple[Term, ...]:
    data = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    named = ((facet, name, tuple(synonyms)) for facet in FACETS for name, synonyms in data[facet].items())
    return tuple(Term(f"{facet}.{name}", facet, name.replace("_", " "), synonyms) for facet, name, synonyms in named)


def _own(data: bytes) -> Term:
    body = json.loads(data)
    return Term(body["id"], body["facet"], body["label"], (), body["member"])
