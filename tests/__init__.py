"""Tests of Audio Tune; see CONTRIBUTING.md for what each folder needs."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
