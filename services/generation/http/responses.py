"""What answers look like: the format that a client prefers, the headers of a sound, the answer to a job that was made."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import JSONResponse

from audiotune.domain.generation import MEDIA_TYPES, Format, GenerationRecord, GenerationRequest
from services.generation.engine.sound_files import check_bit_depth
from services.generation.http.problems import ProblemError
from services.generation.jobs.events import GenerationJob

_KINDS: dict[str, Format] = {**{kind: format for format, kind in MEDIA_TYPES.items()}, "audio/x-wav": "wav"}
_FACTS = ("seed", "seconds", "steps", "guidance", "sampler", "release", "digest", "adapters", "sound", "seam-db",
          "loudness-lufs", "synthetic", "notice")  # fmt: skip
WITHDRAWN_HEADER = "X-Audio-Tune-Withdrawn"  # of a kept sound whose release or adapter somebody took back meanwhile
SOUND_HEADERS = tuple(f"X-Audio-Tune-{name.title()}" for name in _FACTS)
_JSON, _ANY = "application/json", ("*/*", "audio/*")


def accepted_response(job: GenerationJob, root_path: str) -> Response:
    where = f"{root_path}/v1/jobs/{job.id}"
    body = {"id": job.id, "state": job.state, "url": where, "events": f"{where}/events"}
    return JSONResponse(body, 202, headers={"Location": where, "Retry-After": "1", "Preference-Applied": "respond-async"})


def headers_from_record(record: GenerationRecord) -> dict[str, str]:
    """The headers of an audio answer; prompts are not among them, for a header holds only one line of ASCII."""
    facts = {
        "seed": record.seed,
        "seconds": record.seconds,
        "steps": record.steps,
        "guidance": record.guidance,
        "sampler": record.sampler,
        "release": f"{record.release} {record.version}",
        "digest": record.digest,
        "adapters": ",".join(map(str, record.adapters)),
        "sound": record.sound,
        "seam-db": record.seam_db,
        "loudness-lufs": record.loudness_lufs,
        "synthetic": "true",
        "notice": record.notice,
    }
    lines = {
        name: " ".join(str(value).encode("ascii", "replace").decode().split())
        for name, value in facts.items()
        if value not in ("", None)
    }
    return {f"X-Audio-Tune-{name.title()}": line for name, line in lines.items()}


def choose_format(request: GenerationRequest, accept: str) -> tuple[Format, bool]:
    """(format, whether the answer is JSON): what the client prefers (RFC 9110, section 12.5.1). The field `format` goes before
    the header.

    Raises:
        ProblemError: 406 for an Accept that nothing here fits.
        OutOfBoundsError: a bit depth that the format lacks.
    """
    wanted = _parse_accept(accept)
    best = next((kind for kind in wanted if kind in _KINDS or kind in _ANY or kind == _JSON), None)
    if best is None and accept.strip(" ,") and not request.format:
        faults = [{"field": "Accept", "message": ", ".join((*_KINDS, _JSON))}]
        raise ProblemError(406, f"cannot answer as {accept[:100]}", errors=faults)
    format = request.format or _KINDS.get(best or "", "wav")
    check_bit_depth(request, format)
    return format, best == _JSON or request.count > 1


def _parse_accept(accept: str) -> list[str]:
    """Media types of an Accept header, the preferred first; at equal preference the more exact first; without those at q=0."""
    found = []
    for place, part in enumerate(accept.split(",")):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = next((_parse_quality(word[2:]) for word in parameters if word.startswith("q=")), 1.0)
        if kind and quality > 0:
            found.append((-quality, kind in _ANY, place, kind))
    return [kind for *_, kind in sorted(found)]


def _parse_quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
