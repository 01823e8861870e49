"""The model card of a release: contributors, lineage, licence, evaluation. Markdown for the registry, HTML for a run's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from audiotune.domain.release import Evaluation, Release
from audiotune.reporting import html


def render_notice(release: Release, people: dict[str, str]) -> str:
    """NOTICE: licence, contributors and the notice of the base model."""
    lines = [
        release.name,
        f"Weights: {release.digest}",
        f"Licence of the weights: {release.licence}",
        f"Made from recordings of: {_join_names(release.lineage.contributors, people)}",
    ]
    if release.lineage.origin:
        lines.append(f"Made of: {release.lineage.origin.words}")
    if release.notice:
        lines.append(release.notice)
    return "\n".join(lines) + "\n"


def render_markdown(release: Release, people: dict[str, str], intended_use: str) -> str:
    """The card as Markdown."""
    parts = [f"# {_format_title(release)}", intended_use]
    if release.notice:
        parts.append(f"**{release.notice}**")
    for title, rows in _collect_facts(release, people):
        parts.append(f"## {title}\n" + "\n".join(f"- {label}: {value}" for label, value in rows))
    return "\n\n".join(parts) + "\n"


def render_html(
    release: Release,
    people: dict[str, str],
    intended_use: str,
    aliases: Sequence[str] = (),
    why: str = "",
    evaluation: str = "",
) -> str:
    """The card as a page, which is the report of the last step.

    Args:
        aliases: the new aliases of the version.
        why: the reason why it is not the champion, or empty.
        evaluation: the page of evaluate; its players and spectrograms are copied.
    """
    body = []
    if aliases:
        body.append(html.render_note(f"Now {' and '.join(aliases)}.", kind="good" if "champion" in aliases else "plain"))
    if why:
        body.append(html.render_note(f"Not champion: {why}.", kind="bad"))
    if release.notice:
        body.append(html.render_note(release.notice))
    body.append(html.extract_section(evaluation, "Listen"))
    for title, rows in _collect_facts(release, people):
        body.append(html.render_section(title, html.render_table(("", ""), rows)))
    return html.render_page(_format_title(release), "".join(body), subtitle=intended_use)


def _format_title(release: Release) -> str:
    return f"{release.name} version {release.version}" if release.version else release.name


def _collect_facts(release: Release, people: dict[str, str]) -> list[tuple[str, list[tuple[str, object]]]]:
    lineage, weights, evaluation = release.lineage, release.weights, release.evaluation
    gate = "passed" if evaluation.passed else "; ".join(evaluation.reasons) or "not passed"
    return [
        (
            "People",
            [
                ("Heard in it", _join_names(lineage.contributors, people)),
                ("Words by", _join_names(lineage.annotators, people) or "nobody"),
                ("Licence", release.licence),
            ],
        ),
        (
            "Lineage",
            [
                ("Base model", f"{lineage.base} ({lineage.base_digest[:16]})"),
                *([("Made elsewhere", lineage.origin.words)] if lineage.origin else []),
                ("Dataset", lineage.dataset),
                ("Segments", len(lineage.segments)),
                ("Recordings", len(lineage.recordings)),
                ("Agreement", lineage.agreement),
            ],
        ),
        (
            "Training data",
            [(f"Recording {id[:16]}", _join_names(members, people)) for id, members in sorted(lineage.recordings.items())],
        ),
        (
            "Weights",
            [
                ("SHA-256", weights.weights_digest),
                ("Adapter, SHA-256", weights.adapter_digest or "none: it is in the weights"),
                ("Training step", weights.step),
                ("Running mean (EMA)", "yes" if weights.ema else "no"),
            ],
        ),
        (
            "Evaluation",
            [
                ("Gate", gate),
                *_describe_choice(evaluation),
                *((name, f"{value:.4g}") for name, value in sorted(evaluation.metrics.items())),
            ],
        ),
    ]


def _describe_choice(evaluation: Evaluation) -> list[tuple[str, object]]:
    return [("Checkpoint", evaluation.choice)] if evaluation.choice else []


def _join_names(members: Iterable[str], people: dict[str, str]) -> str:
    return ", ".join(people.get(member, member) for member in members)
