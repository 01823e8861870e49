"""A withdrawal while sounds are made: real service processes on one real MinIO and one real MLflow server, under load.

    python -m benchmarks.withdrawal reach | away | all  [--count N] [--replicas 2]

`ours` version 1 is the champion, and ana is heard in it; version 2 is ben's; `other` is chi's. Clients keep asking every replica for the
champion (without a name) and for `other`.

reach   `--count` times ana takes back their consent, and gives it again when version 2 plays: the gates, the last sound of version 1,
        the first of version 2, and requests that failed
away    the same, and MinIO is stopped (SIGSTOP) for ten seconds right after the event was written
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from audiotune.store.port import Store
from benchmarks.outages import Servers, start_servers
from benchmarks.replicas import Measurement, ReplicaGroup, print_line, run_measurements, start_replicas, until

ASK = {"prompt": "low dark drone", "seconds": 0.5, "steps": 8, "format": "wav"}
_AWAY_S = 10.0


@dataclass(frozen=True)
class Answer:
    """One answer. `release` is name and version, or the problem's code; times are on the monotonic clock."""

    url: str
    named: bool
    status: int
    release: str
    asked: float
    ended: float


@dataclass
class Clients:
    """Threads that ask without a pause: of each replica two for the champion and one for `other`."""

    urls: list[str]
    answers: list[Answer] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        asked = [(url, name) for url in self.urls for name in ("", "", "other")]
        self.threads = [threading.Thread(target=self._ask, args=(url, name, n)) for n, (url, name) in enumerate(asked)]
        for thread in self.threads:
            thread.start()

    def _ask(self, url: str, name: str, seed: int) -> None:
        with httpx.Client(timeout=300) as http:
            while not self.stopping.is_set():
                seed += 100
                asked = time.monotonic()
                got = http.post(f"{url}/v1/generations", json={**ASK, "seed": seed, **({"release": name} if name else {})})
                release = got.headers.get("x-audio-tune-release") or str(got.json().get("code"))
                self.answers.append(Answer(url, bool(name), got.status_code, release, asked, time.monotonic()))

    def stop(self) -> list[Answer]:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return self.answers


@dataclass(frozen=True)
class Reach:
    """What one withdrawal did, in seconds after the call that wrote the event began.

    Attributes:
        gate_s: until another reader's gate said no.
        tainted_s: until the last sound of the withdrawn release was in a client's hands, on any replica.
        clean_s: until every replica gave the first sound of the clean one.
        failed: requests that were not answered with a sound, of both kinds.
        asked: requests that ended after the event.
        late: sounds of the withdrawn release that were asked for more than two seconds after it.
        stood_in: sounds of `other` for who asked for the champion.
    """

    gate_s: float
    tainted_s: float
    clean_s: float
    failed: int
    asked: int
    late: int
    stood_in: int


def prepare(store: Store) -> None:
    """Registers the three releases; the champion of `ours` is ana's."""
    from audiotune.registry import releases
    from tests.fakes.small_release import publish

    first = publish(store)
    publish(store, member="ben")
    publish(store, "other", member="chi")
    releases.set_alias("ours", "champion", first.version)


def withdraw_once(group: ReplicaGroup, before: Callable[[], None] = lambda: None) -> Reach:
    """Ana takes back their consent under load, and gives it again. `before` is called when the event is written."""
    from audiotune.governance.ledger.ledger import open_ledger
    from audiotune.store import open_store
    from tests.fakes.small_release import say

    store, urls = open_store(), [replica.url for replica in group.replicas]
    until(lambda: all(_plays(url, "ours 1") for url in urls), 120)
    clients = Clients(urls)
    reader = open_store()
    open_ledger(reader).read_state()
    time.sleep(4)
    began = time.monotonic()
    say(store, "ana")
    gate_s = _await_no(reader, began)
    before()
    until(lambda: all(any(a.release == "ours 2" and a.url == url for a in clients.answers) for url in urls), 120)
    time.sleep(3)
    answers = clients.stop()
    say(store, "ana", "store", "train", "release", "generate")
    after = [a for a in answers if a.ended > began]
    first_clean = [min(a.ended for a in answers if a.release == "ours 2" and a.url == url) - began for url in urls]
    tainted = [a for a in after if a.release == "ours 1"]
    return Reach(
        gate_s,
        max((a.ended - began for a in tainted), default=0.0),
        max(first_clean),
        sum(a.status != 200 for a in answers),
        len(after),
        sum(a.asked - began > 2 for a in tainted),
        sum(not a.named and a.release.startswith("other") for a in answers),
    )


def _plays(url: str, release: str) -> bool:
    return httpx.post(f"{url}/v1/generations", json=ASK, timeout=120).headers.get("x-audio-tune-release") == release


def _await_no(reader: Store, began: float) -> float:
    """Until the gate of a reader that knew the ledger before says no."""
    from audiotune import governance
    from audiotune.errors import ConsentError
    from tests.fakes.small_release import RECORDING

    while True:
        try:
            governance.require_permission(reader, "generate", {RECORDING: ("ana",)})
        except ConsentError:
            return time.monotonic() - began


def _play(count: int, replicas: int, pause: Callable[[Servers], Callable[[], None]]) -> None:
    with start_servers() as servers:
        settings = {"AUDIOTUNE_STORE": "s3://endurance", "MLFLOW_TRACKING_URI": servers.mlflow}
        with start_replicas(replicas, prepare, **settings, AUDIOTUNE_GENERATION_RELEASE="ours,other") as group:
            found = [withdraw_once(group, pause(servers)) for _ in range(count)]
            look_ms, list_ms = _measure_look()
    for one in found:
        print_line(
            f"  gate {one.gate_s:.2f} s, last sound of it {one.tainted_s:.2f} s, first clean one on each replica {one.clean_s:.2f} s, "
            f"{one.failed} failed, {one.late} of it asked for later than 2 s; {one.asked} answers after the event"
        )
    tainted_s = [one.tainted_s for one in found]
    print_line(
        f"{count} withdrawals (load of the machine {os.getloadavg()[0]:.0f}): last sound {statistics.median(tainted_s):.2f} s (median), "
        f"{max(tainted_s):.2f} s (worst) after the event began; gate at most {max(one.gate_s for one in found):.2f} s; "
        f"{sum(one.failed for one in found)} requests failed; a look for news takes {look_ms:.1f} ms, for a missing event {list_ms:.1f}"
    )


def _measure_look() -> tuple[float, float]:
    """Milliseconds of processor and network that one question to the store takes, medians: for a new event, for a missing one."""
    from audiotune.governance.ledger.ledger import Ledger
    from audiotune.store import open_store

    ledger, took = Ledger(open_store()), []
    for look in (False, True):
        times = []
        for _ in range(100):
            began = time.monotonic()
            ledger.read_state(look=look)
            times.append(1000 * (time.monotonic() - began))
        took.append(statistics.median(times))
    return took[0], took[1]


def reach(count: int, replicas: int) -> None:
    _play(count, replicas, lambda servers: lambda: None)


def away(count: int, replicas: int) -> None:
    def pause(servers: Servers) -> Callable[[], None]:
        def stop_and_go_on() -> None:
            servers.pause()
            time.sleep(_AWAY_S)
            servers.go_on()

        return stop_and_go_on

    _play(count, replicas, pause)


PARTS: dict[str, Measurement] = {"reach": (reach, 5), "away": (away, 2)}

if __name__ == "__main__":
    run_measurements(__doc__ or "", PARTS, "withdrawals")
