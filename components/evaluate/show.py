"""The report: numbers, the gate's word, and sounds to listen to beside their nearest training segments."""

from __future__ import annotations

from collections.abc import Sequence

from audiotune import picture, report
from audiotune.release import Evaluation
from audiotune.sound import Sound
from components.evaluate.judge import Likeness
from components.evaluate.loss import LEVELS

_PLAYED_S = 6.0


def page(
    evaluation: Evaluation,
    found: Sequence[Likeness],
    before: Sequence[Sound],
    losses: dict[str, dict[float, float]],
    players: int,
) -> str:
    """The whole page, under 3 MB."""
    parts = [_verdict(evaluation), _numbers(evaluation.metrics)]
    if any(losses.values()):
        parts.append(_losses(losses))
    if players and found:
        parts.append(report.section("Listen", *(_listen(one, base) for one, base in list(zip(found, before))[:players])))
    return report.page(
        "Evaluation", "".join(parts), subtitle="Nearer to the recordings is lower. Sounds were made of held-out captions."
    )


def _verdict(evaluation: Evaluation) -> str:
    if evaluation.passed:
        return report.note("The gate passed.", kind="good")
    return report.note("The gate did not pass: " + "; ".join(evaluation.reasons) + ".", kind="bad")


def _numbers(values: dict[str, float]) -> str:
    pairs = [
        (label, values[f"{name}_before"], values[f"{name}_after"])
        for label, name in (("KAD", "kad"), ("Log-mel distance (dB)", "log_mel_distance"))
    ]
    shown = {name for name in values if name.endswith(("_before", "_after"))}
    rest = [(name.replace("_", " "), value) for name, value in sorted(values.items()) if name not in shown]
    return report.section("Numbers", report.table(("", "base model", "tuned model"), pairs), report.table(("measured", ""), rest))


def _losses(losses: dict[str, dict[float, float]]) -> str:
    series = {name: (LEVELS, [by_level[level] for level in LEVELS]) for name, by_level in losses.items() if by_level}
    return report.section(
        "Loss by noise level", report.picture(picture.curve_png(series, x="noise level"), "loss by noise level")
    )


def _listen(one: Likeness, base: Sound) -> str:
    words = f"{one.prompt}: nearest training segment at {one.distance:.2f}{', a copy' if one.copied else ''}"
    cells = (
        report.Html(report.player(one.sound, max_s=_PLAYED_S, label="tuned model") + _spectrogram(one.sound)),
        report.player(base, max_s=_PLAYED_S, label="base model"),
        report.player(one.nearest.sound, max_s=_PLAYED_S, label=f"nearest: {one.nearest.row.caption.text[:80]}"),
    )
    return report.Html(report.table((words, "", ""), [cells]))


def _spectrogram(sound: Sound) -> str:
    return report.picture(picture.spectrogram_png(sound, width_px=320, height_px=120, max_s=_PLAYED_S), "spectrogram")
