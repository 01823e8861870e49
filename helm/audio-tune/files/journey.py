"""`helm test`: the journey at its smallest, step by step through the same doors that Kubeflow opens, each with its time.

Synthesized sounds in, cut, described by their names, encoded, the tiny base tuned for a few steps, unwrapped, judged, registered,
heard over HTTP with a member's token. All of it lives under the prefix helm-test/ of the bucket, which is forgotten after a day;
the release is registered as `helm-test`, so nobody's champion moves.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

WORK = Path(os.environ.get("JOURNEY_FOLDER", "/tmp/journey"))
SERVICE = os.environ.get("JOURNEY_SERVICE", "http://127.0.0.1:3000")
STEPS = os.environ.get("JOURNEY_STEPS", "12")
PATIENCE_S = 300
AGREEMENT = """group = "helm test"
version = 1
recordings_licence = "CC0-1.0"
accepted_licences = ["CC0-1.0"]
weights_licence = "CC0-1.0"
allowed_uses = ["store", "train", "release", "generate"]
[[members]]
id = "test"
name = "Test"
consents_to = ["store", "train", "release", "generate"]
"""


def timed(title, work):
    """Does the work, tells its time; the first failure ends the journey."""
    began = time.monotonic()
    answer = work()
    print(f"{time.monotonic() - began:7.1f} s  {title}{f': {answer}' if answer else ''}", flush=True)


def takes():
    """Eight takes of the simulated synthesizer, named by what is heard in them."""
    import numpy as np

    from audiotune.sound import Sound
    from audiotune.synthesizer import play, random_patch

    rng = np.random.default_rng(7)
    folder = WORK / "takes"
    for number in range(8):
        register, envelope = ("low", "drone") if number % 2 else ("high", "pluck")
        patch = random_patch(rng, register=register, envelope=envelope)
        silence = np.zeros(32_000, np.float32)
        sounds = [play(patch.at(register, rng), 1.5, 32_000, number * 10 + part).data[0] for part in range(3)]
        frames = np.concatenate([part for sound in sounds for part in (silence, sound)] + [silence])
        Sound(frames[None], 32_000).write(folder / f"{patch.caption().replace(' ', '_')}_{number}.wav", "PCM_16")
    (WORK / "agreement.toml").write_text(AGREEMENT)
    return f"{len(list(folder.glob('*.wav')))} takes"


def door(step, **flags):
    """One step through its own door; its last words are the reason when it fails. Returns its parameters."""
    words = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    done = subprocess.run([sys.executable, "-m", f"components.{step}", *words], capture_output=True, text=True)
    (WORK / f"{step}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        sys.exit(f"helm test: {step} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout[done.stdout.rindex("\n{\n") :])["parameters"] if "\n{\n" in done.stdout else {}


def out(step, *names):
    """Where the artifacts of a step go."""
    folder = WORK / step
    folder.mkdir(parents=True, exist_ok=True)
    return {name: folder / name for name in names}


def prepare():
    made = out("ingest", "recordings", "report", "metrics")
    door("ingest", source=WORK / "takes", agreement=WORK / "agreement.toml", contributors="test", **made)
    cut = out("segment", "segments", "report", "metrics")
    cut_to = door("segment", recordings=made["recordings"], min_s=0.3, max_s=4, **cut)["segments_key"]
    door("annotate_merge", segments=cut_to, sources="file_names", **out("annotate_merge", "dataset", "report", "metrics"))


def tune():
    dataset = WORK / "annotate_merge" / "dataset"
    latents = WORK / "encode" / "latents"
    door("encode", dataset=dataset, base="tiny", **out("encode", "latents", "metrics"))
    made = out("finetune", "checkpoint", "report", "metrics")
    door(
        "finetune",
        latents=latents,
        dataset=dataset,
        base="tiny",
        steps=STEPS,
        batch_size=4,
        warmup_steps=2,
        validate_rows=0,
        **made,
    )
    door("unwrap", checkpoint=made["checkpoint"], **out("unwrap", "weights", "metrics"))


def register():
    weights, dataset = WORK / "unwrap" / "weights", WORK / "annotate_merge" / "dataset"
    judged = out("evaluate", "evaluation", "report", "metrics")
    cheap = {"sounds": 2, "train_sounds": 0, "references": 4, "steps": 4, "loss_rows": 0, "players": 0}
    door("evaluate", weights=weights, latents=WORK / "encode" / "latents", dataset=dataset, **cheap, **judged)
    made = out("register", "release", "report", "metrics")
    given = {"weights": weights, "dataset": dataset, "evaluation": judged["evaluation"]}
    version = door("register", name="helm-test", champion="false", **given, **made)["version"]
    return f"version {version}"


def token():
    done = subprocess.run(
        [sys.executable, "-m", "audiotune.access", "token", "issue", "test", "--days", "1"], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"helm test: no token was issued ({done.stderr.strip()})")
    return done.stdout.strip()


def listen():
    """A sound with a token; the same without one is refused."""
    carried = token()
    until = time.monotonic() + PATIENCE_S
    while status(SERVICE + "/v1/health") != 200:
        if time.monotonic() > until:
            sys.exit(f"helm test: the new release is not served: {said(SERVICE + '/v1/health')}")
        time.sleep(1)
    body = json.dumps({"prompt": "low drone", "seconds": 1, "steps": 8, "seed": 1, "format": "wav"}).encode()
    if status(SERVICE + "/v1/generations", body) != 401:
        sys.exit("helm test: a request without a token was not refused")
    request = urllib.request.Request(SERVICE + "/v1/generations", data=body)
    request.add_header("Authorization", f"Bearer {carried}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        sound = answer.read()
    from audiotune.sound import read

    (WORK / "sound.wav").write_bytes(sound)
    heard = read(WORK / "sound.wav")
    if not heard.peak_dbfs > -60:
        sys.exit("helm test: the sound is silent")
    return f"{heard.frames / heard.sample_rate_hz:.1f} s of sound, peak {heard.peak_dbfs:.0f} dBFS"


def neighbours():
    """The services of the release itself answer, and ask who comes."""
    for address, good in json.loads(os.environ.get("JOURNEY_NEIGHBOURS", "[]")):
        found = status(address)
        if found not in good:
            sys.exit(f"helm test: {address} answers {found}, not {' or '.join(map(str, good))}")
        print(f"           {address} answers {found}", flush=True)


def status(address, body=None):
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError as e:
        return str(e)


def said(address):
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.read().decode()[:500]
    except urllib.error.HTTPError as e:
        return e.read().decode()[:500]
    except OSError as e:
        return str(e)


def main():
    began = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    timed("neighbours", neighbours)
    timed("sounds in", takes)
    timed("prepared", prepare)
    timed("tuned", tune)
    timed("registered", register)
    timed("heard", listen)
    print(f"{time.monotonic() - began:7.1f} s  the whole journey", flush=True)


if __name__ == "__main__":
    main()
