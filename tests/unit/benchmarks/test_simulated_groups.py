"""The shuffled captions of the gate's benchmark: held-out segments keep theirs, and training segments lose none."""

from __future__ import annotations

from audiotune.domain.dataset import LatentRow
from benchmarks.simulated_groups import shuffle_captions


def test_only_training_segments_change_their_captions() -> None:
    rows = [
        LatentRow(
            segment=f"{i:064x}",
            recording="a" * 64,
            split="held_out" if i % 4 == 0 else "train",
            latents=f"blobs/{i}",
            latent_frames=8,
            seconds=1.0,
            captions=(f"words {i}",),
            embeddings=(f"blobs/words-{i}",),
        )
        for i in range(20)
    ]
    mixed = shuffle_captions(rows, 1)
    pairs = list(zip(rows, mixed))
    assert all(a == b for a, b in pairs if a.split == "held_out")
    assert all(a.latents == b.latents for a, b in pairs)
    assert sorted(row.captions for row in mixed) == sorted(row.captions for row in rows)
    assert sum(a.captions != b.captions for a, b in pairs) > 10
    assert all(row.embeddings == (f"blobs/words-{row.captions[0].split()[1]}",) for row in mixed)
