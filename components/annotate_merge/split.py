"""Train and held-out: by recording, never by segment; recordings that sound the same stay on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from audiotune.dataset import Split
from audiotune.recording import Recording


def split(recordings: Mapping[str, Recording], share: float, by: str) -> dict[str, Split]:
    """Recording id -> its side. The same recordings are split the same way on every machine.

    Args:
        share: of the recordings that is held out; at least one group of two or more, never all.
        by: "recording" or "session".
    """
    groups = _groups(recordings, by)
    ranked = sorted(groups, key=lambda group: hashlib.sha256(group[0].encode()).digest())
    wanted = round(share * len(recordings)) if share else 0
    held: list[str] = []
    for group in ranked[:-1]:  # one group always stays to learn from
        if share and (not held or len(held) + len(group) <= wanted):
            held += group
    return {id: "held_out" if id in held else "train" for id in recordings}


def _groups(recordings: Mapping[str, Recording], by: str) -> list[list[str]]:
    """Recordings that must stay together, each group sorted; union-find over likenesses and sessions."""
    parent = {id: id for id in recordings}

    def root(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    sessions: dict[str, str] = {}
    for id, recording in recordings.items():
        for like in recording.likenesses:
            if like.recording in parent:
                parent[root(id)] = root(like.recording)
        if by == "session" and recording.session:
            parent[root(id)] = root(sessions.setdefault(recording.session, id))
    groups: dict[str, list[str]] = {}
    for id in sorted(recordings):
        groups.setdefault(root(id), []).append(id)
    return list(groups.values())
