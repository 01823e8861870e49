"""The chart on a real cluster, from the images to a reinstall, each stage with its time.

    python -m tests.e2e.cluster --light     without torch: the studio, MLflow, PostgreSQL, MinIO, jobs, policies (a few minutes)
    python -m tests.e2e.cluster             all images, helm test, a run, sounds with a member's token, a swap under load
    python -m tests.e2e.cluster --spare     the light part where this machine can run it in minutes; says so where it cannot

Needs the lab (../shared/lab) set up and podman. It owns the namespace audio-tune-e2e, which it removes at its end.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time

from audiotune.errors import AudioTuneError
from deploy.images.__main__ import read_version
from tests.e2e.lab import ROOT, ClusterError, down, up, why_not, without
from tests.e2e.light_stages import LIGHT, LeftOutError, LightStages
from tests.e2e.torch_stages import TorchStages

SPARE_DISK_GB = 12  # the light images once more, in podman, in the registry and on the node
SPARE_S = 540


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.cluster", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--light", action="store_true", help="without the images that hold torch")
    parser.add_argument(
        "--no-build", action="store_true", help="deploy/values/images.yaml and images.lock name pushed images already"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--spare", action="store_true", help="the light part, and only if it can be done within minutes")
    args = parser.parse_args()
    if reason := why_not() or (_want() if args.spare else ""):
        print(f"the cluster part is left out: {reason}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if args.spare:
        signal.signal(signal.SIGALRM, _too_slow)
        signal.alarm(SPARE_S)
    try:
        return _watched(args)
    except LeftOutError as e:
        print(f"the cluster part is left out: {e}")
        return 0


def _want() -> str:
    """What a quick run lacks here, or ""."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < SPARE_DISK_GB:
        return f"{free_gb:.0f} GB of disk are free, {SPARE_DISK_GB} are needed"
    return without(f"{name}:{read_version()}" for name in LIGHT)


def _too_slow(*_: object) -> None:
    raise LeftOutError(f"not done within {SPARE_S} s on this machine")


def _watched(args: argparse.Namespace) -> int:
    """Plays the journey on a lab that is put back as it was found."""
    began, was_up = time.monotonic(), up()
    try:
        if args.spare and not was_up:
            down(wipe=True)  # what a killed lab left: half a network, mounts, somebody's pods, which would all come back
        journey = (LightStages if args.light or args.spare else TorchStages)(build=not args.no_build, spare=args.spare)
        try:
            failed = _run_stages(journey)
        finally:
            signal.alarm(0)  # cleaning up takes what it takes
            if not args.keep:
                journey.clean()
    except subprocess.CalledProcessError as e:
        words = f"the lab does not start: {(e.stderr or b'').decode()[-500:]}"
        if args.spare:
            raise LeftOutError(words) from e
        failed = words
    finally:
        signal.alarm(0)
        if not was_up and not args.keep:
            down(wipe=args.spare)
    if failed:
        print(f"e2e: {failed}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:7.1f} s  in all; every stage passed")
    return 0


def _run_stages(journey: LightStages) -> str:
    """Plays the stages and prints the time of each; what failed, or ""."""
    for stage in journey.stages():
        name, start = stage.__name__.replace("_", " "), time.monotonic()
        try:
            stage()
        except LeftOutError:
            if broken := journey.cluster.broken():
                return f"{name}: {'; '.join(broken)}"  # not slow: it would never have come
            raise
        except (ClusterError, AudioTuneError, subprocess.SubprocessError) as e:
            return f"{name}: {e}"
        print(f"{time.monotonic() - start:7.1f} s  {name}", flush=True)
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
