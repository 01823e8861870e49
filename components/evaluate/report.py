"""The report: the gate's decision, the metrics, and players of sounds and their nearest training segments."""

from collections.abc import Mapping, Sequence

from audiotune.audio import figures
from audiotune.domain.release import Evaluation
from audiotune.reporting import html
from audiotune.stable_audio.objective import LOSS_LEVELS
from audiotune.stable_audio.row_losses import Losses
from components.evaluate.measured_sounds import MeasuredSound
from components.evaluate.metrics import SoundComparison, TrainingMatch
from components.evaluate.settings import Settings

_PLAYED_S = 5.0
_PAIRS = (
    ("KAD to held-out recordings", "kad"),
    ("nearer to recordings with its words than to others, dB (higher is better)", "word_gain_db"),
    ("share of its sounds with the pitch that their words ask for (higher is better)", "pitch_share"),
    ("log-mel distance to held-out recordings, dB", "log_mel_distance"),
    ("log-mel distance to training recordings, dB", "log_mel_distance_train"),
    ("loss on held-out recordings", "loss_held_out"),
    ("loss on training recordings", "loss_train"),
)
_WORDS = {
    "kad_of_training_segments": "KAD of the training recordings to the held-out ones: as near as a perfect model could come",
    "kad_gain": "… by how much KAD fell",
    "kad_gain_of_luck": "… and what luck gives, at 99 % of the draws",
    "kad_of_recordings": "… between two parts of the training recordings, at 99 % of the draws",
    "effect_kad": "effect of the training: KAD between the sounds with and without it, at the same words and seeds",
    "effect_kad_of_reseeding": "… that other seeds alone would give, at 99 % of the draws",
    "effect_db": "… log-mel distance between the two sounds of one seed, dB",
    "variety_share": "how different its sounds are, as a share of the recordings with their words",
    "word_gain_db_lowest": "nearer to recordings with its words than to others at least, at 99 % of the draws, dB",
    "pitches_asked": "sounds whose words ask for a pitch",
    "silent_share": "share of sounds that are silent",
    "clipped_share": "share of sounds that clip",
    "loudness_lufs": "median loudness, LUFS",
    "flatness": "median spectral flatness of its sounds",
    "flatness_of_recordings": "… of the recordings",
    "flatness_of_noise": "… of white noise",
    "noise_share": "share of sounds as flat as noise",
    "noise_share_of_recordings": "… of recordings as flat as noise",
    "copied_share": "share of sounds that copy a training segment",
    "copied_share_of_held_out": "… of held-out recordings, by the same measure",
    "likeness_to_training": "median likeness to the nearest training segment",
    "likeness_to_training_highest": "highest likeness to a training segment",
    "likeness_of_held_out": "median likeness of held-out recordings to the nearest training segment",
    "loss_gap": "held-out loss above training loss, as a share of it",
    "probe_centroid_share": "seeds at which the high prompt sounds higher",
    "probe_envelope_share": "seeds at which the short prompt dies sooner",
    "probe_share": "seeds at which both hold",
    "held_out_segments": "held-out segments compared with",
    "training_segments": "training segments compared with",
    "sounds": "sounds made of held-out captions",
}


def render_report(
    settings: Settings, result: Evaluation, made: SoundComparison, found: Sequence[TrainingMatch], losses: Mapping[str, Losses]
) -> str:
    """The whole page, under 3 MB.

    Args:
        found: the training matches of `made.after`, in its order.
        losses: name -> loss by noise level.
    """
    parts = [_render_verdict(result), _render_numbers(result.metrics), _render_checkpoints(result)]
    if any(losses.values()):
        parts.append(_render_losses(losses))
    if settings.players and found:
        order = _choose_sounds(made, found, settings.players)
        parts.append(html.render_section("Listen", *(_render_players(settings, made, found[i], i) for i in order)))
    parts.append(
        html.render_details("All settings", html.render_table(("setting", "value"), sorted(settings.model_dump().items())))
    )
    return html.render_page(
        "Evaluation",
        "".join(parts),
        subtitle="Base and tuned model made sounds of the same held-out captions with the same seeds.",
    )


def _render_verdict(result: Evaluation) -> html.Markup:
    if result.passed:
        return html.render_note("The gate passed.", kind="good")
    return html.render_note("The gate did not pass: " + "; ".join(result.reasons) + ".", kind="bad")


def _render_numbers(values: Mapping[str, float]) -> html.Markup:
    pairs = [(label, values[f"{name}_before"], values[f"{name}_after"]) for label, name in _PAIRS if f"{name}_before" in values]
    rest = [(words, values[name]) for name, words in _WORDS.items() if name in values]
    return html.render_section(
        "Nearer is lower", html.render_table(("", "base model", "tuned model"), pairs), html.render_table(("measured", ""), rest)
    )


def _render_checkpoints(result: Evaluation) -> html.Markup:
    """Nothing where only one was judged."""
    if not result.checkpoints:
        return html.join_markup()
    head = ("step", "KAD to held-out recordings", "copies", "likeness to training", "on the frontier", "chosen")
    rows = [
        (
            one.step,
            one.kad,
            f"{one.copied_share:.0%}",
            one.likeness,
            *("yes" if is_so else "" for is_so in (one.on_frontier, one.chosen)),
        )
        for one in result.checkpoints
    ]
    count = result.checkpoints[0].sounds
    words = f"{result.choice}. The table is of {count} sounds of each, by which one was found to judge beside the last."
    return html.render_section("Checkpoints", html.tag("p", words), html.render_table(head, rows))


def _render_losses(losses: Mapping[str, Losses]) -> html.Markup:
    series = {name: (LOSS_LEVELS, [by_level[level] for level in LOSS_LEVELS]) for name, by_level in losses.items() if by_level}
    png = figures.draw_curves(series, x="noise level (1 is noise)", y="mean squared error")
    return html.render_section("Loss by noise level", html.render_picture(png, "loss by noise level"))


def _choose_sounds(made: SoundComparison, found: Sequence[TrainingMatch], count: int) -> list[int]:
    """Indices of sounds: the one most similar to a training segment, then each caption once, then the others."""
    places = list(range(len(made.after)))
    first = {found[i].heard.text: i for i in reversed(places)}
    order = sorted(set(first.values())) + [i for i in places if i not in set(first.values())]
    worst = max(places, key=lambda i: found[i].like)
    return [worst, *(i for i in order if i != worst)][:count]


def _render_players(settings: Settings, made: SoundComparison, copy: TrainingMatch, place: int) -> html.Markup:
    nearest = copy.same or copy.nearest
    mark = " · a copy" if copy.is_copy(settings) else ""
    sounds = (
        (made.after[place], "tuned model"),
        (made.before[place], "base model"),
        (made.targets[place], "the recording with this caption"),
        (nearest, f"nearest training segment, likeness {copy.like:.2f}{mark}: {nearest.text[:60]}"),
    )
    cells = [
        html.join_markup(html.render_player(one.sound, max_s=_PLAYED_S, label=label), _render_spectrogram(one))
        for one, label in sounds
    ]
    return html.join_markup(html.tag("h3", copy.heard.text), html.render_table(("", "", "", ""), [cells]))


def _render_spectrogram(one: MeasuredSound) -> html.Markup:
    return html.render_picture(
        figures.draw_spectrogram(one.sound, width_px=240, height_px=100, max_s=_PLAYED_S), f"spectrogram: {one.text}"
    )
