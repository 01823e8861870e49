"""The gate: decides by the metrics whether a model may become champion."""

from components.evaluate.metrics import MetricValues
from components.evaluate.settings import Settings


def find_gate_failures(settings: Settings, values: MetricValues) -> tuple[str, ...]:
    """The reasons why the model must not become champion; empty when it may."""
    before, after = values["kad_before"], values["kad_after"]
    mel_before, mel_after = values["log_mel_distance_before"], values["log_mel_distance_after"]
    noise = values["noise_share"] - values["noise_share_of_recordings"]
    copied, natural = values.get("copied_share", 0.0), values.get("copied_share_of_held_out", 0.0)
    gap, probe = values.get("loss_gap", 0.0), values.get("probe_share", 1.0)
    judged_by = int(min(values["held_out_segments"], values.get("sounds", values["held_out_segments"])))
    gain, luck, variety = before - after, values.get("kad_gain_of_luck", 0.0), values.get("variety_share", 1.0)
    apart = values.get("kad_of_recordings")
    words_before, words, words_lowest = (values.get(f"word_gain_db_{name}", 0.0) for name in ("before", "after", "lowest"))
    asks_words = "word_gain_db_after" in values and settings.gate_words > 0
    effect, reseeded, change_db = (values.get(f"effect_{name}", 1.0) for name in ("kad", "kad_of_reseeding", "db"))
    faults = (
        (
            settings.gate_effect and change_db == 0,
            "it has no effect: with and without the training the same words and seeds give the same sounds: "
            "train more steps or at a higher learning_rate, and look whether an adapter of zeros was unwrapped",
        ),
        (
            settings.gate_effect and change_db > 0 and "effect_kad" in values and effect <= reseeded,
            f"it has no effect beyond that of other seeds: its sounds are {effect:.2g} from its base's, and other seeds alone give up to "
            f"{reseeded:.2g}: train more steps or at a higher learning_rate, or make more sounds to tell",
        ),
        (
            after >= settings.gate_nearer * before,
            f"it is not near enough to the recordings: KAD {before:.3g} before, {after:.3g} after",
        ),
        (
            settings.gate_nearer < 1000 and after < settings.gate_nearer * before and gain <= luck,
            f"that it is nearer to the recordings may be luck: KAD {before:.3g} before, {after:.3g} after, "
            f"and luck gives up to {luck:.2g}; make more sounds to tell",
        ),
        (
            apart is not None and settings.gate_apart < 1000 and after > settings.gate_apart * max(apart, 0.0),
            f"its sounds are not like the recordings: KAD {after:.3g}, and parts of the recordings are {apart or 0:.3g} apart at most",
        ),
        (
            variety < settings.gate_variety,
            f"its sounds are too much alike: they differ {variety:.0%} as much as the recordings with their words",
        ),
        (
            asks_words and words_lowest <= 0,
            f"it does not follow the words: its sounds are {words:.2g} dB nearer to the recordings with their words than to others",
        ),
        (
            asks_words and words_lowest > 0 and words < settings.gate_words * words_before,
            f"it follows the words less than its base does: {words_before:.2g} dB before, {words:.2g} dB after",
        ),
        (
            mel_after > settings.gate_log_mel * mel_before,
            f"its sounds moved away from the recordings: log-mel distance {mel_before:.3g} dB before, {mel_after:.3g} dB after",
        ),
        (values["silent_share"] > settings.gate_silent, f"{values['silent_share']:.0%} of its sounds are silent"),
        (values["clipped_share"] > settings.gate_clipped, f"{values['clipped_share']:.0%} of its sounds clip"),
        (noise > settings.gate_noise, f"{values['noise_share']:.0%} of its sounds are as flat as noise"),
        (copied - natural > settings.gate_copies, f"{copied:.0%} of its sounds copy a training segment"),
        (gap > settings.gate_gap, f"its loss on held-out segments is {gap:.0%} above that on training segments"),
        (probe < settings.gate_probe, f"only at {probe:.0%} of the seeds do its sounds follow the prompts of the probe"),
        (
            judged_by < settings.gate_held_out,
            f"{judged_by} held-out segments are too few to judge by (gate_held_out is {settings.gate_held_out}): "
            "bring more recordings, or hold out more in annotate_merge",
        ),
    )
    return tuple(words for wrong, words in faults if wrong)
