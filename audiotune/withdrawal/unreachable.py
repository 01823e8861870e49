"""What no program here can delete or stop, in sentences: copies that were given away, and backups until their date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from audiotune.errors import StoreError
from audiotune.store.layout import BACKUPS, JOB_EVENTS, KUBEFLOW
from audiotune.store.port import Store


def describe_unreachable(store: Store) -> tuple[str, ...]:
    """The sentences. What this program may not list is named without a date."""
    return tuple(_list_sentences(store))


def _list_sentences(store: Store) -> Iterator[str]:
    yield "Exports, packed data, sounds and weights that somebody has downloaded: ask them to delete what they have."
    yield "Copies of the store and snapshots of its disk: they stay until whoever runs the store deletes them."
    yield "Copies that the studio made to play them: they go when it starts anew."
    if _find_newest(store, JOB_EVENTS.path):
        yield (
            "Sounds that members sent to a job to start from, and whose bytes are those of nothing that is erased, as an edited copy: each "
            "goes with its job, after the keep_days of the generation service."
        )
    newest = _find_newest(store, BACKUPS.path)
    if newest:
        words = f"the newest is of {newest:%Y-%m-%d}; the store deletes each after its backupsDays"
        yield f"Dumps of the registry's database, which name releases but hold no sound: {words}."
    if _find_newest(store, KUBEFLOW.path):
        yield "Reports of earlier runs that Kubeflow keeps: delete those runs and their artifacts on its pages."
    yield "Reports of earlier runs in folders of this machine's runs: delete the folders."


def _find_newest(store: Store, prefix: str) -> datetime | None:
    with suppress(StoreError):  # this program has no right to look there
        return max((entry.modified for entry in store.list(prefix)), default=None)
    return None
