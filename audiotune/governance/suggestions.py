"""What somebody probably meant: the member id for a name, and the agreement's licence for a licence in people's own words.

Only suggested, never taken: a licence and a contributor are said by people.
"""

import difflib
import re

from audiotune.governance.agreement import Agreement

_CC_WORDS = (
    (
        r"https?://|www\.|creativecommons\.org/(licenses|publicdomain)/|/(legalcode|deed)(\.\w+)?|spdx\.org/licenses/|\.(html|json)$",
        " ",
    ),
    (r"creative\s*commons", "cc"),
    (r"cc[\s-]*(0|zero)\b|public\s*domain\s*dedication|\bzero\b", "cc0"),
    (r"\bcc\s+cc0", "cc0"),
    (r"attribution|namensnennung|atribución|paternité", "by"),
    (r"non[\s-]*commercial|nicht[\s-]*kommerziell", "nc"),
    (r"share[\s-]*alike|weitergabe unter gleichen bedingungen", "sa"),
    (r"no[\s-]*deriv(ative)?s?(works)?|keine[\s-]*bearbeitung(en)?", "nd"),
    (r"\b(international|unported|generic|universal|intl|deed|licen[cs]ed?|lizenz|version|the|under|a)\b", " "),
    (r"\bv(?=\d)", " "),
)
_CC_PARTS = frozenset(("cc", "cc0", "by", "nc", "sa", "nd"))


def suggest_member(agreement: Agreement, text: str) -> str:
    """The id of the member who is probably meant: by another case, by the name, or by a slip of the pen; "" for nobody."""
    by_word: dict[str, str] = {}
    for member in agreement.members:
        if not member.left:
            by_word |= dict.fromkeys((*member.name.casefold().split(), member.name.casefold(), member.id.casefold()), member.id)
    near = difflib.get_close_matches(text[:100].strip().casefold(), by_word, n=1, cutoff=0.7)
    return by_word[near[0]] if near else ""


def suggest_licence(agreement: Agreement, text: str) -> str:
    """The accepted licence that is probably meant; "" for none.

    Creative Commons licences are compared by their parts: BY-NC is near BY in letters, and another licence.
    """
    accepted = dict.fromkeys((agreement.recordings_licence, *agreement.accepted_licences))
    parts = _split_creative_commons(text)
    if parts is None:
        near = difflib.get_close_matches(text.casefold(), [licence.casefold() for licence in accepted], n=1, cutoff=0.7)
        return next((licence for licence in accepted if near and licence.casefold() == near[0]), "")
    fitting = [licence for licence in accepted if _fits(parts, _split_creative_commons(licence))]
    return fitting[0] if len(fitting) == 1 else ""


def _fits(said: tuple[frozenset[str], str], accepted: tuple[frozenset[str], str] | None) -> bool:
    return accepted is not None and said[0] == accepted[0] and said[1] in ("", accepted[1])


def _split_creative_commons(text: str) -> tuple[frozenset[str], str] | None:
    """The parts (by, nc, sa, nd, or cc0) and the version, "" where none is said; None for other licences."""
    words = text.casefold()
    for pattern, replacement in _CC_WORDS:
        words = re.sub(pattern, replacement, words)
    tokens = [token for token in re.split(r"[\s/_(),:;\u2010-\u2015-]+", words) if token]
    version = next((token for token in tokens if re.fullmatch(r"\d\.\d", token)), "")
    parts = frozenset(token for token in tokens if token in _CC_PARTS)
    unknown = [token for token in tokens if token not in _CC_PARTS and token != version]
    if not parts or unknown:
        return None
    return parts - {"cc"} or parts, version
