"""The port by which members' accounts, identities and tokens are written: into the store, or by the governance service.

Each write asks for a ticket, which a sign-in gives: a program that only holds a key of the service is no member and no owner.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from pydantic import Field

from audiotune.access import accounts, identities, owners, tokens
from audiotune.access.accounts import Account
from audiotune.access.tickets import FRESH_S, LIFE_S, SignInTicket, TicketSigner
from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.manifest import fetch_manifest, list_manifests
from audiotune.domain.member import MemberId, require_member_id
from audiotune.domain.recording import Digest, Recording
from audiotune.errors import AccessError, AgreementError, ForbiddenError
from audiotune.governance import Agreement, Consent, member_acts, read_consents, read_current_agreement
from audiotune.governance.agreement import Use
from audiotune.governance.consent import record_consents, record_decision
from audiotune.governance.ledger.events import MemberSignature, Via
from audiotune.governance.service_client import GovernanceServiceClient, find_service
from audiotune.store.port import Store


class VerifiedSignIn(FrozenModel):
    """A member whose password was right."""

    account: Account
    ticket: str = Field(repr=False)


class AccessWriter(Protocol):
    """What the studio writes for members. Raises AccessError and ForbiddenError, as the functions that do the work."""

    def verify_password(self, member: str, password: str) -> VerifiedSignIn | None:
        """The account and a ticket; None for a wrong name or password."""
        ...

    def vouch_for(self, member: str, id_token: str = "") -> str:
        """A ticket for a member who signed in at a provider, which this program checked. The service looks at the token itself."""
        ...

    def change_password(self, ticket: str, old: str, new: str, *, keep_tokens: bool = False) -> VerifiedSignIn:
        """The member's own password. Ends all tickets of the member, and their tokens unless they are kept; gives a new ticket."""
        ...

    def issue_password(self, ticket: str, member: str) -> str:
        """An owner makes an account, or resets its password, which ends its tokens; returns the password."""
        ...

    def add_identity(self, ticket: str, member: str, identity: str) -> None:
        """An owner says who a person of the provider is."""
        ...

    def remove_identity(self, ticket: str, identity: str) -> None:
        """An owner forgets a person of the provider."""
        ...

    def issue_token(self, ticket: str, scopes: Iterable[str], days: float, label: str = "") -> str:
        """A token of the member's own, and its text."""
        ...

    def revoke_token(self, ticket: str, id: str) -> None:
        """Ends a token of the member's own."""
        ...

    def record_consent(self, ticket: str, recording: Digest, uses: tuple[Use, ...]) -> Consent:
        """The member's own consent to the uses of a recording; none takes all back."""
        ...

    def record_decision(self, ticket: str, recording: Digest, heard: Iterable[str], why: str) -> list[Consent]:
        """An owner decides who is heard in a recording."""
        ...

    def record_event(self, ticket: str, kind: str, body: Mapping[str, Any], signature: MemberSignature | None = None) -> int:
        """An act of the ticket's member becomes an event of the ledger; its number.

        Only kinds that members or owners say. Raises GovernanceError: a rule forbids it, or the signature is not the member's.
        """
        ...


class StoreAccessWriter:
    """Writes into the store, with the rights of this process.

    Args:
        claim_is_member: a provider names members by their ids, and no identities are kept.
        key: signs tickets; empty: one that ends with this process.
        now: seconds since 1970.
    """

    def __init__(
        self, store: Store, *, claim_is_member: bool = False, key: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._store, self._claim_is_member = store, claim_is_member
        self._signer = TicketSigner(key.encode() or secrets.token_bytes(32), now)

    def verify_password(self, member: str, password: str) -> VerifiedSignIn | None:
        account = accounts.verify_password(self._store, member, password)
        return self._sign_in(account) if account else None

    def vouch_for(self, member: str, id_token: str = "") -> str:
        return self._signer.sign(require_member_id(member), self._list_names(member), vouched=True)

    def change_password(self, ticket: str, old: str, new: str, *, keep_tokens: bool = False) -> VerifiedSignIn:
        member = self._require_account(ticket).member
        if accounts.verify_password(self._store, member, old) is None:
            raise AccessError("the password now is not right", cure="type it again")
        return self._sign_in(accounts.change_password(self._store, member, new, keep_tokens=keep_tokens))

    def issue_password(self, ticket: str, member: str) -> str:
        return owners.issue_password(self._store, self._require_agreement(), self.require_owner(ticket), member)

    def add_identity(self, ticket: str, member: str, identity: str) -> None:
        owners.add_member_identity(self._store, self._require_agreement(), self.require_owner(ticket), member, identity)

    def remove_identity(self, ticket: str, identity: str) -> None:
        owners.remove_member_identity(self._store, self.require_owner(ticket), identity)

    def issue_token(self, ticket: str, scopes: Iterable[str], days: float, label: str = "") -> str:
        wanted = tuple(scopes)
        if not set(wanted) <= {"generate", "read"}:
            raise ForbiddenError("members' own tokens generate and read", cure="an operator issues others on the command line")
        return tokens.issue_token(self._store, self._require_member(ticket), wanted, days, label=label)

    def revoke_token(self, ticket: str, id: str) -> None:
        member = self._require_account(ticket).member
        if id not in {token.id for token in tokens.list_tokens(self._store) if token.member == member}:
            raise AccessError("choose one of your tokens", cure="it may have ended already")
        tokens.revoke_token(self._store, id)

    def record_consent(self, ticket: str, recording: Digest, uses: tuple[Use, ...]) -> Consent:
        member = self._require_member(ticket)
        if not self._is_named(recording, member):
            cure = "an owner decides who is heard in it"
            raise ForbiddenError("you are not named as a player of this recording", where=recording[:64], cure=cure)
        consent = Consent(
            recording=recording,
            contributor=member,
            uses=uses,
            basis=f"studio, signed in as {member}",
            agreement=self._require_agreement().digest,
        )
        record_consents(self._store, [consent], by=member, via="sign_in")
        return consent

    def record_decision(self, ticket: str, recording: Digest, heard: Iterable[str], why: str) -> list[Consent]:
        owner = self.require_owner(ticket)
        self._require_member(ticket)
        return record_decision(self._store, self._require_agreement(), recording, heard, owner, why)

    def record_event(self, ticket: str, kind: str, body: Mapping[str, Any], signature: MemberSignature | None = None) -> int:
        act = member_acts.require_act(kind)
        if act.said_by == "owner":
            by = self.require_owner(ticket)
        else:
            is_final = act.needs_fresh_sign_in(member_acts.parse_act(kind, body))
            by = self._require_account(ticket, FRESH_S if is_final else LIFE_S).member
        via: Via = "member_key" if signature else "sign_in"
        return member_acts.append_member_event(self._store, by, kind, body, via=via, signature=signature)

    def require_owner(self, ticket: str) -> MemberId:
        """The owner of a ticket. Raises AccessError: no fresh one, or no owner's."""
        found = self._require_account(ticket, FRESH_S)
        if not owners.is_owner(self._store, found.member):
            raise AccessError("only owners do this", cure="ask an owner of the group")
        return found.member

    def _sign_in(self, account: Account) -> VerifiedSignIn:
        return VerifiedSignIn(account=account, ticket=self._signer.sign(account.member, account.password))

    def _require_account(self, ticket: str, age_s: float = LIFE_S) -> SignInTicket:
        def find_proof(ticket: SignInTicket) -> str | None:
            account = None if ticket.vouched else accounts.read_account(self._store, ticket.member)
            return self._list_names(ticket.member) if ticket.vouched else account.password if account else None

        return self._signer.check(ticket, find_proof, age_s)

    def _list_names(self, member: str) -> str:
        """What the provider calls the member: with another name, or one less, the tickets from there end."""
        known = [] if self._claim_is_member else identities.list_identities(self._store)
        return "\n".join(one.identity for one in known if one.member == member)

    def _require_member(self, ticket: str) -> MemberId:
        """The ticket's member, who must be in the group: an account outlives a membership."""
        member = self._require_agreement().find_member(self._require_account(ticket).member)
        if member is None:
            raise AccessError("you are no member of the agreement", cure="an owner adds you to the agreement first")
        if member.left:
            raise ForbiddenError("you have left the group", cure="ask an owner of the group")
        return member.id

    def _is_named(self, recording: Digest, member: MemberId) -> bool:
        """Whether a record or a manifest names the member: nobody closes the gates for what others play."""
        if (recording, member) in read_consents(self._store, [recording]):
            return True
        manifests = (
            fetch_manifest(self._store, e.key, "recordings", Recording) for e in list_manifests(self._store, "recordings")
        )
        return any(row.id == recording and member in row.contributors for manifest in manifests for row in manifest.rows)

    def _require_agreement(self) -> Agreement:
        agreement = read_current_agreement(self._store)
        if agreement is None:
            raise AgreementError("the store holds no agreement yet", cure="publish it with the first ingest")
        return agreement


class ServiceAccessWriter:
    """Asks the governance service."""

    def __init__(self, service: GovernanceServiceClient) -> None:
        self._service = service

    def verify_password(self, member: str, password: str) -> VerifiedSignIn | None:
        found = self._service.call("verify_password", member=member, password=password)
        return VerifiedSignIn.model_validate(found) if found else None

    def vouch_for(self, member: str, id_token: str = "") -> str:
        return str(self._service.call("vouch_for", member=member, id_token=id_token))

    def change_password(self, ticket: str, old: str, new: str, *, keep_tokens: bool = False) -> VerifiedSignIn:
        changed = self._service.call("change_password", ticket=ticket, old=old, new=new, keep_tokens=keep_tokens)
        return VerifiedSignIn.model_validate(changed)

    def issue_password(self, ticket: str, member: str) -> str:
        return str(self._service.call("issue_password", ticket=ticket, member=member))

    def add_identity(self, ticket: str, member: str, identity: str) -> None:
        self._service.call("add_identity", ticket=ticket, member=member, identity=identity)

    def remove_identity(self, ticket: str, identity: str) -> None:
        self._service.call("remove_identity", ticket=ticket, identity=identity)

    def issue_token(self, ticket: str, scopes: Iterable[str], days: float, label: str = "") -> str:
        return str(self._service.call("issue_token", ticket=ticket, scopes=list(scopes), days=days, label=label))

    def revoke_token(self, ticket: str, id: str) -> None:
        self._service.call("revoke_token", ticket=ticket, id=id)

    def record_consent(self, ticket: str, recording: Digest, uses: tuple[Use, ...]) -> Consent:
        found = self._service.call("record_consent", ticket=ticket, recording=recording, uses=list(uses))
        return Consent.model_validate(found)

    def record_decision(self, ticket: str, recording: Digest, heard: Iterable[str], why: str) -> list[Consent]:
        records = self._service.call("record_decision", ticket=ticket, recording=recording, heard=list(heard), why=why)
        return [Consent.model_validate(record) for record in records]

    def record_event(self, ticket: str, kind: str, body: Mapping[str, Any], signature: MemberSignature | None = None) -> int:
        signed = signature.model_dump() if signature else None
        return int(self._service.call("record_event", ticket=ticket, kind=kind, body=dict(body), signature=signed))


def open_access_writer(store: Store) -> AccessWriter:
    """The service that AUDIOTUNE_GOVERNANCE_URL names; the store itself where it is unset."""
    service = find_service()
    return ServiceAccessWriter(service) if service else StoreAccessWriter(store)
