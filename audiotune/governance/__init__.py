"""Who owns what and who agreed to what: the agreement as a file, consent as records, one policy function for every gate."""

from audiotune.governance.agreement import Agreement, Member, current_agreement, load_agreement, publish
from audiotune.governance.consent import Consent, consents_for, record
from audiotune.governance.policy import Decision, Gate, ask, require

__all__ = [
    "Agreement",
    "Consent",
    "Decision",
    "Gate",
    "Member",
    "ask",
    "consents_for",
    "current_agreement",
    "load_agreement",
    "publish",
    "record",
    "require",
]
