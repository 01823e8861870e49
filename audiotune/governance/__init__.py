"""Ownership and consent: the group's agreement, members' consent records, and one policy function for every gate."""

from audiotune.governance.agreement import Agreement, Member, load_agreement, publish_agreement, read_current_agreement
from audiotune.governance.consent import Consent, list_heard, read_consents, read_standing, record_consent, record_decision
from audiotune.governance.policy import Gate, PolicyDecision, decide_policy, require_permission

__all__ = [
    "Agreement",
    "Consent",
    "Gate",
    "Member",
    "PolicyDecision",
    "decide_policy",
    "list_heard",
    "load_agreement",
    "publish_agreement",
    "read_consents",
    "read_current_agreement",
    "read_standing",
    "record_consent",
    "record_decision",
    "require_permission",
]
