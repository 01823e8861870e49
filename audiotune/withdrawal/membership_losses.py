"""The losses of a membership test. Apart from the rest, because it needs torch, which the studio's image does not have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audiotune.domain.dataset import LatentRow
from audiotune.domain.release import WeightsPointer
from audiotune.stable_audio.base_models import resolve_base
from audiotune.stable_audio.load import load_model
from audiotune.stable_audio.release_weights import open_weights
from audiotune.stable_audio.row_losses import measure_row_losses
from audiotune.store.port import Store
from audiotune.withdrawal.membership import Values


def measure_losses(store: Store, weights: WeightsPointer | None, base: str, rows: Sequence[LatentRow], device: str) -> Values:
    """Mean loss of each row under a release's weights, or under the base where there are none. Raises ModelError, StoreError."""
    sa = open_weights(store, weights, device=device) if weights else load_model(resolve_base(store, base).folder, device=device)
    return np.array([np.mean(list(losses.values())) if losses else np.nan for losses, _ in measure_row_losses(sa, store, rows)])
