"""Requests to the generation service, and each member's history of generated sounds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError

from audiotune.audio import sound as sounds
from audiotune.domain.frozen_model import TolerantModel
from audiotune.errors import SoundError
from audiotune.store.layout import SOUND_HISTORY
from audiotune.store.port import Store
from services.studio.waveform import compute_peaks

HISTORY = 24  # how many sounds the page shows; the store keeps all


class SoundRequest(TolerantModel):
    """The settings of the generate page. The service checks their bounds and names the field that is wrong."""

    prompt: str = ""
    negative_prompt: str = ""
    seconds: float = 2.0
    steps: int | None = Field(default=None, description="null: as the release likes; a sound of the history says what it was")
    guidance: float | None = None
    seed: int | None = None
    sampler: str = ""
    count: int = 1
    format: str = "wav"
    adapters: str = Field(default="", description="LoRA adapters of the group with their strengths, as in grit=0.7, tape")
    strength: float | None = Field(default=None, description="how far from the init audio, in (0, 1]; null without init audio")


class ServiceSound(TolerantModel):
    """One sound from the service. Its bytes are stored and sent on as they are, never encoded again."""

    audio: bytes = Field(repr=False)
    format: str
    seed: int
    release: str
    digest: str
    makers: tuple[tuple[str, str], ...] = ()
    wish: SoundRequest


class HistorySound(TolerantModel):
    """A row of a member's history. `makers`: name and version of the release and its adapters; rows of 0.2 lack them."""

    id: str
    member: str
    time: datetime
    blob: str
    format: str
    seed: int
    release: str
    digest: str
    seconds: float
    peaks: tuple[int, ...]
    makers: tuple[tuple[str, str], ...] = ()
    wish: SoundRequest

    @property
    def key(self) -> str:
        return SOUND_HISTORY.key(self.member, f"{self.id}.json")

    @property
    def file_name(self) -> str:
        """The name of the download: words of the prompt, and the seed."""
        words = "-".join("".join(c if c.isalnum() else " " for c in self.wish.prompt.lower()).split()[:6]) or "sound"
        return f"{words[:60]}-{self.seed}.{self.format}"

    @property
    def known_makers(self) -> tuple[tuple[str, str], ...]:
        """As far as the row says them."""
        name, _, version = self.release.rpartition(" ")
        return self.makers or ((name, version),)

    def describe_for_page(self, url: str, withdrawn: Mapping[tuple[str, str], str] = MappingProxyType({})) -> dict[str, Any]:
        """The values that the page's widget shows. `withdrawn`: makers that somebody took back their consent to, with the reasons."""
        mark = "; ".join(withdrawn[maker] for maker in self.known_makers if maker in withdrawn)
        return {
            "id": self.id,
            "url": url,
            "peaks": list(self.peaks),
            "seconds": self.seconds,
            "prompt": self.wish.prompt or "(no words)",
            "seed": self.seed,
            "when": self.time.strftime("%d %b %H:%M"),
            "file": self.file_name,
            "facts": self._list_facts(),
            "withdrawn": f"made with a release that was withdrawn: {mark}" if mark else "",
        }

    def _list_facts(self) -> list[tuple[str, str]]:
        request = self.wish
        facts = [
            ("seed", str(self.seed)),
            ("length", f"{self.seconds:.1f} s"),
            ("steps", "" if request.steps is None else str(request.steps)),
            ("guidance", "" if request.guidance is None else f"{request.guidance:g}"),
            ("release", self.release),
        ]
        strength = "" if request.strength is None else f"{request.strength:g}"
        more = [("not", request.negative_prompt), ("adapters", request.adapters), ("from a sound, strength", strength)]
        return [(name, value) for name, value in (*facts, *more) if value]


def add_to_history(store: Store, member: str, generated: Sequence[ServiceSound]) -> list[HistorySound]:
    """Adds sounds to the member's history, in their order."""
    rows = []
    for index, sound in enumerate(generated):
        time = datetime.now(UTC)
        seconds, peaks = _measure_sound(sound.audio)
        row = HistorySound(
            id=f"{time:%Y%m%dT%H%M%S%f}-{index}",
            member=member,
            time=time,
            blob=store.put_blob(sound.audio, f".{sound.format}"),
            seconds=seconds,
            peaks=peaks,
            **sound.model_dump(exclude={"audio", "wish"}),
            wish=sound.wish,
        )
        store.put(row.key, row.model_dump_json().encode(), only_new=True)
        rows.append(row)
    return rows


def read_history(store: Store, member: str, limit: int = HISTORY) -> list[HistorySound]:
    """The member's sounds, newest first; rows of another format are skipped."""
    keys = sorted((e.key for e in store.list(SOUND_HISTORY.folder(member))), reverse=True)[:limit]
    rows = []
    for key in keys:
        try:
            rows.append(HistorySound.model_validate_json(store.get(key)))
        except ValidationError:
            continue
    return rows


def _measure_sound(audio: bytes) -> tuple[float, tuple[int, ...]]:
    """Length in seconds and peaks; zero and none for a format that libsndfile cannot read (the browser still plays it)."""
    try:
        sound = sounds.read_sound(io.BytesIO(audio))
    except SoundError:
        return 0.0, ()
    return round(sound.duration_s, 3), tuple(compute_peaks(sound, 320))
