"""The takes a demo begins with have a sound of their own."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.demo_takes import SAMPLE_RATE_HZ, apply_amplifier


@pytest.mark.parametrize(("hz", "gain_db"), [(60.0, 0.0), (350.0, 8.0), (1500.0, 0.1), (6000.0, -24.0)])
def test_the_amplifier_lifts_the_low_middle_and_dulls_the_top(hz: float, gain_db: float) -> None:
    tone = (0.1 * np.sin(2 * np.pi * hz * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)).astype(np.float32)
    heard = apply_amplifier(tone)
    assert heard.dtype == np.float32
    assert len(heard) == len(tone)
    assert 20 * np.log10(np.abs(heard).std() / np.abs(tone).std()) == pytest.approx(gain_db, abs=0.3)


def test_what_would_clip_is_turned_down() -> None:
    loud = np.sin(2 * np.pi * 350 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32)
    assert np.abs(apply_amplifier(loud)).max() == pytest.approx(0.9, abs=1e-3)


def test_silence_stays_silent() -> None:
    assert not apply_amplifier(np.zeros(1000, np.float32)).any()
