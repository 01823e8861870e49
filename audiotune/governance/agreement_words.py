"""An agreement's kinds of decision, rules and licences in the words that members read; `use_texts` has those of uses."""

from __future__ import annotations

from audiotune.governance.agreement_record import DecisionRule, ProposalKind

KIND_WORDS: dict[ProposalKind, str] = {
    "agreement": "change the agreement",
    "champion": "let a release play",
    "publish_release": "give a release to others",
    "foreign_recording": "take a recording from outside",
    "take_in": "take somebody in",
    "exclude": "exclude somebody",
    "owner": "make somebody an owner",
    "split_income": "split income",
    "other": "something else",
}
RULE_WORDS = {
    "majority": "more yes than no",
    "two_thirds": "two thirds of the votes",
    "everybody": "everybody says yes",
    "veto": "accepted unless somebody says no",
}
# SPDX id -> words; the ids that begin with LicenseRef are ours (SPDX 3, annex D).
LICENCE_WORDS = {
    "LicenseRef-members-only": "for the members only",
    "LicenseRef-co-owned-by-the-members": "owned by the members together",
    "CC0-1.0": "anybody may do anything with it",
    "CC-BY-4.0": "anybody may use it, and names us",
    "CC-BY-3.0": "anybody may use it, and names us (version 3)",
    "CC-BY-SA-4.0": "anybody may use it, names us, and shares alike",
    "CC-BY-NC-4.0": "anybody may use it without earning money, and names us",
    "CC-BY-NC-SA-4.0": "anybody may use it without earning money, names us, and shares alike",
    "CC-BY-ND-4.0": "anybody may pass it on unchanged, and names us",
}


def describe_licence(licence: str) -> str:
    """Words and SPDX id; the text itself where it is another."""
    return f"{LICENCE_WORDS[licence]} ({licence})" if licence in LICENCE_WORDS else licence


def describe_rule(rule: DecisionRule) -> str:
    """As in "more yes than no, 60% must vote, within 7 days"."""
    quorum = f", {rule.quorum:.0%} must vote" if rule.quorum and rule.needs in ("majority", "two_thirds") else ""
    return f"{RULE_WORDS[rule.needs]}{quorum}, within {rule.days:g} days"
