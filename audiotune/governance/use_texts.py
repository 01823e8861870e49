"""The words that members see before they agree to a use, each with a version. A consent keeps the digest of the words that were shown.

To change a text: add a version; the earlier ones stay, so that anybody can find the words behind an old consent. Nothing else is
hashed: the digest of some uses is the SHA-256 of their texts, one a line, in the order of `ALL_USES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from itertools import combinations

from audiotune.domain.recording import Digest
from audiotune.governance.agreement_record import ALL_USES, Use

USE_WORDS: Mapping[Use, str] = {
    "store": "keep recordings",
    "train": "train on them",
    "release": "give releases out",
    "generate": "make new sounds",
    "publish": "publish outside the group",
    "earn": "earn money with them",
}
# version -> use -> text
USE_TEXTS: Mapping[int, Mapping[Use, str]] = {
    1: {
        "store": "Keep: the group keeps the recording, cuts it into segments, listens to them and describes them.",
        "train": "Train: the group trains models on its segments. A model can then sound like it.",
        "release": "Release: a model trained with it is given to the members as a release, and each member may take it away.",
        "generate": "Generate: members make new sounds with releases that were trained with it.",
        "publish": "Publish: such a release, or the recording, is given to people outside the group. It cannot be called back.",
        "earn": "Earn: the group may earn money with what was made of it. The agreement says how income is split.",
    },
}
NEWEST = max(USE_TEXTS)


def build_use_text(uses: Collection[Use], version: int = NEWEST) -> str:
    """The words about some uses, one a line."""
    return "\n".join(USE_TEXTS[version][use] for use in ALL_USES if use in uses)


def compute_text_digest(uses: Collection[Use], version: int = NEWEST) -> Digest:
    """What a consent to these uses keeps; empty where it names none."""
    return hashlib.sha256(build_use_text(uses, version).encode()).hexdigest() if uses else ""


def find_use_text(digest: Digest) -> str:
    """The words behind a digest; empty where no version of this program has them."""
    for version in USE_TEXTS:
        for count in range(1, len(ALL_USES) + 1):
            for uses in combinations(ALL_USES, count):
                if compute_text_digest(uses, version) == digest:
                    return build_use_text(uses, version)
    return ""
