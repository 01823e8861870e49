"""Starts the generation service as a process of its own and requests the first sounds from it over HTTP."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audiotune.audio import sound
from audiotune.audio.loudness import measure_integrated_lufs
from audiotune.client import generate, health
from audiotune.errors import AudioTuneError, GenerationError

_READY_TIMEOUT_S = 240


@contextlib.contextmanager
def run_generation_service(folder: Path, store: str, port: int) -> Iterator[str]:
    """A running service; its whole process group is ended afterwards. Raises GenerationError when it does not get ready."""
    url = f"http://127.0.0.1:{port}"
    log = folder / "generation.log"
    environment = {**os.environ, "AUDIOTUNE_STORE": store, "AUDIOTUNE_GENERATION_CANDIDATES": "true"}
    environment.setdefault("AUDIOTUNE_GENERATION_RELEASE", "demo")
    with log.open("w") as out:
        command = [sys.executable, "-m", "services.generation", "--port", str(port)]
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        try:
            _wait_until_ready(child, url, log)
            yield url
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _wait_until_ready(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _READY_TIMEOUT_S
    reason = "no answer"
    while time.monotonic() < until:
        if child.poll() is not None:
            raise GenerationError(f"the generation service ended with code {child.returncode}", cure=f"read {log}")
        try:
            answer = health(url)
            if answer.get("ready"):
                return
            reason = str(answer.get("reason") or answer)
        except AudioTuneError as e:
            reason = e.what
        time.sleep(1)
    raise GenerationError(f"the generation service is not ready after {_READY_TIMEOUT_S} s: {reason}", cure=f"read {log}")


def request_first_sounds(url: str, prompts: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """One sound for each prompt, written into `folder`; returns file, prompt, seed and measured loudness."""
    folder.mkdir(parents=True, exist_ok=True)
    sounds = []
    for number, prompt in enumerate(prompts):
        data, info = generate(url, {"prompt": prompt, "seed": number, "format": "wav"})
        file = folder / f"{prompt.replace(' ', '_')}_{number}.wav"
        file.write_bytes(data)
        loudness = measure_integrated_lufs(sound.read_sound(file))
        words = "silent" if loudness is None else f"{loudness:.1f} LUFS"
        sounds.append({"file": str(file), "prompt": prompt, "seed": info.get("seed", number), "loudness": words})
    return sounds
