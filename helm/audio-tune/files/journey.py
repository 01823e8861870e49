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
TIMEOUT_S = 300
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


def time_step(title, work):
    """Does the work, tells its time; the first failure ends the journey."""
    began = time.monotonic()
    answer = work()
    print(f"{time.monotonic() - began:7.1f} s  {title}{f': {answer}' if answer else ''}", flush=True)


def write_takes():
    """Eight takes of the simulated synthesizer, named by what is heard in them."""
    import numpy as np

    from audiotune.audio.sound import Sound
    from audiotune.audio.synthesizer import make_random_patch, play_patch

    rng = np.random.default_rng(7)
    folder = WORK / "takes"
    for number in range(8):
        register, envelope = ("low", "drone") if number % 2 else ("high", "pluck")
        patch = make_random_patch(rng, register=register, envelope=envelope)
        silence = np.zeros(32_000, np.float32)
        sounds = [play_patch(patch.move_to_register(register, rng), 1.5, 32_000, number * 10 + part).data[0] for part in range(3)]
        frames = np.concatenate([part for sound in sounds for part in (silence, sound)] + [silence])
        Sound(frames[None], 32_000).write(folder / f"{patch.make_caption().replace(' ', '_')}_{number}.wav", "PCM_16")
    (WORK / "agreement.toml").write_text(AGREEMENT)
    return f"{len(list(folder.glob('*.wav')))} takes"


def run_step(step, **flags):
    """One step through its own door; its last words are the reason when it fails. Returns its parameters."""
    words = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    done = subprocess.run([sys.executable, "-m", f"components.{step}", *words], capture_output=True, text=True)
    (WORK / f"{step}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        sys.exit(f"helm test: {step} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout[done.stdout.rindex("\n{\n") :])["parameters"] if "\n{\n" in done.stdout else {}


def make_artifact_paths(step, *names):
    """Where the artifacts of a step go."""
    folder = WORK / step
    folder.mkdir(parents=True, exist_ok=True)
    return {name: folder / name for name in names}


def prepare_dataset():
    made = make_artifact_paths("ingest", "recordings", "report", "metrics")
    run_step("ingest", source=WORK / "takes", agreement=WORK / "agreement.toml", contributors="test", **made)
    cut = make_artifact_paths("segment", "segments", "report", "metrics")
    cut_to = run_step("segment", recordings=made["recordings"], min_s=0.3, max_s=4, **cut)["segments_key"]
    run_step(
        "annotate_merge",
        segments=cut_to,
        sources="file_names",
        **make_artifact_paths("annotate_merge", "dataset", "report", "metrics"),
    )


def tune_model():
    dataset = WORK / "annotate_merge" / "dataset"
    latents = WORK / "encode" / "latents"
    run_step("encode", dataset=dataset, base="tiny", **make_artifact_paths("encode", "latents", "metrics"))
    made = make_artifact_paths("finetune", "checkpoint", "report", "metrics")
    run_step(
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
    run_step("unwrap", checkpoint=made["checkpoint"], **make_artifact_paths("unwrap", "weights", "metrics"))


def register_release():
    weights, dataset = WORK / "unwrap" / "weights", WORK / "annotate_merge" / "dataset"
    judged = make_artifact_paths("evaluate", "evaluation", "report", "metrics")
    cheap = {"sounds": 2, "train_sounds": 0, "references": 4, "steps": 4, "loss_rows": 0, "players": 0}
    run_step("evaluate", weights=weights, latents=WORK / "encode" / "latents", dataset=dataset, **cheap, **judged)
    made = make_artifact_paths("register", "release", "report", "metrics")
    given = {"weights": weights, "dataset": dataset, "evaluation": judged["evaluation"]}
    version = run_step("register", name="helm-test", champion="false", **given, **made)["version"]
    return f"version {version}"


def issue_token():
    done = subprocess.run(
        [sys.executable, "-m", "audiotune.access", "token", "issue", "test", "--days", "1"], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"helm test: no token was issued ({done.stderr.strip()})")
    return done.stdout.strip()


def check_sound():
    """A sound with a token; the same without one is refused."""
    carried = issue_token()
    until = time.monotonic() + TIMEOUT_S
    while get_status(SERVICE + "/v1/health") != 200:
        if time.monotonic() > until:
            sys.exit(f"helm test: the new release is not served: {read_answer(SERVICE + '/v1/health')}")
        time.sleep(1)
    body = json.dumps({"prompt": "low drone", "seconds": 1, "steps": 8, "seed": 1, "format": "wav"}).encode()
    if get_status(SERVICE + "/v1/generations", body) != 401:
        sys.exit("helm test: a request without a token was not refused")
    request = urllib.request.Request(SERVICE + "/v1/generations", data=body)
    request.add_header("Authorization", f"Bearer {carried}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        sound = answer.read()
    from audiotune.audio.sound import read_sound

    (WORK / "sound.wav").write_bytes(sound)
    heard = read_sound(WORK / "sound.wav")
    if not heard.peak_dbfs > -60:
        sys.exit("helm test: the sound is silent")
    return f"{heard.frames / heard.sample_rate_hz:.1f} s of sound, peak {heard.peak_dbfs:.0f} dBFS"


def check_services():
    """The services of the release itself answer, and ask who comes."""
    for address, good in json.loads(os.environ.get("JOURNEY_NEIGHBOURS", "[]")):
        found = get_status(address)
        if found not in good:
            sys.exit(f"helm test: {address} answers {found}, not {' or '.join(map(str, good))}")
        print(f"           {address} answers {found}", flush=True)


def get_status(address, body=None):
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError as e:
        return str(e)


def read_answer(address):
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
    time_step("neighbours", check_services)
    time_step("sounds in", write_takes)
    time_step("prepared", prepare_dataset)
    time_step("tuned", tune_model)
    time_step("registered", register_release)
    time_step("heard", check_sound)
    print(f"{time.monotonic() - began:7.1f} s  the whole journey", flush=True)


if __name__ == "__main__":
    main()
