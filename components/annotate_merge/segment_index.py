"""Finds the segments that an imported answer is about: by id, by the recording, or by the recording's file name and a part of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from audiotune.domain.name_matching import NameMatcher
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.errors import SourceError
from components.annotate_merge.imported_answers import WHOLE, Part

_SAME_S = 0.001


class SegmentIndex:
    """The segments of a dataset, by what imports may call them."""

    def __init__(self, segments: Sequence[Segment], recordings: Mapping[str, Recording]) -> None:
        self._segments = {segment.id: segment for segment in segments}
        self._by_recording: dict[str, list[Segment]] = {}
        self._recordings_by_name: dict[str, set[str]] = {}
        for segment in segments:
            self._by_recording.setdefault(segment.recording, []).append(segment)
        for id in self._by_recording:
            self._recordings_by_name.setdefault(recordings[id].name, set()).add(id)
        self._matcher = NameMatcher(self._recordings_by_name)

    def find(self, places: Iterable[str], part: Part) -> list[Segment]:
        """The segments of an answer. Raises SourceError when there are none, or two recordings of that name."""
        named = list(places) or [""]
        for name in named:
            if name in self._segments:
                return [self._segments[name]]
            ids = {name} if name in self._by_recording else self._find_recordings(name)
            if len(ids) > 1:
                raise SourceError(f"{len(ids)} recordings are called {name[:80]!r}", cure="use the recording's id")
            found = [segment for id in ids for segment in select_segments(self._by_recording[id], part)]
            if found:
                return found
            if ids:
                raise SourceError(f"no segment of {name[:80]!r} sounds at {part[0]:g} to {part[1]:g} s", cure="compare the times")
        near = [close for name in named for close in self._matcher.find(PurePosixPath(name).name).near]
        hint = f"; nearly {near[0]!r}" if near else ""
        raise SourceError(
            f"no segment or recording {named[0][:80]!r}{hint}", cure="use a segment id, a recording id or a file name"
        )

    def _find_recordings(self, name: str) -> set[str]:
        for candidate in _list_candidates(name):
            match = self._matcher.find(candidate, rewritten=True)
            if match.names:
                return {id for found in match.names for id in self._recordings_by_name[found]}
        return set()


def _list_candidates(name: str) -> Iterator[str]:
    """Possible names of a file: the full name, its last part, and that without Label Studio's prefixes `?d=` and `1a2b3c4d-`."""
    yield name
    url = urlsplit(name) if "?" in name or "%" in name or "://" in name else None
    path = unquote((parse_qs(url.query).get("d") or [url.path])[0]) if url else name
    last = PurePosixPath(path.replace("\\", "/")).name
    yield last
    yield re.sub(r"^[0-9a-f]{8}-", "", last)


def select_segments(segments: Sequence[Segment], part: Part) -> list[Segment]:
    """The segment with just these bounds; else those of which at least half lies in the part; for a shorter part the one that holds
    most of it, at least half, and of several the shortest."""
    if part == WHOLE:
        return list(segments)
    same = [one for one in segments if max(abs(one.start_s - part[0]), abs(_find_end_s(one) - part[1])) < _SAME_S]
    inside = same or [segment for segment in segments if _measure_overlap(segment, part) >= segment.duration_s / 2]
    best = max(segments, key=lambda segment: (_measure_overlap(segment, part), -segment.duration_s))
    return inside or [best] * (_measure_overlap(best, part) * 2 >= max(part[1] - part[0], 1e-9))


def _find_end_s(segment: Segment) -> float:
    return segment.start_s + segment.duration_s


def _measure_overlap(segment: Segment, part: Part) -> float:
    """Seconds that a segment and a part of its recording have in common; below 0 where they lie apart."""
    return min(_find_end_s(segment), part[1]) - max(segment.start_s, part[0])
