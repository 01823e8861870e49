"""A ledger of 100,000 events: verify it, read its state with and without snapshots, and put questions at gates.

    python -m benchmarks.ledger [--events 100000] [--recordings 1000] [--folder FOLDER]

Five members are heard in each recording. Of the events, 70 % give or take back uses of one recording, 0.1 % of all of a member's, 20 % are
proposals, comments and votes, the rest records of ingest; they are signed as the service signs them. In memory unless a folder is named.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from audiotune.errors import ConsentError
from audiotune.governance.agreement_record import ALL_USES, Agreement, DecisionRule, Member
from audiotune.governance.consent_record import Consent
from audiotune.governance.ledger.agreement_events import AgreementPublished
from audiotune.governance.ledger.event_draft import dump_body
from audiotune.governance.ledger.events import FIRST, compute_event_digest, event_key, parse_event, sign_event
from audiotune.governance.ledger.fold import apply_event
from audiotune.governance.ledger.keys import key_from_bytes
from audiotune.governance.ledger.ledger import Ledger, open_ledger
from audiotune.governance.ledger.record_events import ConsentsRecorded
from audiotune.governance.ledger.snapshots import write_snapshot
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.policy import require_permission
from audiotune.store import FolderStore, Store
from tests.fakes.memory_store import MemoryStore

PEOPLE = ("ana", "ben", "chi", "dee", "eve")
BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
_Event = tuple[str, str, dict[str, Any]]  # kind, by, body


def name_recordings(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def draft_events(count: int, recordings: list[str]) -> Iterator[_Event]:
    """Everything that is said, in order; the first event of a ledger, which opens it, is not in it."""
    members = tuple(Member(id=who, name=who.title(), consents_to=ALL_USES) for who in PEOPLE)
    agreement = Agreement(
        group="Five",
        version=1,
        members=members,
        recordings_licence="x",
        weights_licence="x",
        allowed_uses=ALL_USES,
        decisions={"other": DecisionRule(days=366)},
    )
    yield "agreement_published", "", dump_body(AgreementPublished(agreement=agreement))
    yield "earlier_records_taken", "", {}

    def record(recording: str) -> dict[str, Any]:
        words = [
            Consent(recording=recording, contributor=who, uses=ALL_USES, basis="x", agreement=agreement.digest) for who in PEOPLE
        ]
        return dump_body(ConsentsRecorded(records=tuple(words)))

    for recording in recordings:
        yield "consents_recorded", "", record(recording)
    chance, proposal = random.Random(5), 0
    for number in range(count - len(recordings) - 3):
        who, dice, here = chance.choice(PEOPLE), chance.random(), number + len(recordings) + 4
        uses = chance.sample(ALL_USES[1:], 2)
        if dice < 0.71:
            body: dict[str, Any] = {"uses": uses} if dice < 0.001 else {"recordings": [chance.choice(recordings)], "uses": uses}
            yield chance.choice(("consent_given", "consent_narrowed")), who, body
        elif dice < 0.91:
            if number % 1000 < 5 or not proposal:
                proposal = here
                yield "proposal_opened", who, {"kind": "other", "title": f"Proposal {here}", "rule": {"days": 366.0}}
            elif dice < 0.81:
                yield "proposal_commented", who, {"proposal": proposal, "text": "I think that we should hear it once more."}
            else:
                yield "vote_cast", who, {"proposal": proposal, "choice": chance.choice(("yes", "no", "abstain"))}
        else:
            yield "consents_recorded", "", record(chance.choice(recordings))


def write_ledger(store: Store, count: int, recordings: list[str]) -> None:
    """Writes the events, each signed, and the snapshot of a point 400 events before the end."""
    key, previous = key_from_bytes(b"5" * 32), FIRST
    state, events = GovernanceState(), [("ledger_opened", "", {"key": key.public.hex()}), *draft_events(count, recordings)]
    for number, (kind, by, body) in enumerate(events, 1):
        moment = f"{BEGINS + timedelta(seconds=number):%Y-%m-%dT%H:%M:%S.%fZ}"
        said = {"via": "sign_in" if by else "service", "by": by}
        event = sign_event(key, number=number, previous=previous, time=moment, kind=kind, body=body, **said)  # type: ignore[arg-type]
        data = event.to_bytes()
        store.put(event_key(number), data)
        previous = compute_event_digest(data)
        apply_event(state, event, previous, event_key(number))
        if number == len(events) - 400:
            write_snapshot(store, state, key)
    assert not state.rejected, state.rejected[:3]


def measure(what: str, work: Callable[[], Any], times: int = 1, unit: float = 1.0, word: str = "s") -> Any:
    """Prints the best time by the clock and by the processor: other work on the machine makes only the first one longer."""
    clock, processor, found = [], [], None
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        found = work()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    print(f"| {what} | {min(clock) * unit:.3f} {word} | {min(processor) * unit:.3f} {word} |", flush=True)
    return found


def replay(store: Store) -> GovernanceState:
    """From the first event, without snapshots."""
    state = GovernanceState()
    for key, data in read_events(store):
        apply_event(state, parse_event(data, key), compute_event_digest(data), key)
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="an empty folder for a store on a disk")
    args = parser.parse_args()
    store: Store = FolderStore(args.folder) if args.folder else MemoryStore()
    recordings = name_recordings(args.recordings)
    write_ledger(store, args.events, recordings)
    print("| what | by the clock | by processor time |\n|---|---|---|")
    report = measure(f"verify {args.events} events", lambda: verify_events(read_events(store)))
    assert report.is_sound, report.faults
    assert report.number == args.events
    whole = measure("state without snapshots", lambda: replay(store))
    assert measure("state with snapshots", lambda: Ledger(store).read_state(), 3) == whole
    open_ledger(store).read_state()

    def ask(*asked: str) -> None:
        with suppress(ConsentError):  # most have taken something back by then
            require_permission(store, "generate", dict.fromkeys(asked, PEOPLE))

    measure("a question about one recording of five people", lambda: ask(recordings[0]), 2000, 1000, "ms")
    measure("the same about a release of all recordings", lambda: ask(*recordings), 20, 1000, "ms")


if __name__ == "__main__":
    main()
