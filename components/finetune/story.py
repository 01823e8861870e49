"""The report of a run: loss curves, facts and demos on one page."""

from __future__ import annotations

from collections.abc import Sequence

from audiotune import picture, report
from audiotune.checkpoint import Checkpoint
from audiotune.dataset import LatentRow
from components.finetune.demos import Demo
from components.finetune.settings import Settings


def tell(checkpoint: Checkpoint, settings: Settings, demos: Sequence[Demo], rows: Sequence[LatentRow], trouble: str = "") -> str:
    """The whole page as HTML."""
    body = _facts(checkpoint, settings, sum(row.split == "train" for row in rows)) + _curves(checkpoint)
    if trouble:
        body += report.note(f"No demos: {trouble}", kind="bad")
    if demos:
        body += report.section("Sounds made of held-out captions", *(_demo(demo) for demo in demos))
    body += report.details("All settings", report.table(("knob", "value"), sorted(checkpoint.recipe.items())))
    return report.page("Fine-tuning", body, subtitle=f"{checkpoint.base}, {checkpoint.kind}, {checkpoint.step} steps")


def _facts(checkpoint: Checkpoint, settings: Settings, rows: int) -> str:
    pairs: list[tuple[str, object]] = [("steps", checkpoint.step), ("segments", rows), ("batch", settings.batch_size)]
    losses = checkpoint.history.get("train_loss", [])
    if losses:
        pairs.append(("loss, first to last", f"{losses[0][1]:.3f} → {losses[-1][1]:.3f}"))
    held_out = checkpoint.history.get("validation_mean", [])
    if held_out:
        pairs.append(("held-out loss", f"{held_out[0][1]:.3f} → {held_out[-1][1]:.3f}"))
    return report.figures(pairs)


def _curves(checkpoint: Checkpoint) -> str:
    def series(*names: str) -> dict[str, tuple[list[int], list[float]]]:
        return {
            name.removeprefix("validation_").replace("_", " "): ([s for s, _ in points], [v for _, v in points])
            for name, points in checkpoint.history.items()
            if name in names or (names == ("levels",) and name.startswith("validation_t_"))
        }

    parts = []
    for title, lines in (
        ("Loss", series("train_loss", "validation_mean")),
        ("Held-out loss by noise level (t near 1 is noise)", series("levels")),
    ):
        if lines:
            png = picture.curve_png(lines, x="step", y="mean squared error")
            parts.append(report.section(title, report.picture(png, title)))
    return "".join(parts)


def _demo(demo: Demo) -> str:
    player = report.player(demo.sound, label=f"“{demo.prompt}”, seed {demo.seed}")
    return report.Html(player + report.picture(picture.spectrogram_png(demo.sound), f"spectrogram of {demo.prompt}"))
