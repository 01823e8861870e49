"""From annotations to captions to a frozen dataset. Recordings without consent stay out, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from audiotune import governance, manifest
from audiotune.annotation import Annotation
from audiotune.dataset import Caption, DatasetRow
from audiotune.errors import AgreementError, ConsentError, ManifestError
from audiotune.governance import Agreement
from audiotune.manifest import Manifest
from audiotune.progress import Progress
from audiotune.recording import Recording
from audiotune.segment import Segment
from audiotune.store.port import Store
from audiotune.vocabulary import FACETS, Vocabulary
from components.annotate_merge import captions as words
from components.annotate_merge import merge, show, sources
from components.annotate_merge.exports import save_exports
from components.annotate_merge.settings import Settings
from components.annotate_merge.split import split
from components.executor import Result

_UNCAPTIONED = "nobody described it"


def run(settings: Settings, store: Store, progress: Progress, *, dataset: Path, report: Path, metrics: Path) -> Result:
    """Writes the dataset manifest, its exports and the report.

    Raises:
        AgreementError: the store holds no agreement.
        ConsentError: no recording may be trained on.
        ManifestError: no segments, or none with a caption.
    """
    cut = _segments(settings, store)
    recordings = {r.id: r for r in manifest.fetch(store, str(cut.meta["recordings"]), "recordings", Recording).rows}
    agreement, allowed, refused = _allowed(store, recordings)
    segments = [segment for segment in cut.rows if segment.recording in allowed]
    vocabulary = Vocabulary.load(store)
    progress(0.2, f"gathering what was said about {len(segments)} segments")
    said, not_taken = _said(settings, store, segments, allowed, agreement, vocabulary)
    progress(0.5, f"merging {len(said)} annotations")
    ballots = words.ballots(said)
    merged = merge.by_facet(ballots, settings.iterations)
    captions = words.captions(said, merged, vocabulary, settings.threshold)
    rows, silent = _rows(settings, segments, allowed, captions)
    if not rows:
        raise ManifestError("no segment has a caption", cure="annotate in the studio, or set caption_fallback")
    frozen = Manifest(
        "datasets", rows, {"agreement": agreement.digest, "recordings": str(cut.meta["recordings"]), "segments": cut.key}
    )
    save_exports(store, frozen, agreement)
    key = frozen.save(store)
    agreements = [
        show.Agreement(f, merge.alpha(ballots[f]), merge.alpha_interval(ballots[f], settings.bootstrap)) for f in FACETS
    ]
    report.write_text(show.page(rows, recordings, agreements, merged, [*refused, *not_taken, *silent]))
    frozen.write(dataset)
    progress(1.0, f"{len(rows)} captioned segments")
    return Result(parameters={"dataset_key": key}, metrics=_numbers(rows, said, agreements), metadata={"dataset": {"key": key}})


def _segments(settings: Settings, store: Store) -> Manifest[Segment]:
    key = settings.segments if settings.segments != "newest" else manifest.newest(store, "segments")
    if key is None:
        raise ManifestError("the store holds no segments", where=store.url, cure="run prepare first")
    return manifest.fetch(store, key, "segments", Segment)


def _allowed(store: Store, recordings: Mapping[str, Recording]) -> tuple[Agreement, dict[str, Recording], list[tuple[str, str]]]:
    """The recordings that may be trained on; the others with the reason."""
    agreement = governance.current_agreement(store)
    if agreement is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="ingest with --agreement agreement.toml first")
    people = {id: r.contributors for id, r in recordings.items()}
    refused = governance.ask("annotate_merge", agreement, governance.consents_for(store, people), people).refused
    reasons = [(recordings[id].name, "; ".join(why)) for id, why in refused.items()]
    if len(refused) == len(recordings):
        raise ConsentError(
            "no recording may be trained on: " + "; ".join(sorted({why for _, why in reasons})[:12]),
            cure="ask the members named for their consent",
        )
    return agreement, {id: r for id, r in recordings.items() if id not in refused}, reasons


def _said(
    settings: Settings,
    store: Store,
    segments: list[Segment],
    recordings: Mapping[str, Recording],
    agreement: Agreement,
    vocabulary: Vocabulary,
) -> tuple[list[Annotation], list[tuple[str, str]]]:
    members = [member.id for member in agreement.members]
    wanted, found, refused = settings.sources.split(","), list[Annotation](), list[tuple[str, str]]()
    if "file_names" in wanted:
        found += sources.from_names(segments, recordings, vocabulary)
    if "sidecars" in wanted:
        found += sources.from_sidecars(segments, recordings, vocabulary)
    more = [sources.from_studio(store, segments, members)] if "studio" in wanted else []
    for name in settings.imports:
        data = sources.read_import(store, name)
        more.append(sources.from_file(name, data, segments, recordings, members, vocabulary))
    for one in more:
        found += one.annotations
        refused += one.refused
    return found, refused


def _rows(
    settings: Settings, segments: list[Segment], recordings: Mapping[str, Recording], captions: Mapping[str, Caption]
) -> tuple[list[DatasetRow], list[tuple[str, str]]]:
    fallback = Caption(text=settings.caption_fallback) if settings.caption_fallback else None
    chosen = [(segment, captions.get(segment.id, fallback)) for segment in segments]
    used = {segment.recording: recordings[segment.recording] for segment, caption in chosen if caption}
    side = split(used, settings.held_out_share, settings.split_by)
    rows = [
        DatasetRow(
            segment=segment,
            caption=caption,
            split=side[segment.recording],
            contributors=recordings[segment.recording].contributors,
            licence=recordings[segment.recording].licence,
            recording_name=recordings[segment.recording].name,
        )
        for segment, caption in chosen
        if caption
    ]
    silent = [(f"{recordings[s.recording].name} at {s.start_s:.2f} s", _UNCAPTIONED) for s, caption in chosen if not caption]
    return rows, silent


def _numbers(rows: list[DatasetRow], said: list[Annotation], agreements: list[show.Agreement]) -> dict[str, float]:
    held = sum(row.split == "held_out" for row in rows)
    numbers: dict[str, float] = {
        "segments": len(rows),
        "held_out": held,
        "annotations": len(said),
        "annotators": len({one.member for one in said if one.member not in sources.NOT_PEOPLE}),
    }
    return {**numbers, **{f"alpha_{one.facet}": one.alpha for one in agreements if one.alpha is not None}}
