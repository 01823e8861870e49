"""The vocabulary of the annotate page: facets and terms as plain data, checked tags, members' own words."""

from collections.abc import Mapping, Sequence
from typing import Any

from audiotune.domain.vocabulary import Term, Vocabulary
from audiotune.errors import AudioTuneError
from audiotune.store.port import Store

_LONGEST_WORD = 60


class StoredVocabulary:
    """Reads the vocabulary from the store for each call: every studio on the store sees a new word at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_facets(self) -> list[dict[str, Any]]:
        """Facets in their order with their terms: `id`, `label`, `terms` of `id`, `label`, `hint`, `search`."""
        vocabulary = Vocabulary.load(self._store)
        return [
            {"id": facet, "label": facet.capitalize(), "terms": [_describe_term(term) for term in vocabulary.list_terms(facet)]}
            for facet in vocabulary.facets
        ]

    def check_tags(self, tags: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """The tags, each once, empty facets left out. Raises AudioTuneError for an unknown facet or term."""
        vocabulary = Vocabulary.load(self._store)
        known = {facet: {term.id for term in vocabulary.list_terms(facet)} for facet in vocabulary.facets}
        for facet, terms in tags.items():
            unknown = [term for term in terms if term not in known.get(facet, set())]
            if unknown:
                raise AudioTuneError(f"{unknown[0]!r} is no word of {facet}", cure="load the page again, or add the word")
        return {facet: tuple(dict.fromkeys(terms)) for facet, terms in tags.items() if terms}

    def add_term(self, facet: str, word: str, member: str) -> tuple[str, str]:
        """Adds a member's own word and returns its id and label; an existing word stays as it is.

        Raises AudioTuneError for an empty or long word or an unknown facet.
        """
        word = " ".join(word.split())
        if not word:
            raise AudioTuneError("the word is empty", cure="write one")
        if len(word) > _LONGEST_WORD:
            raise AudioTuneError(f"a word of {len(word)} letters", cure="put long words into the field below the sound")
        term = Vocabulary.load(self._store).add_word(self._store, facet, word, member)
        return term.id, term.label


def _describe_term(term: Term) -> dict[str, str]:
    hint = f"also: {', '.join(term.synonyms)}" if term.synonyms else f"added by {term.member}" if term.member else ""
    return {"id": term.id, "label": term.label, "hint": hint, "search": " ".join((term.label, *term.synonyms)).lower()}
