"""From the model's sounds to files: loops, loudness, encoding, tags, records. Not on the engine's thread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiotune.audio.files_and_tags import DEPTHS, encode_file
from audiotune.audio.sound import Sound
from audiotune.domain.generation import Format, GenerationRecord, GenerationRequest
from audiotune.store.layout import SOUNDS
from audiotune.store.port import Store, compute_digest
from services.generation.engine.request_planning import GenerationPlan
from services.generation.engine.sound_records import write_sound_record
from services.generation.engine.work import LoadedRelease
from services.generation.errors import OutOfBoundsError

_HIGHEST_DBTP = -1.0


@dataclass(frozen=True)
class SoundFileWriter:
    """How one request's sounds become files. `store` is None where nothing is kept."""

    loaded: LoadedRelease
    request: GenerationRequest
    plan: GenerationPlan
    format: Format
    member: str
    store: Store | None

    def write_sound(self, place: int, sound: Sound) -> tuple[bytes, GenerationRecord]:
        """The file with its tags, and its record; both are kept when there is a store."""
        finished, reached = finish_sound(sound, self.request, self.plan)
        facts = self._record_facts(self.plan.asked[place]) | reached
        tags = GenerationRecord(sound="0" * 64, blob="", **facts).file_tags()
        data = encode_file(finished, self.format, tags, self.request.bit_depth)
        digest = compute_digest(data)
        blob = SOUNDS.key(digest[:2], f"{digest}.{self.format}") if self.store else ""
        record = GenerationRecord(sound=digest, blob=blob, member=self.member, **facts)
        if self.store:
            self.store.put(record.blob, data)
            write_sound_record(self.store, record)
        return data, record

    def _record_facts(self, asked: Any) -> dict[str, Any]:
        request, release = self.request, self.loaded.release
        notices = (release.notice, *(one.release.notice for one in self.plan.adapters))
        head_s = self.plan.head.duration_s if self.plan.head is not None else 0.0
        return {
            **request.model_dump(include={"prompt", "bars", "bpm", "key", "bit_depth"}),
            **{name: getattr(asked, name) for name in ("negative_prompt", "steps", "guidance", "seed", "sampler")},
            "format": self.format,
            "seconds": round(self.plan.seconds, 6),
            "time_signature": request.time_signature if request.bars else None,
            "init": self.plan.init,
            "init_strength": asked.init_strength if asked.init is not None and asked.redo is None else None,
            "redone": asked.redo and tuple(round(second + head_s, 6) for second in asked.redo),
            "release": release.name,
            "version": release.version,
            "digest": release.digest,
            "adapters": tuple(one.as_applied for one in self.plan.adapters),
            "notice": "; ".join(dict.fromkeys(filter(None, notices))),
        }


def finish_sound(sound: Sound, request: GenerationRequest, plan: GenerationPlan) -> tuple[Sound, dict[str, Any]]:
    """The sound as it was asked for, and what was reached: `seam_db`, `loudness_lufs`."""
    reached: dict[str, Any] = {}
    if plan.head is not None:
        head = plan.head.to_channels(sound.channels).resample(sound.sample_rate_hz)
        sound = Sound(np.concatenate([head.data, sound.data], axis=1), sound.sample_rate_hz)
    if plan.loop_s:
        sound = crossfade_loop(sound, round(plan.loop_s * sound.sample_rate_hz))
        reached["seam_db"] = round(measure_seam_db(sound), 1)
    if request.loudness_lufs is not None:
        sound, reached["loudness_lufs"] = level_loudness(sound, request.loudness_lufs)
    return sound, reached


def crossfade_loop(sound: Sound, overlap: int) -> Sound:
    """The last `overlap` frames fade out over the first ones: playing the rest in a circle has no seam.

    Equal power, because beginning and end know nothing of each other; made quieter as a whole where both together clip.
    """
    if overlap < 1:
        return sound
    turn = (np.arange(overlap, dtype=np.float32) + 0.5) * np.float32(math.pi / 2 / overlap)
    data = sound.data[:, :-overlap].copy()
    data[:, :overlap] = data[:, :overlap] * np.sin(turn) + sound.data[:, -overlap:] * np.cos(turn)
    return Sound(data / max(1.0, float(np.abs(data).max(initial=0.0))), sound.sample_rate_hz)


def measure_seam_db(sound: Sound) -> float:
    """How much the step from the last frame to the first stands out from the sound's steps elsewhere (rms), in dB."""
    usual = float(np.sqrt(np.mean(np.diff(sound.data, axis=1) ** 2))) if sound.frames > 1 else 0.0
    step = float(np.abs(sound.data[:, 0] - sound.data[:, -1]).max()) if sound.frames else 0.0
    return 20 * math.log10(max(step, 1e-9) / max(usual, 1e-9))


def level_loudness(sound: Sound, target_lufs: float) -> tuple[Sound, float | None]:
    """The sound at a loudness, as far as a true peak of at most -1 dBTP allows; and the loudness reached (None: silence)."""
    from audiotune.audio.loudness import measure_integrated_lufs, measure_true_peak_dbtp

    now, peak = measure_integrated_lufs(sound), measure_true_peak_dbtp(sound)
    if now is None or peak is None:
        return sound, None
    gain_db = min(target_lufs - now, _HIGHEST_DBTP - peak)
    return sound.apply_gain(gain_db), round(now + gain_db, 1)


def check_bit_depth(request: GenerationRequest, format: Format) -> None:
    """Raises OutOfBoundsError for a depth that the format lacks."""
    if request.bit_depth is not None and request.bit_depth not in DEPTHS[format]:
        known = ", ".join(map(str, DEPTHS[format])) or "none: its depth cannot be chosen"
        what, cure = f"bit_depth {request.bit_depth} is none of {format}", f"of {format}: {known}"
        raise OutOfBoundsError(what, where="bit_depth", cure=cure)
