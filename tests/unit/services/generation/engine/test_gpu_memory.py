"""Whether a new version fits beside the old one counts what torch keeps and does not use as free."""

from __future__ import annotations

from services.generation.engine.release_loader import count_free_gpu_bytes


class _Gpu:
    """A GPU of 24 bytes: 10 are in tensors, 8 more in blocks that torch keeps."""

    def mem_get_info(self, device: object) -> tuple[int, int]:
        return 24 - self.memory_reserved(device), 24

    def memory_reserved(self, device: object) -> int:
        return 18

    def memory_allocated(self, device: object) -> int:
        return 10


def test_blocks_that_torch_keeps_and_does_not_use_are_free() -> None:
    assert count_free_gpu_bytes(_Gpu(), "cuda:0") == 14
