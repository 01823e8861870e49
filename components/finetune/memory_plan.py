"""Whether a training fits a card, and which settings make it fit; what it leaves on disk and about how long it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from audiotune.errors import TrainingError
from components.finetune.memory_count import TrainingCount, count_training
from components.finetune.settings import Settings

GIB = 2**30
_DRIVER_GIB = 0.7  # context of the driver and its libraries
_SLACK = 1.05  # blocks that the allocator keeps in reserve
_UTILISATION = 0.35  # of a card's peak that training reaches, roughly
# card's memory in GB -> dense bf16 operations a second of a usual card of that size
_SPEEDS: Mapping[int, tuple[str, float]] = {
    8: ("RTX 4060", 60e12),
    12: ("RTX 4070", 58e12),
    16: ("RTX 4080", 97e12),
    24: ("RTX 3090", 71e12),
    40: ("A100", 312e12),
    80: ("A100", 312e12),
}


@dataclass(frozen=True)
class Change:
    """A setting that saves memory, as a recipe says it, and what it costs."""

    setting: str
    value: Any
    costs: str

    @property
    def words(self) -> str:
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f'{self.setting} = "{value}"' if isinstance(self.value, str) else f"{self.setting} = {value}"


@dataclass(frozen=True)
class MemoryPlan:
    """A training on a card.

    Attributes:
        card_gb: memory of the card; 0 where none was named.
        changes: settings that make it fit, in the order of what they cost; empty where it fits, or where nothing helps.
        changed: the count with these changes.
    """

    settings: Settings
    count: TrainingCount
    seconds: float
    card_gb: float = 0.0
    changes: tuple[Change, ...] = ()
    changed: TrainingCount | None = None

    @property
    def fits(self) -> bool:
        return not self.card_gb or needed_bytes(self.count) <= self.card_gb * GIB

    @property
    def disk_bytes(self) -> int:
        """Checkpoints that are kept at the same time: the last ones, the one that ends the run, and one being written."""
        return self.count.checkpoint * (self.settings.keep_last + 2)

    @property
    def speed(self) -> tuple[str, float]:
        """A usual card of that size, and about how many seconds a step takes there; not measured."""
        size = max((known for known in _SPEEDS if known <= (self.card_gb or 24)), default=min(_SPEEDS))
        name, per_second = _SPEEDS[size]
        return name, self.count.step_flops / (per_second * _UTILISATION)

    @property
    def verdict(self) -> str:
        """One sentence, with the cure."""
        need = needed_bytes(self.count) / GIB
        if not self.card_gb:
            return f"it needs a card with {need:.1f} GB"
        if self.fits:
            return f"it fits: it needs {need:.1f} of {self.card_gb:g} GB"
        told = f"it does not fit: it needs {need:.1f} of {self.card_gb:g} GB"
        if not self.changes or self.changed is None:
            return f"{told}, and no setting makes it fit: take a smaller base, shorter segments or a larger card"
        cures = ", ".join(f"{change.words} ({change.costs})" for change in self.changes)
        return f"{told}. With {cures} it needs {needed_bytes(self.changed) / GIB:.1f}"

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values: bytes, seconds and words."""
        card, step_s = self.speed
        return {
            "memory": asdict(self.count) | {"peak": self.count.peak, "needed": needed_bytes(self.count)},
            "disk_bytes": self.disk_bytes,
            "step_s": step_s,
            "training_s": step_s * self.settings.steps,
            "measured_on": "",
            "time_is_of": card,
            "batch_size": self.settings.batch_size,
            "longest_s": self.seconds,
            "card_gb": self.card_gb or None,
            "fits": self.fits if self.card_gb else None,
            "changes": {change.setting: change.value for change in self.changes},
            "verdict": self.verdict,
        }


def needed_bytes(count: TrainingCount) -> int:
    """What a card must have: the peak, with what allocator and driver take."""
    return round(count.peak * _SLACK + _DRIVER_GIB * GIB)


def plan_training(
    config: Mapping[str, Any],
    settings: Settings,
    seconds: float,
    card_gb: float = 0.0,
    folder: Path | None = None,
) -> MemoryPlan:
    """Counts a training and looks for settings that make it fit.

    Args:
        seconds: the longest sound of the dataset.
        card_gb: 0 looks for nothing.

    Raises:
        ModelError: the base's config cannot be built.
    """

    def count(chosen: Settings) -> TrainingCount:
        return count_training(config, chosen, seconds, *([folder] if folder else []))

    plan = MemoryPlan(settings, count(settings), seconds, card_gb)
    if plan.fits:
        return plan
    changes, changed = find_changes(settings, count, card_gb)
    return MemoryPlan(settings, plan.count, seconds, card_gb, changes, changed)


def find_changes(
    settings: Settings, count: Callable[[Settings], TrainingCount], card_gb: float
) -> tuple[tuple[Change, ...], TrainingCount | None]:
    """The changes, one after the other, until it fits; none where all together do not help."""
    made: list[Change] = []
    for change in list_changes(settings):
        made = [kept for kept in made if kept.setting != change.setting] + [change]
        counted = count(_apply(settings, made))
        if needed_bytes(counted) <= card_gb * GIB:
            return tuple(made), counted
    return (), None


def _apply(settings: Settings, changes: Sequence[Change]) -> Settings:
    return settings.model_copy(update={change.setting: change.value for change in changes})


def list_changes(settings: Settings) -> list[Change]:
    """Settings that save memory and are not set yet, the cheapest first."""
    parts = min(settings.batch_size, 4)
    all_changes = (
        Change("precision", "bf16", "learns nearly the same") if settings.precision == "fp32" else None,
        Change("activation_checkpointing", True, "a third slower, learns the same"),
        Change("optimizer_state", "int8", "learns nearly the same") if settings.mode == "full" else None,
        Change("weights", "bf16", "adapters stay exact" if settings.mode == "lora" else "each step is rounded at random"),
        *(Change("accumulate", 2**power, "learns the same") for power in range(1, parts.bit_length()) if 2**power <= parts),
        Change("accumulate", settings.batch_size, "slower, learns the same"),
        Change("ema_decay", 0.0, "keeps no running mean") if settings.ema_decay else None,
        Change("mode", "lora", "teaches small adapters beside the weights"),
    )
    return [change for change in all_changes if change is not None and _saves(settings, change)]


def _saves(settings: Settings, change: Change) -> bool:
    now = getattr(settings, change.setting)
    return now < change.value if change.setting == "accumulate" else now != change.value


@contextlib.contextmanager
def name_full_memory(settings: Settings) -> Iterator[None]:
    """Within the block an out-of-memory error of a GPU becomes a TrainingError that names the setting which cures it."""
    try:
        yield
    except torch.OutOfMemoryError as e:
        raise TrainingError("the GPU's memory is full", where="finetune", cure=explain_full_memory(settings)) from e


def explain_full_memory(settings: Settings) -> str:
    """The cure of an out-of-memory error: the cheapest settings that are not set yet."""
    named = [change.words for change in list_changes(settings)][:2]
    return (
        f"set {' or '.join(named)} in [finetune], and run it again: it goes on from its last checkpoint"
        if named
        else ("lower max_s in [segment] or batch_size in [finetune], or take a larger card")
    )
