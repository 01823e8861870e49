"""A dataset as Croissant JSON-LD (MLCommons), with licences, contributors and responsible-AI fields.

Sources: Croissant Format Specification 1.0, Croissant RAI Specification 1.0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from audiotune.audio.sound import RENDER_RATE_HZ
from audiotune.domain.dataset import DatasetRow, list_contributors
from audiotune.domain.manifest import Manifest
from audiotune.governance import Agreement
from audiotune.store.port import digest_from_key

_COLUMNS = (
    ("segment", "id of the segment: the hash of its recording, bounds, gain and fades"),
    ("recording", "SHA-256 of the recording it is part of"),
    ("file", "its sound in this folder"),
    ("caption", "main caption, merged from several members' annotations"),
    ("variants", "other captions, joined by ' | '"),
    ("split", "train or held_out, by recording"),
    ("contributors", "ids of the members who are heard, joined by spaces"),
    ("licence", "licence of the recording"),
)


def build_croissant(dataset: Manifest[DatasetRow], agreement: Agreement) -> dict[str, Any]:
    """The JSON-LD of the folder that `export` writes."""
    licences = sorted({row.licence for row in dataset.rows})
    names = {member.id: member.name for member in agreement.members}
    annotators = {who for row in dataset.rows for who in row.caption.annotators}
    recordings = {row.segment.recording for row in dataset.rows}
    seconds = sum(row.segment.frames for row in dataset.rows) / RENDER_RATE_HZ
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"audio-tune-{dataset.digest[:12]}",
        "description": f"{len(dataset.rows)} captioned segments ({seconds / 60:.1f} minutes) of {len(recordings)} recordings by "
        f"{agreement.group}; 44.1 kHz stereo FLAC, split into train and held_out by recording.",
        "license": licences if len(licences) > 1 else licences[0],
        "url": f"urn:sha256:{dataset.digest}",
        "version": "1.0.0",
        "citeAs": f"{agreement.group}: dataset {dataset.digest}",
        "creator": [{"@type": "sc:Person", "name": names.get(who, who)} for who in list_contributors(dataset)],
        "contributor": [{"@type": "sc:Person", "name": names.get(who, who)} for who in sorted(annotators)],
        "rai:dataCollection": "Recorded by the members together, or uploaded by them, under the licence named for each recording.",
        "rai:dataAnnotationProtocol": "Members described segments by facets of a vocabulary and in free words, without seeing "
        "each other's answers; answers were merged per facet by pooled Dawid-Skene; minority answers are kept as variants.",
        "rai:annotationsPerItem": f"{_annotations_per_item(dataset):.2f}",
        "rai:dataUseCases": "Fine-tuning a generative audio model that the members co-own; agreed uses: "
        + ", ".join(agreement.allowed_uses),
        "rai:personalSensitiveInformation": "Names of the members who are heard or who annotated, with their consent.",
        "distribution": [_describe_table(dataset), *map(_describe_sound, dataset.rows)],
        "recordSet": [_describe_record_set()],
    }


def sound_file_name(row: DatasetRow) -> str:
    """The name of a segment's file in an exported folder."""
    return f"{row.segment.id[:32]}.flac"


def build_captions_table(dataset: Manifest[DatasetRow]) -> bytes:
    """captions.jsonl: one flat JSON object a segment, with the columns that Croissant names."""
    lines = (
        {
            "segment": row.segment.id,
            "recording": row.segment.recording,
            "file": f"{row.split}/{sound_file_name(row)}",
            "caption": row.caption.text,
            "variants": " | ".join(row.caption.variants),
            "split": row.split,
            "contributors": " ".join(row.contributors),
            "licence": row.licence,
        }
        for row in dataset.rows
    )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _annotations_per_item(dataset: Manifest[DatasetRow]) -> float:
    return sum(len(row.caption.annotators) for row in dataset.rows) / max(1, len(dataset.rows))


def _describe_sound(row: DatasetRow) -> dict[str, Any]:
    path = f"{row.split}/{sound_file_name(row)}"
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "encodingFormat": "audio/flac",
        "sha256": digest_from_key(row.segment.blob),
    }


def _describe_table(dataset: Manifest[DatasetRow]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": "captions.jsonl",
        "name": "captions.jsonl",
        "contentUrl": "captions.jsonl",
        "encodingFormat": "application/jsonlines",
        "sha256": hashlib.sha256(build_captions_table(dataset)).hexdigest(),
    }


def _describe_record_set() -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"segments/{name}",
            "name": f"segments/{name}",
            "description": words,
            "dataType": "sc:Text",
            "source": {"fileObject": {"@id": "captions.jsonl"}, "extract": {"column": name}},
        }
        for name, words in _COLUMNS
    ]
    return {"@type": "cr:RecordSet", "@id": "segments", "name": "segments", "field": fields}


_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
