"""`make audit`: what it says of a clean lock, of an advisory, and without a network. A program stands for uv; no network is asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))
ADVISORY = (
    r"Name   Version ID             Fix Versions\n------ ------- -------------- ----\njinja2 2.4.1   PYSEC-2019-217 2.10.1\n"
)
UNSEEN = r"Name   Skip Reason\n------ -----------\njinja2 not found on PyPI and could not be audited\n"


def audit(tmp_path: Path, script: str) -> tuple[int, str, list[str]]:
    """Runs the script with a uv of our own; returns its exit code, all it prints, and what uv was asked."""
    uv = tmp_path / "uv"
    uv.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        + 'for last; do :; done\nout=$(echo "$@" | sed "s/.*--output //; s/ .*//")\n'
        + script
    )
    uv.chmod(0o755)
    environ = {**os.environ, "UV": str(uv), "PIP_AUDIT_VERSION": "9.9.9"}
    done = subprocess.run(["bash", str(ROOT / "requirements/audit.sh")], env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr, (tmp_path / "asked").read_text().splitlines()


def test_every_lock_is_asked_for_by_a_pinned_tool_that_installs_none_of_it(tmp_path: Path) -> None:
    code, said, asked = audit(tmp_path, "exit 0\n")
    assert code == 0
    assert said.splitlines() == [f"requirements/{name}: nothing is known" for name in LOCKS]
    assert len(asked) == 1 + len(LOCKS)  # the first one installs the tool
    assert all("--from pip-audit==9.9.9 pip-audit" in line for line in asked)
    assert all("--disable-pip --require-hashes" in line for line in asked[1:])


def test_an_advisory_fails_it_and_the_other_locks_are_asked_for_too(tmp_path: Path) -> None:
    known = f'case "$@" in *torch.txt*) printf "{ADVISORY}" > "$out"; exit 1;; esac\n'
    code, said, asked = audit(tmp_path, known)
    assert code == 1
    assert "requirements/torch.txt:\nName " in said
    assert "PYSEC-2019-217" in said
    assert len(asked) == 1 + len(LOCKS)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("echo no route to host >&2; exit 2\n", "pip-audit==9.9.9 cannot be installed: no route to host"),
        (
            'case "$@" in *--version) exit 0;; esac\necho PyPI does not answer >&2; exit 1\n',
            f"{LOCKS[0]}: PyPI does not answer",
        ),
    ],
)
def test_without_a_network_it_says_that_nothing_was_asked(tmp_path: Path, broken: str, words: str) -> None:
    code, said, _ = audit(tmp_path, broken)
    assert code == 3
    assert words in said
    assert "needs a network" in said
    assert "nothing is known" not in said


def test_a_package_that_was_not_asked_about_is_no_clean_one(tmp_path: Path) -> None:
    """pip-audit itself ends with 0 then: behind a mirror of packages alone it would call every lock clean."""
    code, said, asked = audit(tmp_path, f'case "$@" in *train.txt*) printf "{UNSEEN}" > "$out";; esac\n')
    assert code == 3
    assert "requirements/train.txt: 1 packages could not be asked about: jinja2" in said
    assert "requirements/train.txt: nothing is known" not in said
    assert "PyPI answers about single versions" in said
    assert len(asked) == 1 + len(LOCKS)
