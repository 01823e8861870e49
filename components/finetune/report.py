"""The report of a run: loss curves, facts and demos on one page."""

from collections.abc import Sequence

from audiotune.audio import figures
from audiotune.domain.checkpoint import Checkpoint
from audiotune.domain.dataset import LatentRow
from audiotune.reporting import html
from components.finetune.demos import DemoSound
from components.finetune.settings import Settings


def render_report(
    checkpoint: Checkpoint, settings: Settings, demos: Sequence[DemoSound], rows: Sequence[LatentRow], trouble: str = ""
) -> str:
    """The whole page as HTML."""
    body = _render_facts(checkpoint, settings, sum(row.split == "train" for row in rows)) + _render_curves(checkpoint)
    if trouble:
        body += html.render_note(f"No demos: {trouble}", kind="bad")
    if demos:
        body += html.render_section("Sounds made of held-out captions", *(_render_demo(demo) for demo in demos))
    body += html.render_details("All settings", html.render_table(("setting", "value"), sorted(checkpoint.recipe.items())))
    return html.render_page("Fine-tuning", body, subtitle=f"{checkpoint.base}, {checkpoint.kind}, {checkpoint.step} steps")


def _render_facts(checkpoint: Checkpoint, settings: Settings, rows: int) -> html.Markup:
    pairs: list[tuple[str, object]] = [("steps", checkpoint.step), ("segments", rows), ("batch", settings.batch_size)]
    losses = checkpoint.history.get("train_loss", [])
    if losses:
        pairs.append(("loss, first to last", f"{losses[0][1]:.3f} → {losses[-1][1]:.3f}"))
    held_out = checkpoint.history.get("validation_mean", [])
    if held_out:
        pairs.append(("held-out loss", f"{held_out[0][1]:.3f} → {held_out[-1][1]:.3f}"))
    return html.render_key_figures(pairs)


def _render_curves(checkpoint: Checkpoint) -> html.Markup:
    curves: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for name, points in checkpoint.history.items():
        title = "Loss" if name in ("train_loss", "validation_mean") else "Held-out loss by noise level (t near 1 is noise)"
        label = name.removeprefix("validation_").replace("_", " ")
        curves.setdefault(title, {})[label] = ([step for step, _ in points], [value for _, value in points])
    parts = []
    for title, lines in curves.items():
        if lines:
            png = figures.draw_curves(lines, x="step", y="mean squared error")
            parts.append(html.render_section(title, html.render_picture(png, title)))
    return html.join_markup(*parts)


def _render_demo(demo: DemoSound) -> html.Markup:
    player = html.render_player(demo.sound, label=f"“{demo.prompt}”, seed {demo.seed}")
    return html.join_markup(player, html.render_picture(figures.draw_spectrogram(demo.sound), f"spectrogram of {demo.prompt}"))
