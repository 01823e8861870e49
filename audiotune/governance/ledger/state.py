"""What the ledger's events add up to: a pure fold, the same for whoever reads it.

An event that breaks a rule (a vote after the end, a word of somebody who has left) changes nothing; its number and the reason are kept.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.recording import Digest
from audiotune.governance.agreement_record import Agreement, Use
from audiotune.governance.consent_record import Consent, StandingConsent
from audiotune.governance.ledger.events import FIRST
from audiotune.governance.proposal import Proposal
from audiotune.governance.waiting_record import WaitingRecording
from audiotune.governance.withdrawal_record import ErasureRound, Withdrawal


class ServiceKey(FrozenModel):
    """A key that takes events in. `introduced_by`: the key that vouched for it; its own id where none did."""

    public: str  # 64 hexadecimal digits
    introduced_by: str
    number: int


class MemberKey(FrozenModel):
    """A member's key.

    Attributes:
        lost: number of the event in which its member said that it is lost; 0 while nothing was said.
        revoked: number of the event that ended it; 0 while it counts.
    """

    member: str
    public: str
    label: str = ""
    number: int
    lost: int = 0
    revoked: int = 0


@dataclass
class GovernanceState:
    """The state after event `number`, whose digest is `head`.

    Attributes:
        agreements: digest -> version; `agreement` is the one in force.
        agreement_text: digest of the newest version that was written as a whole; later ones only differ in who joined or left.
        member_changes: member -> number of the event by which they joined, left or were excluded; a text does not undo it unless its
            writer saw it.
        champions: release -> the version that the group decided to let play.
        decided_owners: members whom the group made owners.
        foreign_recordings: recording from outside -> number of the proposal that took it in.
        signatures: digest of an agreement -> member -> number of the event in which they signed it.
        consents: recording -> contributor -> the record that counts. Inner mappings are replaced, never changed.
        standing: member -> what they agree to for all their recordings, where they said so themselves.
        proposals: by the number of the event that opened each.
        withdrawals: by the number of the event that recorded each.
        erasures: number of a withdrawal -> what was erased after it, in rounds.
        taken_back: member -> recording, or ALL_RECORDINGS -> uses that nobody but the member gives again.
        waiting: recording -> its waiting for somebody's word, also after it ended.
        in_force: earlier records were taken over, so that this state counts.
        unreadable_agreement: version of the newest earlier agreement where it could not be read; 0 otherwise.
        rejected: (number, reason) of events that broke a rule.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # a snapshot of a newer program is not misread, but left aside

    number: int = 0
    head: Digest = FIRST
    in_force: bool = False
    agreement: Agreement | None = None
    unreadable_agreement: int = 0
    agreements: dict[Digest, int] = field(default_factory=dict)
    agreement_text: Digest = ""
    member_changes: dict[str, int] = field(default_factory=dict)
    champions: dict[str, str] = field(default_factory=dict)
    decided_owners: dict[str, int] = field(default_factory=dict)
    foreign_recordings: dict[Digest, int] = field(default_factory=dict)
    signatures: dict[Digest, dict[str, int]] = field(default_factory=dict)
    consents: dict[Digest, dict[str, Consent]] = field(default_factory=dict)
    standing: dict[str, StandingConsent] = field(default_factory=dict)
    service_keys: dict[str, ServiceKey] = field(default_factory=dict)
    member_keys: dict[str, MemberKey] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)
    withdrawals: dict[int, Withdrawal] = field(default_factory=dict)
    erasures: dict[int, tuple[ErasureRound, ...]] = field(default_factory=dict)
    taken_back: dict[str, dict[Digest, tuple[Use, ...]]] = field(default_factory=dict)
    waiting: dict[Digest, WaitingRecording] = field(default_factory=dict)
    rejected: list[tuple[int, str]] = field(default_factory=list)

    @property
    def agreement_digest(self) -> Digest:
        """Of the agreement in force, which is the last one that took force. Not computed anew: a ledger has many events."""
        return next(reversed(self.agreements))

    def copy(self) -> GovernanceState:
        """A copy whose collections can be changed without changing these."""
        changed: dict[str, Any] = {
            f.name: value.copy() for f in dataclasses.fields(self) if isinstance(value := getattr(self, f.name), dict | list)
        }
        return dataclasses.replace(self, **changed)


_STATE: TypeAdapter[GovernanceState] = TypeAdapter(GovernanceState)


def dump_state(state: GovernanceState) -> bytes:
    return _STATE.dump_json(state)


def parse_state(data: bytes) -> GovernanceState:
    """Raises ValueError: no state of this version."""
    return _STATE.validate_json(data)
