"""Merges annotations into captions and writes a dataset. Recordings without consent are left out, with a reason.

Nothing is stored before all checks have passed, so a failure leaves no partial dataset. The dataset's manifest is written last.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from audiotune import governance
from audiotune.domain.dataset import Caption, DatasetRow, contributors_by_recording
from audiotune.domain.manifest import Manifest
from audiotune.domain.member_notices import META, count_imported
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.domain.vocabulary import FACETS, Vocabulary
from audiotune.errors import AgreementError, ConsentError, ManifestError
from audiotune.governance import Agreement
from audiotune.governance.excepted import split_excepted
from audiotune.reporting.progress import ProgressCallback
from audiotune.store.port import Store
from audiotune.withdrawal.retraining import find_withdrawn_hashes
from components.annotate_merge import captions as captioning
from components.annotate_merge import merge, sources
from components.annotate_merge import report as report_module
from components.annotate_merge.annotation_imports import annotations_from_file, read_import
from components.annotate_merge.export_formats import save_exports
from components.annotate_merge.krippendorff import AnnotatorAgreement, measure_agreement
from components.annotate_merge.segment_index import SegmentIndex
from components.annotate_merge.segment_selection import load_recordings, load_segments
from components.annotate_merge.settings import Settings
from components.annotate_merge.sources import GatheredAnnotations
from components.annotate_merge.split import split_recordings
from components.executor import StepResult

_UNCAPTIONED = "nobody described it"
_TAKEN_BACK = "it is the same sound as in a recording that somebody took back"


def run_step(
    settings: Settings, store: Store, progress: ProgressCallback, *, dataset: Path, report: Path, metrics: Path
) -> StepResult:
    """Writes the dataset manifest, its exports and the report.

    Raises:
        AgreementError: the store holds no agreement.
        ConsentError: no recording may be trained on, or somebody took back their consent meanwhile; then nothing is written.
        ManifestError: no segments, or none with a caption.
        SourceError: an import that cannot be read.
    """
    progress(0.0, "reading the segments")
    cut = load_segments(store, settings.segments)
    recordings = load_recordings(store, cut)
    group, allowed, refused = _select_allowed(store, recordings)
    consents, withdrawn = governance.read_consents(store, allowed), find_withdrawn_hashes(store).sounds
    offered, excepted = split_excepted(consents, (segment for segment in cut.rows if segment.recording in allowed))
    segments = [segment for segment in offered if segment.blob not in withdrawn]
    refused += [(f"{recordings[s.recording].name} at {s.start_s:.2f} s", _TAKEN_BACK) for s in offered if s.blob in withdrawn]
    vocabulary = Vocabulary.load(store)
    progress(0.2, f"gathering what was said about {len(segments)} segments")
    said = _gather_annotations(settings, store, segments, allowed, group, vocabulary)
    progress(0.5, f"merging {len(said.annotations)} annotations")
    ballots = captioning.collect_ballots(said.annotations)
    merged = {facet: merge.merge_dawid_skene(of_facet, settings.iterations) for facet, of_facet in ballots.items()}
    captions = captioning.build_captions(said.annotations, ballots, merged, vocabulary, settings.threshold)
    rows, silent = _build_rows(settings, segments, {**recordings, **allowed}, captions)
    parts = [(f"{recordings[segment.recording].name}, from {segment.start_s:.1f} s", why) for segment, why in excepted]
    left_out = [*refused, *parts, *said.refused, *silent]
    if not rows:
        why = "; ".join(reason for _, reason in left_out[:3])
        cure = "annotate in the studio, or set caption_fallback"
        raise ManifestError(f"no segment has a caption ({why or 'the segments manifest is empty'})", where=cut.key, cure=cure)
    agreements = [measure_agreement(facet, ballots[facet], settings.bootstrap) for facet in FACETS]
    progress(0.7, "writing the report")
    data = report_module.AnnotationReportData(rows, recordings, agreements, merged, said.annotations, left_out, vocabulary)
    report.write_text(report_module.render_report(data, settings, store), encoding="utf-8")
    made_with = settings.model_dump(mode="json") | {"segments": cut.key}
    meta = {"agreement": group.digest, "recordings": cut.meta["recordings"], "segments": cut.key, "settings": made_with}
    imported = count_imported(said.annotations)
    frozen = Manifest("datasets", rows, {**meta, META: imported} if imported else meta)
    governance.require_permission(store, "annotate_merge", contributors_by_recording(frozen))  # who withdrew meanwhile stops it
    save_exports(store, frozen, group)
    key = frozen.save(store)
    frozen.write(dataset)
    progress(1.0, f"{len(rows)} captioned segments")
    facts = {"dataset": {"key": key, "rows": len(rows), "digest": frozen.digest}}
    return StepResult({"dataset_key": key}, _compute_metrics(rows, said, agreements, len(left_out)), facts)


def _select_allowed(
    store: Store, recordings: Mapping[str, Recording]
) -> tuple[Agreement, dict[str, Recording], list[tuple[str, str]]]:
    """The recordings that may be trained on; the others with the reason."""
    group = governance.read_current_agreement(store)
    if group is None:
        raise AgreementError("the store holds no agreement", where=store.url, cure="ingest with --agreement agreement.toml first")
    people = {id: r.contributors for id, r in recordings.items()}
    consents = governance.read_consents(store, people)
    refused = governance.decide_policy("annotate_merge", group, consents, people).refused
    reasons = [(recordings[id].name, "; ".join(why)) for id, why in refused.items()]
    if recordings and len(refused) == len(recordings):
        raise ConsentError(
            "no recording may be trained on: " + "; ".join(sorted({why for _, why in reasons})[:12]),
            where="gate annotate_merge",
            cure="ask the members named for their consent",
        )
    heard = governance.list_heard(consents, people)  # the dataset names everybody who was asked
    allowed = {id: r.model_copy(update={"contributors": heard[id]}) for id, r in recordings.items() if id not in refused}
    return group, allowed, reasons


def _gather_annotations(
    settings: Settings,
    store: Store,
    segments: list[Segment],
    recordings: Mapping[str, Recording],
    group: Agreement,
    vocabulary: Vocabulary,
) -> GatheredAnnotations:
    """All annotations, from every source."""
    wanted, gathered = {source.strip() for source in settings.sources.split(",")}, GatheredAnnotations()
    if "file_names" in wanted:
        gathered.annotations += sources.annotations_from_names(segments, recordings, vocabulary)
    if "sidecars" in wanted:
        gathered.add(sources.annotations_from_sidecars(segments, recordings, vocabulary))
    if "studio" in wanted:
        gathered.add(sources.annotations_from_studio(store, segments, group))
    places = SegmentIndex(segments, recordings)
    for name in settings.imports:
        gathered.add(annotations_from_file(name, read_import(store, name), places, group, vocabulary, settings.import_members))
    return gathered


def _build_rows(
    settings: Settings, segments: list[Segment], recordings: Mapping[str, Recording], captions: Mapping[str, Caption]
) -> tuple[list[DatasetRow], list[tuple[str, str]]]:
    """The rows of the dataset, and the segments without a caption."""
    fallback = Caption(text=settings.caption_fallback) if settings.caption_fallback.strip() else None
    chosen = [(segment, captions.get(segment.id, fallback)) for segment in segments]
    used = {segment.recording for segment, caption in chosen if caption}
    side = split_recordings(recordings, used, settings.held_out_share, settings.split_by)
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


def _compute_metrics(
    rows: list[DatasetRow], said: GatheredAnnotations, agreements: list[AnnotatorAgreement], left_out: int
) -> dict[str, float]:
    people = {one.member for one in said.annotations if one.member not in sources.NOT_PEOPLE}
    numbers: dict[str, float] = {
        "segments": len(rows),
        "held_out": sum(row.split == "held_out" for row in rows),
        "recordings": len({row.segment.recording for row in rows}),
        "seconds": round(sum(row.segment.duration_s for row in rows), 3),
        "annotations": len(said.annotations),
        "annotators": len(people),
        "left_out": left_out,
    }
    return {**numbers, **{f"alpha_{one.facet}": round(one.alpha, 4) for one in agreements if one.alpha is not None}}
