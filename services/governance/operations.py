"""What callers may ask for: each operation's body, its callers and its work. The names are those of the ports' methods."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiotune.access.identities import LONGEST
from audiotune.access.writer import StoreAccessWriter
from audiotune.domain.member import MemberId
from audiotune.domain.recording import MOST_CONTRIBUTORS, Digest
from audiotune.errors import AgreementError, ForbiddenError, GovernanceError
from audiotune.governance import Agreement, read_current_agreement
from audiotune.governance.agreement import Use
from audiotune.governance.ledger.agreement_events import complete_agreement
from audiotune.governance.ledger.erasure_events import ErasureDone
from audiotune.governance.ledger.events import MemberSignature
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.waiting_upkeep import UpkeepReport
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.store.port import Store
from services.governance.provider import ProviderTokens
from services.governance.settings import GovernanceSettings

Caller = Literal["studio", "ingest", "erasure"]
Password = Annotated[str, Field(max_length=1024, repr=False)]
Ticket = Annotated[str, Field(max_length=256, repr=False)]
Body = TypeVar("Body", bound=BaseModel)


class RequestBody(BaseModel):
    """Refuses unknown fields and other types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AgreementBody(RequestBody):
    agreement: Agreement


class StandingConsentsBody(RequestBody):
    agreement: Digest
    recording: Digest
    contributors: list[MemberId] = Field(max_length=MOST_CONTRIBUTORS)
    sounds_like: dict[Digest, Annotated[list[MemberId], Field(max_length=MOST_CONTRIBUTORS)]] = Field(
        {}, max_length=2 * MOST_CONTRIBUTORS
    )


class HoldBody(RequestBody):
    agreement: Digest
    recording: Digest
    contributors: list[MemberId] = Field(max_length=MOST_CONTRIBUTORS)
    sound: str = Field(default="", max_length=300)
    uploaded_by: MemberId | Literal[""] = ""


class NoBody(RequestBody):
    """Nothing is said."""


class SignInBody(RequestBody):
    member: str = Field(max_length=64)
    password: Password


class VouchBody(RequestBody):
    member: MemberId
    id_token: str = Field(max_length=20_000, repr=False)


class NewPasswordBody(RequestBody):
    ticket: Ticket
    old: Password
    new: Password
    keep_tokens: bool = False


class OtherMemberBody(RequestBody):
    ticket: Ticket
    member: MemberId


class AddIdentityBody(RequestBody):
    ticket: Ticket
    member: MemberId
    identity: str = Field(max_length=LONGEST)


class RemoveIdentityBody(RequestBody):
    ticket: Ticket
    identity: str = Field(max_length=LONGEST)


class NewTokenBody(RequestBody):
    ticket: Ticket
    scopes: list[str] = Field(max_length=8)
    days: float = Field(gt=0, le=366)
    label: str = Field(default="", max_length=80)


class RevokeTokenBody(RequestBody):
    ticket: Ticket
    id: str = Field(max_length=40)


class ConsentBody(RequestBody):
    ticket: Ticket
    recording: Digest
    uses: list[Use] = Field(max_length=8)


class DecisionBody(RequestBody):
    ticket: Ticket
    recording: Digest
    heard: list[MemberId] = Field(max_length=1000)
    why: str = Field(max_length=1000)


class RequestedDecisionBody(RequestBody):
    """What a program asks the group for, in nobody's name."""

    kind: Literal["champion", "foreign_recording"]
    title: str = Field(min_length=1, max_length=200)
    text: str = Field(default="", max_length=10_000)
    change: dict[str, Annotated[str, Field(max_length=2000)]] = Field(max_length=20)


class EventBody(RequestBody):
    """An act of a member. Its size is that of the largest request; `member_acts` looks at what is in it."""

    ticket: Ticket
    kind: str = Field(max_length=40)
    body: dict[str, Any] = Field(max_length=40)
    signature: MemberSignature | None = None


class ErasureBody(RequestBody):
    """What was erased. Its fields are those of the event."""

    done: dict[str, Any] = Field(max_length=20)


class GuardedWriters:
    """The writers of the store, and what the service refuses to those who hold a key only."""

    def __init__(self, store: Store, settings: GovernanceSettings) -> None:
        self._store, self._provider = store, ProviderTokens(store, settings)
        self._governance, self._lock = StoreGovernanceWriter(store), threading.Lock()
        self.access = StoreAccessWriter(
            store, claim_is_member=settings.oidc_claim_is_member, key=settings.ticket_key.get_secret_value()
        )

    def publish_agreement(self, agreement: Agreement) -> str:
        """The group's first agreement, or the one in force once more. Raises ForbiddenError for another."""
        with self._lock:
            newest = read_current_agreement(self._store)
            given = complete_agreement(open_ledger(self._store).read_state(), agreement)
            if newest is not None and newest.digest != given.digest:
                cure = "an operator publishes it in this service's pod: python -m audiotune.access agreement publish FILE"
                words = f"version {newest.version} of the agreement is in force, and a program cannot replace it"
                raise ForbiddenError(words, cure=cure)
            return self._governance.publish_agreement(agreement)

    def record_standing_consents(self, body: StandingConsentsBody) -> Any:
        """What members in the agreement in force agree to beforehand; the caller cannot add to it, only name more people to ask."""
        agreement = self._require_in_force(body.agreement)
        return self._governance.record_standing_consents(agreement, body.recording, body.contributors, body.sounds_like)

    def hold_recording(self, body: HoldBody) -> Any:
        """The caller can only name more people to ask, and where the bytes lie that wait."""
        agreement = self._require_in_force(body.agreement)
        return self._governance.hold_recording(agreement, body.recording, body.contributors, body.sound, body.uploaded_by)

    def end_due_waiting(self) -> UpkeepReport:
        """The ledger decides what ends, not the caller."""
        return self._governance.end_due_waiting()

    def _require_in_force(self, digest: Digest) -> Agreement:
        agreement = read_current_agreement(self._store)
        if agreement is None or agreement.digest != digest:
            raise AgreementError("another version of the agreement is in force by now", cure="start the run again")
        return agreement

    def record_erasure(self, body: ErasureBody) -> int:
        """What the erasure job did. Raises GovernanceError: it does not fit, or nobody asked for it."""
        try:
            done = ErasureDone.model_validate(body.done)
        except ValidationError as e:
            raise GovernanceError(
                f"this is no record of an erasure: {e.errors()[0]['msg']}", cure="upgrade the older program"
            ) from e
        return self._governance.record_erasure(done)

    def request_decision(self, body: RequestedDecisionBody) -> Any:
        """The group's word to what a program asks for. It opens a proposal at most; the group decides."""
        return self._governance.request_decision(body.kind, body.title, body.text, body.change)

    def vouch_for(self, body: VouchBody) -> str:
        """A ticket for whom the provider's token names, whatever the caller says."""
        self._provider.require_member(body.member, body.id_token)
        return self.access.vouch_for(body.member)


@dataclass(frozen=True)
class Operation:
    """One thing that may be asked for.

    Attributes:
        hashes: it hashes passwords, which few may do at once.
    """

    body: type[BaseModel]
    work: Callable[[GuardedWriters, Any], Any]
    callers: tuple[Caller, ...] = ("studio",)
    hashes: bool = False


_EVERYBODY: tuple[Caller, ...] = ("studio", "ingest")  # the studio, too, runs ingest where there is no Kubeflow
OPERATIONS: dict[str, Operation] = {
    "publish_agreement": Operation(AgreementBody, lambda w, b: w.publish_agreement(b.agreement), _EVERYBODY),
    "record_standing_consents": Operation(StandingConsentsBody, lambda w, b: w.record_standing_consents(b), _EVERYBODY),
    "hold_recording": Operation(HoldBody, lambda w, b: w.hold_recording(b), _EVERYBODY),
    "request_decision": Operation(RequestedDecisionBody, lambda w, b: w.request_decision(b), _EVERYBODY),
    "end_due_waiting": Operation(NoBody, lambda w, b: w.end_due_waiting(), _EVERYBODY),
    "record_erasure": Operation(ErasureBody, lambda w, b: w.record_erasure(b), ("erasure",)),
    "verify_password": Operation(SignInBody, lambda w, b: w.access.verify_password(b.member, b.password), hashes=True),
    "vouch_for": Operation(VouchBody, lambda w, b: w.vouch_for(b)),
    "change_password": Operation(
        NewPasswordBody, lambda w, b: w.access.change_password(b.ticket, b.old, b.new, keep_tokens=b.keep_tokens), hashes=True
    ),
    "issue_password": Operation(OtherMemberBody, lambda w, b: w.access.issue_password(b.ticket, b.member), hashes=True),
    "add_identity": Operation(AddIdentityBody, lambda w, b: w.access.add_identity(b.ticket, b.member, b.identity)),
    "remove_identity": Operation(RemoveIdentityBody, lambda w, b: w.access.remove_identity(b.ticket, b.identity)),
    "issue_token": Operation(NewTokenBody, lambda w, b: w.access.issue_token(b.ticket, b.scopes, b.days, b.label)),
    "revoke_token": Operation(RevokeTokenBody, lambda w, b: w.access.revoke_token(b.ticket, b.id)),
    "record_consent": Operation(ConsentBody, lambda w, b: w.access.record_consent(b.ticket, b.recording, tuple(b.uses))),
    "record_decision": Operation(DecisionBody, lambda w, b: w.access.record_decision(b.ticket, b.recording, b.heard, b.why)),
    "record_event": Operation(EventBody, lambda w, b: w.access.record_event(b.ticket, b.kind, b.body, b.signature)),
}
