"""Plans a training of a recipe: memory by phase, time and disk. `audiotune plan` runs it.

python -m pipelines.plan --recipe lora_24gb --card 24GB
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiotune.domain.dataset import DatasetRow, LatentRow
from audiotune.domain.manifest import load_manifest
from audiotune.errors import AudioTuneError, ManifestError, SettingsError
from audiotune.plan_command import add_plan_command
from audiotune.store import open_store
from audiotune.store.atomic_files import write_atomic_file
from pipelines.recipe import Recipe, load_recipe, load_step_settings

if TYPE_CHECKING:
    from components.finetune.memory_plan import MemoryPlan

_LATENT_BYTES = 64 * 4 * 21.6  # a second of latents: 64 channels, 21.6 frames


def main(arguments: list[str] | None = None) -> int:
    """Prints the plan. Returns 0 where it fits or no card was named, 3 where it does not fit, 1 after an error."""
    parser = argparse.ArgumentParser(prog="audiotune plan")
    add_plan_command(parser)
    args = parser.parse_args(arguments)
    try:
        plan, clips = _make_plan(args)
    except AudioTuneError as e:
        print(f"audiotune: {e}", file=sys.stderr)
        return 1
    described = plan.to_json() | {"recipe": args.recipe, "clips": clips}
    text = json.dumps(described, indent=1)
    if args.json and args.json != "-":
        write_atomic_file(Path(args.json), text + "\n")
    print(text if args.json == "-" else render_table(plan, args.recipe, clips))
    return 0 if plan.fits else 3


def plan_recipe(recipe: Recipe, *, base: str = "", seconds: float = 0.0, card_gb: float = 0.0, store: str = "") -> MemoryPlan:
    """The plan of a recipe's training.

    Args:
        base: another base than the recipe's.
        seconds: the longest sound; 0: the recipe's `max_s`.
        store: address of the store where fetched bases lie.

    Raises:
        ModelError: the base's shape is not known before it is fetched.
    """
    from audiotune.stable_audio.known_shapes import read_base_config
    from components.finetune.memory_plan import plan_training

    settings: Any = load_step_settings("finetune").model_validate(
        recipe.settings_for("finetune") | ({"base": base} if base else {})
    )
    config, folder = read_base_config(settings.base, open_store(store) if store else None)
    window_s = config["sample_size"] / config["sample_rate"]
    longest_s = min(seconds or float(recipe.setting_value("segment", "max_s")), window_s)
    return plan_training(config, settings, longest_s, card_gb, folder)


def parse_card(words: str) -> float:
    """Gigabytes of "24GB", "24" or "24 GiB"; 0 of nothing. Raises SettingsError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:gi?b?)?\s*", words, re.IGNORECASE)
    if words and found is None:
        raise SettingsError(f"{words[:40]!r} is no size of a card", where="--card", cure="give gigabytes, as in 24GB")
    return float(found[1]) if found else 0.0


def render_table(plan: MemoryPlan, name: str, clips: int) -> str:
    """The plan for a terminal."""
    count, (card, step_s) = plan.count, plan.speed
    settings = plan.settings
    rows = [
        ("weights", f"{_gib(count.weights)} GB"),
        ("optimizer", f"{_gib(count.optimizer)} GB, for {count.trained_parameters / 1e6:.1f} M trained parameters"),
        *([("running mean", f"{_gib(count.mean)} GB")] if count.mean else []),
        ("activations, gradients", f"{_gib(count.moment)} GB, at the fullest moment of a step"),
        ("a step", f"{_gib(count.step_peak)} GB"),
        *([("demos", f"{_gib(count.demos_peak)} GB")] if count.demos_peak else []),
        ("checkpoint", f"{_gib(count.checkpoint)} GB, {_gib(plan.disk_bytes)} GB with those that are kept"),
        *([("latents", f"{clips * plan.seconds * _LATENT_BYTES / 2**20:.0f} MB for {clips} sounds, at most")] if clips else []),
        ("time", f"about {step_s:.2f} s a step, {step_s * settings.steps / 3600:.1f} h, on a {card}: reckoned, not measured"),
    ]
    head = f"{name}: {settings.mode} of {settings.base}, {settings.batch_size} sounds of {plan.seconds:.1f} s a step, {settings.precision}"
    return "\n".join([head, *(f"  {label:<24}{value}" for label, value in rows), plan.verdict])


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}"


def _make_plan(args: argparse.Namespace) -> tuple[MemoryPlan, int]:
    seconds, clips = float(args.seconds), int(args.clips)
    if args.dataset:
        lengths = _read_lengths(Path(args.dataset))
        seconds, clips = seconds or max(lengths), clips or len(lengths)
    plan = plan_recipe(load_recipe(args.recipe), base=args.base, seconds=seconds, card_gb=parse_card(args.card), store=args.store)
    return plan, clips


def _read_lengths(manifest: Path) -> list[float]:
    """Seconds of each sound of a manifest of latents or of a dataset. Raises ManifestError."""
    try:
        return [row.seconds for row in load_manifest(manifest, "latents", LatentRow).rows]
    except ManifestError:
        rows = load_manifest(manifest, "datasets", DatasetRow).rows
        if not rows:
            raise ManifestError("the dataset holds no segment", where=str(manifest)) from None
        return [row.segment.frames / row.segment.sample_rate_hz for row in rows]


if __name__ == "__main__":
    raise SystemExit(main())
