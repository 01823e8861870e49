"""Memory that can still be taken: of the machine, or of the container when that is less."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.generation.engine.release_loader import measure_free_memory

GIB = 2**30


def make_tree(root: Path, available_kib: int, **cgroup: str) -> tuple[Path, Path]:
    """(/proc/meminfo, /sys/fs/cgroup) of a made-up machine."""
    meminfo, group = root / "meminfo", root / "cgroup"
    meminfo.write_text(f"MemTotal:       64 kB\nMemFree:        1 kB\nMemAvailable:   {available_kib} kB\nBuffers: 2 kB\n")
    group.mkdir()
    for name, text in cgroup.items():
        (group / name.replace("_", ".")).write_text(text)
    return meminfo, group


@pytest.mark.parametrize(
    ("cgroup", "free"),
    [
        ({"memory_max": f"{3 * GIB}\n", "memory_current": f"{GIB}\n"}, 2 * GIB),
        ({"memory_max": f"{99 * GIB}\n", "memory_current": f"{GIB}\n"}, 8 * GIB),
        ({"memory_max": "max\n", "memory_current": f"{GIB}\n"}, 8 * GIB),
        ({"memory_max": f"{3 * GIB}\n"}, 8 * GIB),
        ({}, 8 * GIB),
        ({"memory_max": f"{GIB}\n", "memory_current": f"{2 * GIB}\n"}, -GIB),
    ],
    ids=["container is less", "machine is less", "no limit", "half a container", "no container", "over the limit"],
)
def test_free_memory_is_the_least_of_machine_and_container(tmp_path: Path, cgroup: dict[str, str], free: int) -> None:
    assert measure_free_memory(*make_tree(tmp_path, 8 * 2**20, **cgroup)) == free


def test_reclaimable_file_cache_of_the_container_counts_as_free(tmp_path: Path) -> None:
    """Reading weights fills the page cache, which the container's count holds and the system gives back when memory is asked for."""
    stat = f"anon {GIB}\nfile {GIB}\ninactive_file {GIB // 2}\nactive_file {GIB // 2}\n"
    tree = make_tree(tmp_path, 8 * 2**20, memory_max=str(4 * GIB), memory_current=str(3 * GIB), memory_stat=stat)
    assert measure_free_memory(*tree) == GIB + GIB // 2


def test_a_system_without_these_files_has_no_bound(tmp_path: Path) -> None:
    assert measure_free_memory(tmp_path / "nowhere", tmp_path / "nowhere") == float("inf")


def test_this_machine_has_memory() -> None:
    assert measure_free_memory() > 0
