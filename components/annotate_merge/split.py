"""Train and held-out: by recording, never by segment; recordings that sound the same stay on one side."""

import hashlib
from collections.abc import Collection, Mapping

from audiotune.domain.dataset import Split
from audiotune.domain.recording import Recording


def split_recordings(recordings: Mapping[str, Recording], used: Collection[str], share: float, by: str) -> dict[str, Split]:
    """Recording id -> split, for those in `used`. The same recordings are split the same way on every machine.

    Args:
        recordings: all known ones; a recording that is not used still links two recordings that both sound like it.
        share: held-out share of the recordings; at least one group if there are two, never all. 0 holds nothing out.
        by: "recording" or "session".
    """
    groups = [here for group in _group_recordings(recordings, by) if (here := [id for id in group if id in used])]
    ranked = sorted(groups, key=lambda group: hashlib.sha256(group[0].encode()).digest())
    wanted = round(share * len(used))
    held: set[str] = set()
    if share and len(ranked) > 1:
        smallest = min(ranked, key=len)  # a large group of linked recordings is for training
        held |= set(smallest)
        for group in ranked[:-1]:
            if not held.issuperset(group) and len(held) + len(group) <= wanted:
                held |= set(group)
        if len(held) == len(used):
            held -= set(ranked[-1])
    return {id: "held_out" if id in held else "train" for id in used}


def _group_recordings(recordings: Mapping[str, Recording], by: str) -> list[list[str]]:
    """Groups of recordings that must stay on one side, each sorted; union-find over likenesses and sessions."""
    parent = {id: id for id in recordings}

    def root(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    sessions: dict[str, str] = {}
    absent: dict[str, str] = {}  # a recording that is missing here still links those that sound like it
    for id, recording in sorted(recordings.items()):
        for like in recording.likenesses:
            other = like.recording if like.recording in parent else absent.setdefault(like.recording, id)
            parent[root(id)] = root(other)
        if by == "session" and recording.session:
            parent[root(id)] = root(sessions.setdefault(recording.session, id))
    groups: dict[str, list[str]] = {}
    for id in sorted(recordings):
        groups.setdefault(root(id), []).append(id)
    return list(groups.values())
