"""A dataset as Croissant JSON-LD (MLCommons), with licences, contributors and responsible-AI fields.

Sources: Croissant Format Specification 1.0, Croissant RAI Specification 1.0.
"""

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
    annotators = {member for row in dataset.rows for member in row.caption.annotators}
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
        "creator": [{"@type": "sc:Person", "name": names.get(id, id)} for id in list_contributors(dataset)],
        "contributor": [{"@type": "sc:Person", "name": names.get(id, id)} for id in sorted(annotators)],
        "rai:dataCollection": "Recorded by the members together, or uploaded by them, under the licence named for each recording.",
        "rai:dataAnnotationProtocol": "Members described segments by facets of a vocabulary and in free words, without seeing "
        "each other's answers; answers were merged per facet by pooled Dawid-Skene; minority answers are kept as variants.",
        "rai:annotationsPerItem": f"{sum(len(row.caption.annotators) for row in dataset.rows) / max(1, len(dataset.rows)):.2f}",
        "rai:dataUseCases": "Fine-tuning a generative audio model that the members co-own; agreed uses: "
        + ", ".join(agreement.allowed_uses),
        "rai:personalSensitiveInformation": "Names of the members who are heard or who annotated, with their consent.",
        "distribution": [
            _describe_file("captions.jsonl", "application/jsonlines", hashlib.sha256(build_captions_table(dataset)).hexdigest()),
            *(
                _describe_file(f"{row.split}/{sound_file_name(row)}", "audio/flac", digest_from_key(row.segment.blob) or "")
                for row in dataset.rows
            ),
        ],
        "recordSet": [_describe_record_set()],
    }


def sound_file_name(row: DatasetRow) -> str:
    """The name of a segment's file in an exported folder."""
    return f"{row.segment.id[:32]}.flac"


def build_captions_table(dataset: Manifest[DatasetRow]) -> bytes:
    """captions.jsonl: one flat JSON object per segment, with the columns of `_COLUMNS`."""
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


def _describe_file(path: str, encoding: str, sha256: str) -> dict[str, Any]:
    names = dict.fromkeys(("@id", "name", "contentUrl"), path)
    return {"@type": "cr:FileObject", **names, "encodingFormat": encoding, "sha256": sha256}


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


_CROISSANT_TERMS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5 "
    "parentField path recordSet references regex repeated replace samplingRate separator source subField transform"
)
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS.split()},
}
