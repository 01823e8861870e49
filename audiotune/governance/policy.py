"""The policy: may these recordings pass this gate? Ingest, annotate-merge, finetune, register and generation ask it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from audiotune.domain.recording import Digest
from audiotune.errors import AgreementError, ConsentError
from audiotune.governance.agreement import Agreement, Use, read_current_agreement
from audiotune.governance.consent import Consent, read_consents
from audiotune.store.port import Store

Gate = Literal["ingest", "annotate_merge", "finetune", "register", "champion", "generate"]

# What a contributor must have agreed to for a recording to pass each gate.
REQUIRED_USES: dict[Gate, Use] = {
    "ingest": "store",
    "annotate_merge": "train",
    "finetune": "train",
    "register": "release",
    "champion": "release",
    "generate": "generate",
}


@dataclass(frozen=True)
class PolicyDecision:
    """The policy's decision. `refused` maps a recording to its reasons; all others are allowed."""

    gate: Gate
    refused: dict[Digest, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_allowed(self) -> bool:
        return not self.refused

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for reasons in self.refused.values() for reason in reasons))


def decide_policy(
    gate: Gate,
    agreement: Agreement,
    consents: Mapping[tuple[Digest, str], Consent],
    recordings: Mapping[Digest, Iterable[str]],
) -> PolicyDecision:
    """Decides for each recording.

    Args:
        gate: the gate to pass.
        agreement: the one in force.
        consents: newest records by (recording, contributor); at ingest, where no record can exist yet, standing consent counts.
        recordings: recording id -> contributors.
    """
    refused = {}
    for recording, contributors in recordings.items():
        reasons = tuple(_list_objections(gate, agreement, consents, recording, tuple(contributors)))
        if reasons:
            refused[recording] = reasons
    return PolicyDecision(gate, refused)


def require_permission(store: Store, gate: Gate, recordings: Mapping[Digest, Iterable[str]]) -> Agreement:
    """Decides with the store's agreement and consents, and returns the agreement.

    Raises AgreementError: the store has none. Raises ConsentError, with the reasons: somebody has not agreed.
    """
    agreement = read_current_agreement(store)
    if agreement is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="ingest with --agreement agreement.toml first")
    decision = decide_policy(gate, agreement, read_consents(store, recordings), recordings)
    if not decision.is_allowed:
        raise ConsentError(
            f"{len(decision.refused)} of {len(recordings)} recordings may not pass: " + "; ".join(decision.reasons[:12]),
            where=f"gate {gate}",
            cure="ask the members named for their consent, or leave those recordings out",
        )
    return agreement


def _list_objections(
    gate: Gate,
    agreement: Agreement,
    consents: Mapping[tuple[Digest, str], Consent],
    recording: Digest,
    contributors: tuple[str, ...],
) -> Iterable[str]:
    need = REQUIRED_USES[gate]
    if need not in agreement.allowed_uses:
        yield f"the agreement does not allow to {need}"
    if not contributors:
        yield "nobody is named as contributor"
    for contributor in contributors:
        member = agreement.find_member(contributor)
        if member is None:
            yield f"{contributor!r} is no member in the agreement"
        elif member.left:
            yield f"{contributor} has left the group"
        else:
            consent = consents.get((recording, contributor))
            standing = member.consents_to if gate == "ingest" else ()
            if need not in (consent.uses if consent else standing):
                yield f"{contributor} has not agreed to {need}"
