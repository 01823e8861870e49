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
    held_out = int(values["held_out_segments"])
    faults = (
        (
            after >= settings.gate_nearer * before,
            f"it is not near enough to the recordings: KAD {before:.3g} before, {after:.3g} after",
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
            held_out < settings.gate_held_out,
            f"only {held_out} held-out segments to judge by; bring more recordings, or hold out more in annotate_merge",
        ),
    )
    return tuple(words for wrong, words in faults if wrong)
