"""Guessing is slowed, nobody is locked out, invented names empty no count, and a browser that signed in before goes first."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from audiotune.access import accounts
from audiotune.access.writer import StoreAccessWriter, VerifiedSignIn
from audiotune.errors import StoreError
from audiotune.store import FolderStore
from services.studio.sign_in.attempts import FORGET_S, LONGEST_WAIT_S, AttemptPace, SignInAttempt, group_address
from services.studio.sign_in.credentials import PasswordChecker, SignInUnavailableError
from services.studio.sign_in.hashing_threads import HashingThreads, SignInBusyError
from services.studio.sign_in.known_devices import make_device_cookie, read_device_cookie
from tests.fakes.clock import Clock

PASSWORD = "patch cables"
GUESSER, MEMBER = "198.51.100.9", "203.0.113.4"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    accounts.create_account(made, "ana", PASSWORD, work=1)
    return made


def check(checker: PasswordChecker, name: str, password: str, address: str = "", device: str = "") -> VerifiedSignIn | None:
    return asyncio.run(checker.check(name, password, address, device))


def guess_on(pace: AttemptPace, clock: Clock, attempt: SignInAttempt, attempts: int) -> list[float]:
    """Waits of an attacker who asks again as soon as it may be."""
    waits = []
    for _ in range(attempts):
        waits.append(pace.reserve(attempt))
        clock.now += waits[-1]
    return waits


def test_only_members_sign_in(store: FolderStore) -> None:
    checker = PasswordChecker(StoreAccessWriter(store))
    assert check(checker, "ana", PASSWORD)
    assert check(checker, " ana ", PASSWORD)
    for name, password in (("ana", "patch cable"), ("zoe", PASSWORD), ("../ana", PASSWORD)):
        assert check(checker, name, password) is None


def test_each_further_wrong_password_takes_longer_and_none_locks_out(clock: Clock) -> None:
    pace = AttemptPace(clock)
    waits = guess_on(pace, clock, SignInAttempt("ana", GUESSER), 1000)
    assert waits[:12] == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 16, 16]
    assert max(waits) == LONGEST_WAIT_S  # the thousandth is looked at, too
    clock.now += FORGET_S + 1
    assert pace.reserve(SignInAttempt("ana", GUESSER)) == 0


def test_wrong_passwords_from_one_address_do_not_slow_a_member_at_another(clock: Clock) -> None:
    pace = AttemptPace(clock)
    guess_on(pace, clock, SignInAttempt("ana", GUESSER), 15)
    assert pace.reserve(SignInAttempt("ana", MEMBER)) == 0
    assert pace.reserve(SignInAttempt("ben", GUESSER)) == 0


def test_guesses_that_come_together_are_spaced_and_the_rest_is_refused(clock: Clock) -> None:
    pace = AttemptPace(clock)
    waits = [pace.reserve(SignInAttempt("ana", GUESSER)) for _ in range(500)]
    allowed = [wait for wait in waits if wait <= LONGEST_WAIT_S]
    assert allowed == [0, 0, 0, 0, 0, 1, 3, 7, 15]
    clock.now += 31
    assert (
        pace.reserve(SignInAttempt("ana", GUESSER)) <= LONGEST_WAIT_S
    )  # what was refused did not push the next try further away


def test_many_addresses_share_the_pace_of_one_name(clock: Clock) -> None:
    pace = AttemptPace(clock)
    for number in range(200):
        clock.now += pace.reserve(SignInAttempt("ana", f"198.51.100.{number}"))
    assert clock.now > 600  # four seconds each after the first twenty


def test_invented_names_empty_no_count(clock: Clock) -> None:
    pace, tried = AttemptPace(clock), 0
    for turn in range(12):
        tried += sum(pace.reserve(SignInAttempt("ana", GUESSER), longest_wait_s=0) == 0 for _ in range(10))
        for number in range(1100):
            pace.reserve(SignInAttempt(f"invented {turn} {number}", GUESSER))
    assert tried == 5


def test_the_counts_stay_bounded_and_the_oldest_goes_first(clock: Clock) -> None:
    pace = AttemptPace(clock)
    for number in range(30_000):
        pace.reserve(SignInAttempt(f"n{number}", f"10.{number >> 8}.{number & 255}.1"))
    for counts in (pace._pairs, pace._names, pace._addresses):
        assert len(counts._counts) == 10_000
    assert "n29999" in pace._names._counts
    assert "n0" not in pace._names._counts


def test_a_browser_that_signed_in_before_never_waits_for_strangers(clock: Clock) -> None:
    pace = AttemptPace(clock)
    for _ in range(100):
        pace.reserve(SignInAttempt("ana", MEMBER))  # from its own network
    assert pace.reserve(SignInAttempt("ana", MEMBER)) > LONGEST_WAIT_S
    assert pace.reserve(SignInAttempt("ana", MEMBER, device="d" * 32)) == 0


def test_a_right_password_forgives_the_wrong_ones_of_its_name_only(clock: Clock) -> None:
    pace = AttemptPace(clock)
    for number in range(60):
        clock.now += pace.reserve(SignInAttempt(f"n{number}", GUESSER))
    pace.forgive(SignInAttempt("n59", GUESSER))
    assert pace.reserve(SignInAttempt("n60", GUESSER)) > 0  # the address keeps its wrong ones
    guess_on(pace, clock, SignInAttempt("ana", MEMBER), 9)
    pace.forgive(SignInAttempt("ana", MEMBER))
    assert pace.reserve(SignInAttempt("ana", MEMBER)) == 0


def test_one_household_of_ipv6_is_one_address() -> None:
    assert group_address("2001:db8:1:2:3:4:5:6") == group_address("2001:db8:1:2::1") != group_address("2001:db8:1:3::1")
    assert group_address("::ffff:198.51.100.9") == group_address("198.51.100.9") == "198.51.100.9"
    assert group_address("testclient") == "testclient"


def test_while_the_store_does_not_answer_nobody_signs_in_and_nothing_counts(store: FolderStore, clock: Clock) -> None:
    class Away(FolderStore):
        away = True

        def get(self, key: str) -> bytes:
            if self.away:
                raise StoreError("the store is away", where=key)
            return super().get(key)

    flaky = Away(store.root)
    checker = PasswordChecker(StoreAccessWriter(flaky), clock)
    for _ in range(20):
        with pytest.raises(SignInUnavailableError):
            check(checker, "ana", PASSWORD, MEMBER)
    flaky.away = False
    begun = time.monotonic()
    assert check(checker, "ana", PASSWORD, MEMBER)
    assert time.monotonic() - begun < 5  # a wait would be sixteen seconds


def test_few_are_hashed_at_a_time_few_wait_and_the_others_are_told_when_to_come(store: FolderStore) -> None:
    gate, most, inside = threading.Event(), [0], [0]

    class Slow(StoreAccessWriter):
        def verify_password(self, member: str, password: str) -> VerifiedSignIn | None:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            gate.wait(20)
            inside[0] -= 1
            return super().verify_password(member, password)

    checker = PasswordChecker(Slow(store))

    async def work() -> tuple[list[object], object]:
        tries = [asyncio.create_task(checker.check(f"n{n}", "a guess", f"10.0.{n}.1")) for n in range(200)]
        await asyncio.sleep(0.5)
        known = asyncio.create_task(checker.check("ana", PASSWORD, MEMBER, "d" * 32))
        await asyncio.sleep(0.1)
        gate.set()
        return list(await asyncio.gather(*tries, return_exceptions=True)), await known

    answers, known = asyncio.run(work())
    refused = [answer for answer in answers if isinstance(answer, SignInBusyError)]
    assert (len(refused), answers.count(None)) == (183, 17)
    assert all(answer.retry_after_s >= 1 for answer in refused)
    assert known is not None
    assert most[0] == 2  # one of the strangers', one of the known browsers'


def test_a_place_is_free_again_when_the_work_failed() -> None:
    threads = HashingThreads(1, 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            threads.submit(lambda: 1 // 0).result(10)
        time.sleep(0.1)  # the place is given back just after the result


def test_the_cookie_of_a_known_browser_is_one_accounts_and_ends_with_the_password(store: FolderStore) -> None:
    ana = accounts.read_account(store, "ana")
    ben = accounts.create_account(store, "ben", PASSWORD, work=1)
    assert ana is not None
    text = make_device_cookie(ana)
    assert text.startswith(read_device_cookie(ana, text))
    assert read_device_cookie(ana, text)
    assert read_device_cookie(ana, make_device_cookie(ana)) != read_device_cookie(ana, text)
    assert read_device_cookie(ben, text) == ""
    assert read_device_cookie(None, text) == ""
    for forged in ("", text[:-1] + ("0" if text[-1] != "0" else "1"), "0" * 32 + text[32:], "é.é"):
        assert read_device_cookie(ana, forged) == ""
    assert read_device_cookie(accounts.change_password(store, "ana", "another password", work=1), text) == ""
