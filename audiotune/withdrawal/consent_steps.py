"""What stands beside `audiotune consent withdraw`: what follows, before the act, and the doing of it, after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from audiotune.domain.recording import Digest
from audiotune.errors import AudioTuneError, RegistryError
from audiotune.governance.agreement_record import Use
from audiotune.governance.consent_record import RecordingPart
from audiotune.governance.service_client import find_service
from audiotune.governance.writer import StoreGovernanceWriter
from audiotune.store.port import Store
from audiotune.withdrawal.excepted_preview import describe_excepted_preview, preview_excepted
from audiotune.withdrawal.finish import FinishedWork, finish_withdrawals
from audiotune.withdrawal.preview import AliasSource, preview_withdrawal
from audiotune.withdrawal.registry_access import UnknownAliases, open_registry
from audiotune.withdrawal.words import describe_preview, list_kinds

_BY_A_JOB = (
    "The registry and the erasure follow by `audiotune withdrawal finish`: on Kubernetes a job runs it every hour; elsewhere whoever runs "
    "the store does."
)


class CommandSteps:
    """For the commands of `audiotune consent`."""

    def foresee(self, store: Store, member: str, recordings: Sequence[Digest], uses: Sequence[Use]) -> Iterable[str]:
        aliases: AliasSource = UnknownAliases()
        try:
            aliases = open_registry(store)
        except RegistryError as e:
            yield f"What plays now is not known: {e.what}."
        yield from describe_preview(preview_withdrawal(store, aliases, member, recordings, uses))

    def foresee_excepted(self, store: Store, member: str, recording: Digest, parts: Sequence[RecordingPart]) -> Iterable[str]:
        aliases: AliasSource = UnknownAliases()
        try:
            aliases = open_registry(store)
        except RegistryError as e:
            yield f"What plays now is not known: {e.what}."
        yield from describe_excepted_preview(preview_excepted(store, aliases, member, recording, parts))

    def follow(self, store: Store) -> Iterable[str]:
        yield follow_withdrawals(store)


def follow_withdrawals(store: Store) -> str:
    """Does what must follow, where this program may; in words what was done, or who does it."""
    if find_service():
        return _BY_A_JOB
    try:
        done = finish_withdrawals(store, open_registry(store), StoreGovernanceWriter(store))
    except ImportError:
        return "Run `audiotune withdrawal finish` where the whole project is installed: the registry and the erasure follow it."
    except AudioTuneError as e:
        return f"The gates are closed; the registry or the erasure could not follow yet ({e.what}). `audiotune withdrawal finish` does it."
    return " ".join(describe_work(done)) or "Nothing else had to follow."


def describe_work(done: FinishedWork) -> Iterator[str]:
    """What was done, in sentences."""
    yield from (f"{change}." for change in done.changes)
    yield from (
        f"Withdrawal {one.withdrawal}: erased: {', '.join(list_kinds(one.counts)) or 'nothing was left'}." for one in done.erased
    )
