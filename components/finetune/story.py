"""The report of a run: loss curves, facts and demos on one page."""

from __future__ import annotations

from collections.abc import Sequence

from audiotune import picture, report
from audiotune.checkpoint import Checkpoint
from audiotune.dataset import LatentRow
from components.finetune.demos import DemoSound
from components.finetune.settings import Settings


def render_report(checkpoint: Checkpoint, settings: Settings, demos: Sequence[DemoSound], rows: Sequence[LatentRow], trouble: str = "") -> str:
    """The whole page as HTML."""
    body = _render_facts(checkpoint, settings, sum(row.split == "train" for row in rows)) + _render_curves(checkpoint)
    if trouble:
        body += report.render_note(f"No demos: {trouble}", kind="bad")
    if demos:
        body += report.render_section("Sounds made of held-out captions", *(_render_demo(demo) for demo in demos))
    body += report.render_details("All settings", report.render_table(("knob", "value"), sorted(checkpoint.recipe.items())))
    return report.render_page("Fine-tuning", body, subtitle=f"{checkpoint.base}, {checkpoint.kind}, {checkpoint.step} steps")


def _render_facts(checkpoint: Checkpoint, settings: Settings, rows: int) -> str:
    pairs: list[tuple[str, object]] = [("steps", checkpoint.step), ("segments", rows), ("batch", settings.batch_size)]
    losses = checkpoint.history.get("train_loss", [])
    if losses:
        pairs.append(("loss, first to last", f"{losses[0][1]:.3f} → {losses[-1][1]:.3f}"))
    held_out = checkpoint.history.get("validation_mean", [])
    if held_out:
        pairs.append(("held-out loss", f"{held_out[0][1]:.3f} → {held_out[-1][1]:.3f}"))
    return report.render_key_figures(pairs)


def _render_curves(checkpoint: Checkpoint) -> str:
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
            png = picture.draw_curves(lines, x="step", y="mean squared error")
            parts.append(report.render_section(title, report.render_picture(png, title)))
    return "".join(parts)


def _render_demo(demo: DemoSound) -> str:
    player = report.render_player(demo.sound, label=f"“{demo.prompt}”, seed {demo.seed}")
    return report.Html(player + report.render_picture(picture.draw_spectrogram(demo.sound), f"spectrogram of {demo.prompt}"))
