"""From a request to sounds, files and records: bounds of the model, init audio, seeds, tags, what is kept."""

from __future__ import annotations

import base64
import binascii
import io
import random
from collections.abc import Sequence
from typing import Any

import soundfile as sf

from audiotune.encodings import encode_file
from audiotune.errors import SoundError
from audiotune.generation import LARGEST_SEED, Format, Generation, GenerationRequest
from audiotune.sound import Sound
from audiotune.store.port import Store, digest_of
from services.generation.problems import Problem
from services.generation.settings import Settings
from services.generation.work import Loaded

_SECONDS = 2.0  # when nobody says


def seeded(request: GenerationRequest) -> GenerationRequest:
    """The request with a seed: drawn once, so that a job that is taken over gives the same sound."""
    if request.seed is not None:
        return request
    return request.model_copy(update={"seed": random.SystemRandom().randrange(LARGEST_SEED - request.count)})


def wanted(settings: Settings, loaded: Loaded, request: GenerationRequest, store: Store, member: str) -> list[Any]:
    """What the model is asked for, one item a sound; the request must be `seeded`. Raises Problem naming the field."""
    from audiotune.errors import GenerationError
    from audiotune.stable_audio import samplers
    from audiotune.stable_audio.sample import Request, check

    init = init_sound(settings, request.init_audio) if request.init_audio else None
    seconds = request.seconds if request.seconds is not None else min(_SECONDS, loaded.longest_s)
    first = request.seed or 0
    asked = [
        Request(
            request.prompt,
            negative_prompt=request.negative_prompt,
            seconds=seconds,
            steps=request.steps,
            guidance=request.guidance,
            seed=first + number,
            sampler=request.sampler or samplers.names(loaded.model.objective)[0],
            init=init,
            init_strength=request.init_strength,
        )
        for number in range(request.count)
    ]
    try:
        check(loaded.model, asked[-1])
    except GenerationError as e:
        raise Problem(
            422, str(e), errors=[{"field": e.where or "request", "message": e.cure or e.what}], code="out-of-bounds"
        ) from e
    return asked


def init_sound(settings: Settings, text: str) -> Sound:
    """Init audio from base64, at most `init_s` long. Raises Problem."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _init_fault("no base64") from None
    try:
        with sf.SoundFile(io.BytesIO(data)) as file:
            if file.channels > 8 or not 1000 <= file.samplerate <= 384_000:
                raise _init_fault(f"{file.channels} channels at {file.samplerate} Hz; at most 8, at 1000 to 384000 Hz")
            if file.frames / file.samplerate > settings.init_s:
                raise _init_fault(f"longer than {settings.init_s:.0f} s")
            frames = file.read(int(settings.init_s * file.samplerate), dtype="float32", always_2d=True)
            sound = Sound(frames.T, file.samplerate)
    except (sf.LibsndfileError, RuntimeError, ValueError, TypeError, MemoryError, SoundError) as e:
        raise _init_fault(f"no sound that can be read ({e})") from None
    if not sound.frames:
        raise _init_fault("empty")
    return sound


def file_of(
    loaded: Loaded, request: GenerationRequest, asked: Any, sound: Sound, format: Format, store: Store | None, member: str = ""
) -> tuple[bytes, Generation]:
    """The encoded file with its tags, and its record; both are kept when there is a store."""
    release = loaded.release
    facts: dict[str, Any] = {
        "format": format,
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt,
        "seconds": asked.seconds,
        "steps": asked.steps,
        "guidance": asked.guidance,
        "seed": asked.seed,
        "sampler": asked.sampler,
        "init": digest_of(base64.b64decode(request.init_audio)) if request.init_audio else None,
        "init_strength": asked.init_strength if request.init_audio else None,
        "release": release.name,
        "version": release.version,
        "digest": release.digest,
        "notice": release.notice,
    }
    tags = Generation(sound="0" * 64, blob="", **facts).tags()
    data = encode_file(sound, format, tags)
    digest = digest_of(data)
    record = Generation(sound=digest, blob=f"sounds/{digest[:2]}/{digest}.{format}" if store else "", member=member, **facts)
    if store:
        store.put(record.blob, data)
        store.put(record.key, record.model_dump_json().encode())
    return data, record


def headers_of(record: Generation) -> dict[str, str]:
    """What an audio answer tells in its headers; prompts stay out, headers are no place for words."""
    facts = {
        "seed": record.seed,
        "seconds": record.seconds,
        "steps": record.steps,
        "guidance": record.guidance,
        "sampler": record.sampler,
        "release": f"{record.release} {record.version}",
        "digest": record.digest,
        "sound": record.sound,
        "synthetic": "true",
        "notice": record.notice,
    }
    return {f"X-Audio-Tune-{name.capitalize()}": _plain(value) for name, value in facts.items() if value != ""}


def _plain(value: object) -> str:
    """A header's value is one line of ASCII."""
    return " ".join(str(value).encode("ascii", "replace").decode().split())


def format_for(request: GenerationRequest, accept: str) -> tuple[Format, bool]:
    """(format, whether the answer is JSON). An unknown Accept is a 406 Problem."""
    kinds: dict[str, Format] = {
        "audio/wav": "wav",
        "audio/x-wav": "wav",
        "audio/flac": "flac",
        "audio/mpeg": "mp3",
        "audio/ogg": "ogg",
        "audio/opus": "opus",
    }
    media = [part.split(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    if "application/json" in media:
        return request.format or "wav", True
    if request.format:
        return request.format, request.count > 1
    known = [kinds[name] for name in media if name in kinds]
    if not known and media and not {"*/*", "audio/*"} & set(media):
        raise Problem(406, f"cannot answer as {accept[:100]}", errors=[{"field": "Accept", "message": ", ".join(kinds)}])
    return (known[0] if known else "wav"), request.count > 1


def _init_fault(why: str) -> Problem:
    errors: Sequence[dict[str, str]] = [{"field": "init_audio", "message": why}]
    return Problem(422, f"init_audio: {why}", errors=errors, code="bad-init-audio")
