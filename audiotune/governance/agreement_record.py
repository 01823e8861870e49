"""The group's agreement as data, and its file `agreement.toml`."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationError, model_validator

from audiotune.domain.frozen_model import FrozenModel
from audiotune.domain.member import MemberId
from audiotune.domain.toml_text import parse_toml
from audiotune.errors import AgreementError

# To keep a recording, train on it, release what was trained, make sounds with a release; give it to others than the group; earn money.
Use = Literal["store", "train", "release", "generate", "publish", "earn"]
ALL_USES: tuple[Use, ...] = get_args(Use)
# What an agreement allows that says nothing about it: agreements of 0.2 did not know the others, and must not come to allow them.
FIRST_USES: tuple[Use, ...] = ("store", "train", "release", "generate")
# What a group can decide on: the agreement itself; which release plays; whether one is given to others; a recording from outside; who
# is taken in or excluded, or becomes an owner; how income is split; anything else.
ProposalKind = Literal[
    "agreement", "champion", "publish_release", "foreign_recording", "take_in", "exclude", "owner", "split_income", "other"
]
PROPOSAL_KINDS: tuple[ProposalKind, ...] = get_args(ProposalKind)
_LATER_FIELDS = ("decisions", "withdrawal_grace_days", "answer_within_days")  # than the first agreements
HIGHEST_VERSION = 999_999_999  # nine digits: a date as in 20260501 is a number that people choose


class Member(FrozenModel):
    """A person of the group.

    Attributes:
        id: short, small letters; used in files and annotations.
        consents_to: uses that this member agrees to for all recordings they are heard in, unless a record differs.
            Empty: each recording needs a consent record.
        left: the member has left the group; their recordings pass no gate.
    """

    id: MemberId
    name: str
    consents_to: tuple[Use, ...] = ()
    left: bool = False


class DecisionRule(FrozenModel):
    """How the group decides on proposals of one kind.

    Attributes:
        needs: majority: more yes than no; two_thirds: of the votes cast; everybody: every member says yes; veto: accepted unless
            somebody says no.
        quorum: share of the members who must vote, in [0, 1].
        days: after which a proposal ends.
    """

    needs: Literal["majority", "two_thirds", "everybody", "veto"] = "majority"
    quorum: float = Field(default=0.5, ge=0, le=1)
    days: float = Field(default=7, gt=0, le=366)


class Agreement(FrozenModel):
    """What the group agreed on.

    Attributes:
        recordings_licence: SPDX id or words, among the members; default licence of their uploads.
        accepted_licences: licences of recordings from elsewhere that may be ingested.
        weights_licence: licence of the releases.
        allowed_uses: the only uses of recordings; a member's consent cannot add one.
        base_model_notices: base model name -> notice that a release on this base must carry.
        answer_within_days: how long a recording waits for those who ask for each one; then it is deleted.
        decisions: kind of proposal -> how it is decided. What is named here happens only by an accepted proposal.
        withdrawal_grace_days: for how long what a member takes back may still be used; 0: it ends at once.
    """

    group: str = Field(min_length=1)
    version: int = Field(ge=1, le=HIGHEST_VERSION)
    members: tuple[Member, ...] = Field(min_length=1)
    recordings_licence: str = Field(min_length=1)
    accepted_licences: tuple[str, ...] = ()
    weights_licence: str = Field(min_length=1)
    allowed_uses: tuple[Use, ...] = FIRST_USES
    base_model_notices: dict[str, str] = {}
    decisions: dict[ProposalKind, DecisionRule] = {}
    withdrawal_grace_days: float = Field(default=0, ge=0, le=366)
    answer_within_days: float = Field(default=14, gt=0, le=366)

    @model_validator(mode="after")
    def _check_unique_ids(self) -> Agreement:
        counts = Counter(member.id for member in self.members)
        twice = sorted(id for id, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"two members share the id {', '.join(twice)}")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of its JSON. A field that came later and says nothing is left out: earlier versions keep their digests."""
        silent = {name for name in _LATER_FIELDS if getattr(self, name) == Agreement.model_fields[name].default}
        return hashlib.sha256(self.model_dump_json(exclude=silent).encode()).hexdigest()

    @property
    def active_members(self) -> tuple[Member, ...]:
        """Those who have not left."""
        return tuple(member for member in self.members if not member.left)

    def find_member(self, id: str) -> Member | None:
        return next((member for member in self.members if member.id == id), None)

    def find_notice(self, base: str) -> str:
        """The notice that a release on this base must carry; empty when the base requires none."""
        return self.base_model_notices.get(base, "")


def load_agreement(source: Path | bytes) -> Agreement:
    """Reads `agreement.toml`. Raises AgreementError: no file, no TOML, or fields that do not fit, each named."""
    where = str(source) if isinstance(source, Path) else "the agreement"
    try:
        data = parse_toml((source.read_bytes() if isinstance(source, Path) else source).decode())
        return Agreement.model_validate(data)
    except OSError as e:
        raise AgreementError(
            f"cannot read the agreement: {e.strerror}", where=where, cure="copy agreement.example.toml and fill it in"
        ) from e
    except ValidationError as e:
        faults = "; ".join(f"{'.'.join(map(str, x['loc'])) or 'agreement'}: {x['msg']}" for x in e.errors())
        raise AgreementError(f"the agreement does not fit: {faults}", where=where, cure="mend the fields named") from e
    except ValueError as e:
        raise AgreementError(f"the agreement is no TOML: {e}", where=where, cure="mend the line it names") from e
