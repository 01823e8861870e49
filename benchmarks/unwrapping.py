"""Peak memory of unwrapping a wrapped checkpoint, beside loading the whole of it.

    python -m benchmarks.unwrapping [--megabytes 200]

Makes a `.ckpt` as stable-audio-tools' trainer leaves it (weights, running mean, two moments: four times the model), then lets two
fresh processes turn it into model.safetensors: ours, and the plain `torch.load` and `save_file`. The same bytes must come out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_MIB = 1 << 20


def make(path: Path, megabytes: int) -> None:
    """A wrapped checkpoint of a model of that size, in layers of 4 MiB."""
    import torch

    names = [f"model.layer{i:04d}.weight" for i in range(max(1, megabytes // 4))]
    online = {f"diffusion.{name}": torch.randn(1024, 1024) for name in names}
    mean = {f"diffusion_ema.ema_model.{name.removeprefix('model.')}": torch.randn(1024, 1024) for name in names}
    moments = {i: {"exp_avg": torch.randn(1024, 1024), "exp_avg_sq": torch.rand(1024, 1024)} for i in range(len(names))}
    torch.save({"state_dict": {**online, **mean}, "optimizer_states": [{"state": moments}], "global_step": 800}, path)


def ours(source: Path, target: Path) -> None:
    from audiotune.store import tensor_files
    from components.unwrap.foreign_weights import open_weights_file

    with open_weights_file(source, ema=True) as (found, _, _):
        tensor_files.write_tensors(target, found)


def plainly(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = torch.load(source, map_location="cpu", weights_only=True)["state_dict"]
    mean = "diffusion_ema.ema_model."
    save_file({f"model.{name.removeprefix(mean)}": tensor for name, tensor in state.items() if name.startswith(mean)}, target)


def measured(way: str, source: Path, target: Path) -> dict[str, float]:
    """MiB at the peak (all, and only what the kernel could not take back) and CPU seconds of a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.unwrapping", way, str(source), str(target)], capture_output=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _in_process(way: str, source: Path, target: Path) -> None:
    import threading
    import time

    import torch

    own, peak, done = _anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], _anonymous())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    began = time.process_time()
    {"ours": ours, "plainly": plainly}[way](source, target)
    done.set()
    assert torch
    print(json.dumps({"peak_mib": peak[0] - own, "cpu_s": time.process_time() - began}))


def _anonymous() -> float:
    """MiB of memory that is no mapped file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1] in ("ours", "plainly"):
        _in_process(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=200)
    megabytes = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "epoch=53-step=800.ckpt"
        make(source, megabytes)
        print(f"model of {megabytes} MiB in a checkpoint of {source.stat().st_size / _MIB:.0f} MiB")
        results = {way: measured(way, source, Path(folder) / f"{way}.safetensors") for way in ("ours", "plainly")}
        for way, found in results.items():
            print(f"{way:10} {found['peak_mib']:8.0f} MiB above the start   {found['cpu_s']:6.2f} CPU s")
        assert same(Path(folder) / "ours.safetensors", Path(folder) / "plainly.safetensors")
        print("the tensors are equal to the bit")


def same(one: Path, other: Path) -> bool:
    import torch

    from audiotune.store import tensor_files

    with tensor_files.open_tensors(one) as a, tensor_files.open_tensors(other) as b:
        return a.keys() == b.keys() and all(torch.equal(a[name].load(), b[name].load()) for name in a)


if __name__ == "__main__":
    main()
