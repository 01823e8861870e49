"""The clients and the command line on a service that listens; and every example of the API's page."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiotune import cli, client
from audiotune.access import tokens
from audiotune.client import AsyncClient, Client
from audiotune.errors import GenerationError
from tests import REPOSITORY
from tests.fakes.in_process_service import ASK, InProcessService
from tests.fakes.live_service import serve_http
from tests.fakes.sound_tags import read_tags

PAGES = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, token) of a service that asks for tokens."""
    bench = InProcessService(tmp_path_factory.mktemp("served"), members=True)
    bench.loaded()
    with serve_http(bench) as url:
        yield url, tokens.issue_token(bench.store, "ana", ["generate"], 1)
    bench.stop()


def test_a_sound_a_job_and_the_same_sound_again(served: tuple[str, str]) -> None:
    ours = Client(*served)
    made = ours.generate(**ASK)
    assert made.seed == 7
    job = ours.submit("client-job-1", **ASK)
    looks: list[client.RemoteJob] = []
    ended = ours.wait(job.id, looks.append, every_s=0.02)
    assert ended.state == "done"
    assert looks[-1] == ended
    assert ours.sound(ended.sounds[0]["sound"]).audio == made.audio
    assert [found.id for found in ours.jobs()] == [job.id]
    assert ours.cancel(job.id).state == "done"
    assert ours.health()["ready"]


def test_the_same_for_asyncio(served: tuple[str, str]) -> None:
    async def both() -> tuple[bytes, bytes]:
        ours = AsyncClient(*served)
        made, job = await asyncio.gather(ours.generate(**ASK), ours.submit("async-job-1", **ASK))
        ended = await ours.wait(job.id, every_s=0.02)
        return made.audio, (await ours.sound(ended.sounds[0]["sound"])).audio

    first, second = asyncio.run(both())
    assert first == second


def test_refusals_are_reported_in_words(served: tuple[str, str]) -> None:
    with pytest.raises(GenerationError, match="seconds"):
        Client(*served).generate(**{**ASK, "seconds": 99})
    with pytest.raises(GenerationError, match="token"):
        Client(served[0]).generate(**ASK)
    with pytest.raises(GenerationError, match="does not answer"):
        Client("http://127.0.0.1:1").generate(**ASK)


def test_the_command_line(served: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--url", served[0], "--token", served[1]]
    out = tmp_path / "drone.flac"
    ask = ["generate", "a drone", "--seconds", "0.5", "--steps", "3", "--seed", "7", "--count", "2", "--format", "flac"]
    assert cli.main([*ask, "--out", str(out), *at]) == 0
    assert capsys.readouterr().out.split() == [str(out), str(tmp_path / "drone-2.flac")]
    assert out.read_bytes()[:4] == b"fLaC"
    assert cli.main(["generate", "a drone", "--seconds", "99", *at]) == 1
    assert "seconds" in capsys.readouterr().err
    plain = out.read_bytes()
    added = [*ask[:-4], "--format", "flac", "--adapter", "grit=0.7", "--adapter", "tape:1", "--out", str(out), *at]
    assert cli.main(added) == 0
    assert out.read_bytes() != plain
    assert "grit:1=0.7;" in read_tags(out.read_bytes())["comment"]
    assert "tape:1=1;" in read_tags(out.read_bytes())["comment"]
    assert cli.main(["generate", "a drone", "--adapter", "rust=0.5", *at]) == 1
    assert "no adapter 'rust'. Give one of: tape, grit" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["generate", "a drone", "--adapter", "grit=loud", *at])


def examples(page: str) -> list[str]:
    """The indented shell lines of a page, continuation lines joined."""
    text = (PAGES / page).read_text().replace("\\\n", " ")
    return [line.strip() for line in re.findall(r"^    ((?:curl|id=|TOKEN=).*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("page", ["api.md", "plug-in.md"])
def test_every_example_of_the_pages_runs(page: str, tmp_path: Path) -> None:
    bench = InProcessService(tmp_path / "store")
    bench.loaded()
    found = examples(page)
    assert len(found) >= 5
    with serve_http(bench) as url:
        script = "set -e\n" + "\n".join(found).replace("http://", "").replace("localhost:3000", url.removeprefix("http://"))
        script = re.sub(r"curl -s\b", "curl -sS --fail-with-body --max-time 20", script)
        ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, env={**os.environ}, timeout=60)
    assert ran.returncode == 0, f"{ran.stdout[-500:]}\n{ran.stderr}"
    bench.stop()


def test_scripts_of_0_1_go_on(served: tuple[str, str]) -> None:
    from audiotune import client

    url, token = served
    connected = client.Client(url, token)
    assert client.health(url, token=token)["ready"]
    assert client.releases(url, token=token) == []  # its registry holds none
    with pytest.raises(GenerationError, match="401|token"):
        client.releases(url)
    job: client.Job = connected.submit(prompt="a drone", seconds=0.5, steps=2)
    assert connected.wait(job.id).ended
