"""Writes in a thread: one at a time, awaited at the end, and no failure gets lost."""

from __future__ import annotations

import threading

import pytest

from components.finetune.background_writer import BackgroundWriter


def fail() -> int:
    raise OSError("the disk is full")


def test_the_caller_goes_on_while_it_writes() -> None:
    released = threading.Event()

    def write() -> int:
        assert released.wait(60)
        return 7

    with BackgroundWriter[int]("writing") as writer:
        writer.start_write(write)
        assert writer.take_result() is None
        released.set()
        assert writer.wait_for_write() == 7
        assert writer.take_result() is None
        assert writer.wait_for_write() is None


def test_a_failure_is_raised_when_the_result_is_taken() -> None:
    with BackgroundWriter[int]("writing") as writer:
        writer.start_write(fail)
        with pytest.raises(OSError, match="full"):
            writer.wait_for_write()


def test_a_failure_that_nobody_took_is_raised_at_the_end() -> None:
    with pytest.raises(OSError, match="full"), BackgroundWriter[int]("writing") as writer:
        writer.start_write(fail)


def test_a_failure_beside_another_exception_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def fail_twice() -> None:
        with BackgroundWriter[int]("writing a checkpoint") as writer:
            writer.start_write(fail)
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        fail_twice()
    assert "writing a checkpoint failed, too: the disk is full" in capsys.readouterr().err
