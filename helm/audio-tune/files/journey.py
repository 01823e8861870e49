"""`helm test`: runs the smallest whole pipeline by the steps' own commands, as Kubeflow does, and prints the time of each part.

It synthesizes sounds, prepares them, tunes the tiny base model for a few steps, registers it, and generates a sound over HTTP with
a member's token. All objects have the prefix helm-test/ in the bucket and are removed after a day; the release is named
`helm-test`, so no other release loses its alias.
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
    """Does the work and prints its time; the first failure ends the test."""
    began = time.monotonic()
    answer = work()
    print(f"{time.monotonic() - began:7.1f} s  {title}{f': {answer}' if answer else ''}", flush=True)


def write_takes():
    """Eight takes of the simulated synthesizer; each file name describes the sound."""
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
    """Runs one step by its own command and returns its parameters; the last line of a failed step is the reason."""
    words = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    done = subprocess.run([sys.executable, "-m", f"components.{step}", *words], capture_output=True, text=True)
    (WORK / f"{step}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        sys.exit(f"helm test: {step} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout[done.stdout.rindex("\n{\n") :])["parameters"] if "\n{\n" in done.stdout else {}


def make_artifact_paths(step, *names):
    """The paths of the artifacts of a step."""
    folder = WORK / step
    folder.mkdir(parents=True, exist_ok=True)
    return {name: folder / name for name in names}


def prepare_dataset():
    made = make_artifact_paths("ingest", "recordings", "report", "metrics")
    run_step("ingest", source=WORK / "takes", agreement=WORK / "agreement.toml", contributors="test", **made)
    cut = make_artifact_paths("segment", "segments", "report", "metrics")
    segments = run_step("segment", recordings=made["recordings"], min_s=0.3, max_s=4, **cut)["segments_key"]
    merged = make_artifact_paths("annotate_merge", "dataset", "report", "metrics")
    run_step("annotate_merge", segments=segments, sources="file_names", **merged)


def tune_model():
    dataset = WORK / "annotate_merge" / "dataset"
    latents = WORK / "encode" / "latents"
    run_step("encode", dataset=dataset, base="tiny", **make_artifact_paths("encode", "latents", "metrics"))
    made = make_artifact_paths("finetune", "checkpoint", "report", "metrics")
    short = {"base": "tiny", "steps": STEPS, "batch_size": 4, "warmup_steps": 2, "validate_rows": 0}
    run_step("finetune", latents=latents, dataset=dataset, **short, **made)
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
    """Generates a sound with a token; the same request without one must be refused."""
    token = issue_token()
    until = time.monotonic() + TIMEOUT_S
    while (answer := send_request(SERVICE + "/v1/health"))[0] != 200:
        if time.monotonic() > until:
            sys.exit(f"helm test: the new release is not served: {answer[1][:500].decode(errors='replace')}")
        time.sleep(1)
    body = json.dumps({"prompt": "low drone", "seconds": 1, "steps": 8, "seed": 1, "format": "wav"}).encode()
    if send_request(SERVICE + "/v1/generations", body)[0] != 401:
        sys.exit("helm test: a request without a token was not refused")
    status, sound = send_request(SERVICE + "/v1/generations", body, {"Authorization": f"Bearer {token}"}, TIMEOUT_S)
    if status != 200:
        sys.exit(f"helm test: no sound was generated ({status}): {sound[:500].decode(errors='replace')}")
    from audiotune.audio.sound import read_sound

    (WORK / "sound.wav").write_bytes(sound)
    heard = read_sound(WORK / "sound.wav")
    if not heard.peak_dbfs > -60:
        sys.exit("helm test: the sound is silent")
    return f"{heard.frames / heard.sample_rate_hz:.1f} s of sound, peak {heard.peak_dbfs:.0f} dBFS"


def check_services():
    """The release's own services answer, and refuse a request without a sign-in."""
    for address, good in json.loads(os.environ.get("JOURNEY_NEIGHBOURS", "[]")):
        status, _ = send_request(address)
        if status not in good:
            sys.exit(f"helm test: {address} answers {status}, not {' or '.join(map(str, good))}")
        print(f"           {address} answers {status}", flush=True)


def send_request(address, body=None, headers=None, timeout_s=60):
    """The status and the body of the answer; the error in place of both where there is none."""
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()
    except OSError as e:
        return str(e), str(e).encode()


def main():
    began = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    time_step("services", check_services)
    time_step("sounds written", write_takes)
    time_step("prepared", prepare_dataset)
    time_step("tuned", tune_model)
    time_step("registered", register_release)
    time_step("sound generated", check_sound)
    print(f"{time.monotonic() - began:7.1f} s  in all", flush=True)


if __name__ == "__main__":
    main()
