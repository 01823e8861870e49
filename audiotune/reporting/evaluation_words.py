"""What an evaluation measured, in words that a musician reads: on release cards, and in the proposal that lets a release play."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_SAME = 1.05  # a distance that changed by less counts as the same


def describe_metrics(metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Sentences without full stops, the most important first; none for metrics that are not there."""
    return tuple(_list_sentences(metrics))


def _list_sentences(metrics: Mapping[str, float]) -> Iterator[str]:
    if "kad_before" in metrics and "kad_after" in metrics:
        yield _describe_nearness(metrics["kad_before"], metrics["kad_after"])
    if "copied_share" in metrics:
        share = metrics["copied_share"]
        yield f"{share:.0%} of its sounds copy a recording" if share else "no copies of recordings"
    if "word_gain_db_lowest" in metrics:
        yield "follows its words" if metrics["word_gain_db_lowest"] > 0 else "does not follow its words"
    if "effect_kad" in metrics and "effect_kad_of_reseeding" in metrics:
        yield _describe_effect(metrics["effect_kad"], metrics["effect_kad_of_reseeding"])
    if metrics.get("silent_share"):
        yield f"{metrics['silent_share']:.0%} of its sounds are silent"
    if "sounds" in metrics:
        yield f"judged by {metrics['sounds']:.0f} sounds"


def _describe_effect(apart: float, reseeded: float) -> str:
    if apart <= reseeded:
        return "the same words sound as without the training"
    return "the same words and seeds sound otherwise than without the training, by more than another seed makes"


def _describe_nearness(before: float, after: float) -> str:
    if before <= 0 or after >= before / _SAME:
        return "not nearer to your recordings than before"
    if after <= 0:
        return "as near to your recordings as they are to each other"
    ratio = before / after
    return (
        f"{ratio:.0f} times nearer to your recordings than before"
        if ratio >= 1.95
        else "somewhat nearer to your recordings than before"
    )
