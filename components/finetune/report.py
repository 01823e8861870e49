"""The report of a run: loss curves, facts and demos on one page."""

from collections.abc import Mapping, Sequence

from audiotune.audio import figures
from audiotune.domain.checkpoint import Checkpoint
from audiotune.domain.dataset import LatentRow
from audiotune.reporting import html
from components.finetune.demo_sounds import DemoRound, DemoSound
from components.finetune.settings import Settings


def render_report(
    checkpoint: Checkpoint,
    settings: Settings,
    rows: Sequence[LatentRow],
    rounds: Sequence[DemoRound] = (),
    truth: Sequence[DemoSound] = (),
    beside_s: Mapping[str, float] | None = None,
) -> str:
    """The whole page as HTML.

    Args:
        rounds: of demos, in the order of their steps.
        truth: the recordings whose captions the demos were made of.
        beside_s: seconds in which the steps stood still, by cause.
    """
    body = _render_facts(checkpoint, settings, sum(row.split == "train" for row in rows), beside_s or {})
    body += _render_curves(checkpoint) + _render_rounds(rounds, truth)
    body += html.render_details("All settings", html.render_table(("setting", "value"), sorted(checkpoint.recipe.items())))
    return html.render_page("Fine-tuning", body, subtitle=f"{checkpoint.base}, {checkpoint.kind}, {checkpoint.step} steps")


def _render_facts(checkpoint: Checkpoint, settings: Settings, rows: int, beside_s: Mapping[str, float]) -> html.Markup:
    pairs: list[tuple[str, object]] = [("steps", checkpoint.step), ("segments", rows), ("batch", settings.batch_size)]
    losses = checkpoint.history.get("train_loss", [])
    if losses:
        pairs.append(("loss, first to last", f"{losses[0][1]:.3f} → {losses[-1][1]:.3f}"))
    held_out = checkpoint.history.get("validation_mean", [])
    if held_out:
        pairs.append(("held-out loss", f"{held_out[0][1]:.3f} → {held_out[-1][1]:.3f}"))
    pairs += [(f"time for {cause}", f"{seconds:.1f} s") for cause, seconds in beside_s.items()]
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


def _render_rounds(rounds: Sequence[DemoRound], truth: Sequence[DemoSound]) -> html.Markup:
    """The newest demos beside the recordings, then the earlier ones, which a page that is too large leaves out first."""
    faults = [
        html.render_note(f"No demos after step {made.step}: {made.fault}. The training itself is whole.", kind="bad")
        for made in rounds
        if made.fault
    ]
    heard = [made for made in rounds if made.sounds]
    if not heard:
        return html.join_markup(*faults)
    recordings = {one.place: one for one in truth}
    newest = [_render_pair(demo, recordings.get(demo.place)) for demo in heard[-1].sounds]
    parts = [html.render_section("Sounds made of held-out captions", *newest)]
    for made in reversed(heard[:-1]):
        players = (html.render_player(one.sound, label=_describe_demo(one)) for one in made.sounds)
        parts.append(html.render_section(f"The same words and seeds after step {made.step}", *players))
    return html.join_markup(*faults, *parts)


def _render_pair(demo: DemoSound, recording: DemoSound | None) -> html.Markup:
    player = html.render_player(demo.sound, label=_describe_demo(demo))
    picture = html.render_picture(figures.draw_spectrogram(demo.sound), f"spectrogram of {demo.prompt}")
    if recording is None:
        return html.join_markup(player, picture)
    beside = html.render_player(recording.sound, label="the recording these words were said of, by the base's autoencoder")
    return html.join_markup(player, picture, beside)


def _describe_demo(demo: DemoSound) -> str:
    return f"“{demo.prompt}”, seed {demo.seed}"
