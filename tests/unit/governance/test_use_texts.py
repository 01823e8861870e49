from __future__ import annotations

import hashlib

from audiotune.governance.agreement import ALL_USES
from audiotune.governance.use_texts import USE_TEXTS, USE_WORDS, build_use_text, compute_text_digest, find_use_text


def test_every_use_has_words_in_every_version() -> None:
    assert set(USE_WORDS) == set(ALL_USES)
    assert all(set(texts) == set(ALL_USES) for texts in USE_TEXTS.values())


def test_the_words_of_version_one_never_change() -> None:
    """Consents keep this digest: whoever changes a text adds a version."""
    assert compute_text_digest(ALL_USES, 1) == "8260054c2379bfc2f5b3ad169f8a6e794a39c4aeee5ef97c049cbadb42ef8d3c"


def test_anybody_finds_the_words_behind_a_digest() -> None:
    text = build_use_text(["train", "store"])
    assert text.splitlines() == [USE_TEXTS[1]["store"], USE_TEXTS[1]["train"]]
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert compute_text_digest(["store", "train"]) == digest
    assert find_use_text(digest) == text
    assert find_use_text("0" * 64) == ""
    assert compute_text_digest([]) == ""
