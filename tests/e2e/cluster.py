"""The chart on a real cluster, from the images to a reinstall, each stage with its time.

    python -m tests.e2e.cluster --light     without torch: the studio, MLflow, PostgreSQL, MinIO, jobs, policies (a few minutes)
    python -m tests.e2e.cluster             all images, helm test, a run, sounds with a member's token, a swap under load
    python -m tests.e2e.cluster --spare     the light part where this machine can run it in minutes; says so where it cannot

The cluster is the one of KUBECONFIG, and its images go to REGISTRY (host/prefix); or it is a lab on this machine (AUDIOTUNE_LAB). Needs
kubectl, helm, and podman or docker. It owns the namespace audio-tune-e2e, which it removes at its end.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from audiotune.errors import AudioTuneError
from deploy.images.__main__ import read_version
from tests.e2e.cluster_access import ROOT, ClusterAccess, find_cluster
from tests.e2e.cluster_namespace import ClusterError
from tests.e2e.light_stages import LIGHT_IMAGES, LeftOutError, LightStages
from tests.e2e.torch_stages import TorchStages

SPARE_DISK_GB = 12  # the light images once more, in podman, in the registry and on the node
SPARE_S = 540


def main() -> int:
    args = _build_parser().parse_args()
    access = find_cluster()
    if reason := access.find_obstacle() or (_find_shortage() if args.spare else ""):
        print(f"the cluster part is left out: {reason}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if args.spare:
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(SPARE_S)
    began = time.monotonic()
    try:
        with _running_cluster(access, spare=args.spare, keep=args.keep):
            failed = _play(args)
    except LeftOutError as e:
        print(f"the cluster part is left out: {e}")
        return 0
    except ClusterError as e:
        failed = str(e)
    if failed:
        print(f"e2e: {failed}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:7.1f} s  in all; every stage passed")
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.cluster", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--light", action="store_true", help="without the images that hold torch")
    parser.add_argument(
        "--no-build", action="store_true", help="deploy/values/images.yaml and images.lock name pushed images already"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--spare", action="store_true", help="the light part, and only if it can be done within minutes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a value of the chart that this cluster needs; repeat it"
    )
    return parser


def _find_shortage() -> str:
    """What a quick run lacks here, or "". To build all images from nothing takes half an hour."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < SPARE_DISK_GB:
        return f"{free_gb:.0f} GB of disk are free, {SPARE_DISK_GB} are needed"
    if not shutil.which("podman"):
        return "podman is not on PATH"
    names = [f"{name}:{read_version()}" for name in LIGHT_IMAGES]
    missing = [name for name in names if not _has_podman_image(f"localhost/audio-tune/{name}")]
    return f"podman has no {', '.join(missing)} yet (make images builds them once)" if missing else ""


def _has_podman_image(name: str) -> bool:
    return subprocess.run(["podman", "image", "exists", name], capture_output=True, check=False).returncode == 0


def _give_up(*_: object) -> None:
    raise LeftOutError(f"not done within {SPARE_S} s on this machine")


@contextlib.contextmanager
def _running_cluster(access: ClusterAccess, *, spare: bool, keep: bool) -> Iterator[None]:
    """Starts the cluster where that is ours to do, and leaves it as it was found."""
    was_running = access.is_running()
    try:
        if spare and not was_running:
            access.stop(wipe=True)  # a lab that was killed left half a network, mounts and pods, which would all come back
        access.start()
        yield
    except subprocess.CalledProcessError as e:
        words = f"the lab does not start: {str(e.stderr or '')[-500:]}"
        raise (LeftOutError if spare else ClusterError)(words) from e
    finally:
        signal.alarm(0)  # cleaning up takes what it takes
        if not was_running and not keep:
            access.stop(wipe=spare)


def _play(args: argparse.Namespace) -> str:
    """Plays the stages and cleans up; what failed, or ""."""
    make = LightStages if args.light or args.spare else TorchStages
    journey = make(build=not args.no_build, spare=args.spare, values=args.set)
    try:
        return _run_stages(journey)
    finally:
        signal.alarm(0)
        if not args.keep:
            journey.clean()


def _run_stages(journey: LightStages) -> str:
    """Plays the stages and prints the time of each; what failed, or ""."""
    for stage in journey.stages():
        name, start = stage.__name__.replace("_", " "), time.monotonic()
        try:
            stage()
        except LeftOutError:
            if faults := journey.cluster.find_faults():
                return f"{name}: {'; '.join(faults)}"  # more time would not have helped
            raise
        except (ClusterError, AudioTuneError, subprocess.SubprocessError) as e:
            return f"{name}: {e}"
        print(f"{time.monotonic() - start:7.1f} s  {name}", flush=True)
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
