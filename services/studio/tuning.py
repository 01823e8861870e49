"""Making a new release: one run of the pipeline `tune` at a time for the group, kept in the store so that no page can lose it.

    tunings/000003/begun.json    who began it, when, with which choices; only one can be written: two cannot begin at once
    tunings/000003/run.json      where it runs: what the tuner needs to find it again
    tunings/000003/cancel.json   who asked for its end
    tunings/000003/ended.json    how it ended

How far it is, is asked of where it runs, each time. Knows no gradio.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from audiotune.errors import AlreadyInStoreError, AudioTuneError, ForbiddenError, NotInStoreError, PipelineError, SettingsError
from audiotune.release import Release
from audiotune.runform import RunForm
from audiotune.store.port import Store
from services.studio.tuner import PREFIX, Begun, Ended, Fact, How, Rights, Seen, Standing, Step, Tuner

_BEGUN = re.compile(r"tunings/(\d{6})/begun\.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
NAME = "training_name"
_START_S = 120.0  # a run that has no place after so many seconds never began


class Tunings:
    """The group's runs of `tune`.

    Args:
        every_s: looks are answered from memory for so many seconds, however many pages ask.
    """

    def __init__(self, store: Store, tuner: Tuner, rights: Rights, every_s: float = 2.0) -> None:
        self._store, self.tuner, self.rights, self._every_s = store, tuner, rights, every_s
        self._lock = threading.Lock()
        self._seen: tuple[float, Standing | None] | None = None

    def begin(self, member: str, given: Mapping[str, Any]) -> None:
        """Starts a run.

        Raises:
            ForbiddenError: this member may not.
            SettingsError: a choice the form does not have.
            PipelineError: one is running, or it cannot be started where runs happen.
        """
        if against := self.rights.against_start(member):
            raise ForbiddenError(against.rstrip("."))
        form = self.tuner.form()
        values = form.filled(given)
        name = values.get(NAME) or str(getattr(form.box(NAME), "default", "") or "")
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{name[:60]!r} is no name for a release", cure="use letters, digits, '_', '-' and '.'")
        with self._lock:
            begun = self._claim(member, name, values, form)
            self._seen = None
            try:
                run = self.tuner.start(f"{name}, begun by {member} (studio {begun.number})", values)
            except BaseException as e:
                words = str(e) if isinstance(e, AudioTuneError) else "it could not be started"
                self._end(begun, Ended(time=_now(), how="failed", words=words, steps=begun.steps))
                raise
            self._write(begun.folder + "run.json", Fact(word=run))

    def standing(self) -> Standing | None:
        """The newest run, looked at anew when the last look is old. Raises StoreError."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > self._every_s:
                self._seen = (time.monotonic(), self._look())
            return self._seen[1]

    def cancel(self, member: str) -> None:
        """Asks for the running one's end.

        Raises:
            ForbiddenError: it is somebody else's.
            PipelineError: none is running, or where it runs does not answer.
        """
        with self._lock:
            self._seen = None
            begun = self._newest()
            if begun is None or self._read(begun.folder + "ended.json", Ended):
                raise PipelineError("no training is running", cure="load the page again")
            if not self.rights.may_cancel(member, begun):
                raise ForbiddenError("only who began it and owners may cancel it", cure=f"ask {begun.member}")
            run = self._read(begun.folder + "run.json", Fact)
            if run is not None:
                self.tuner.cancel(run.word)
            self._write(begun.folder + "cancel.json", Fact(word=member))

    def _claim(self, member: str, name: str, values: dict[str, str], form: RunForm) -> Begun:
        last = self._look()
        if last is not None and last.ended is None:
            raise PipelineError(f"one training runs at a time, and {last.begun.member} began one", cure="wait for its end")
        begun = Begun(
            number=(last.begun.number if last else 0) + 1, member=member, time=_now(), place=self.tuner.place, name=name,
            given=values, steps=tuple(Step(title=step.title) for step in form.steps), known=tuple(self._releases(name)),
        )  # fmt: skip
        try:
            self._write(begun.folder + "begun.json", begun)
        except AlreadyInStoreError:
            raise PipelineError("somebody else began a training just now", cure="load the page again") from None
        return begun

    def _look(self) -> Standing | None:
        begun = self._newest()
        if begun is None:
            return None
        cancel = self._read(begun.folder + "cancel.json", Fact)
        by = cancel.word if cancel else ""
        ended = self._read(begun.folder + "ended.json", Ended)
        if ended is not None:
            return Standing(begun, ended.steps, ended, by, ended.page)
        run = self._read(begun.folder + "run.json", Fact)
        if run is None:
            return self._without_place(begun)
        try:
            seen = self.tuner.look(run.word)
        except AudioTuneError as e:
            return Standing(begun, begun.steps, None, by, trouble=f"It cannot be looked at just now: {e}.")
        steps = seen.steps or begun.steps
        if seen.how is None:
            return Standing(begun, steps, None, by, seen.page)
        return Standing(begun, steps, self._end(begun, self._ended(begun, seen, steps, by)), by, seen.page)

    def _without_place(self, begun: Begun) -> Standing:
        if (_now() - begun.time).total_seconds() < _START_S:
            return Standing(begun, begun.steps)
        words = f"the studio was stopped while it started the run; look {begun.place} whether one is left"
        return Standing(begun, begun.steps, self._end(begun, Ended(time=_now(), how="lost", words=words, steps=begun.steps)))

    def _ended(self, begun: Begun, seen: Seen, steps: tuple[Step, ...], by: str) -> Ended:
        how: How = "cancelled" if by and seen.how in ("failed", "cancelled", "lost") else seen.how or "lost"
        words = "" if how == "cancelled" else seen.words
        release, new = self._made(begun) if how == "done" else ("", False)
        steps = tuple(step.model_copy(update={"state": "failed"}) if step.state == "running" else step for step in steps)
        return Ended(time=_now(), how=how, words=words, by=by, release=release, new=new, steps=steps, page=seen.page)

    def _made(self, begun: Begun) -> tuple[str, bool]:
        """Digest of the release that came out, and whether it is new; the same weights keep the version they have."""
        there = self._releases(begun.name)
        new = {key: at for key, at in there.items() if key not in begun.known}
        newest = max(new or there, key=lambda key: there[key], default=None)
        if newest is None:
            return "", False
        try:
            return Release.model_validate_json(self._store.get(newest)).digest, bool(new)
        except ValidationError:
            return "", False

    def _releases(self, name: str) -> dict[str, datetime]:
        return {e.key: e.modified for e in self._store.list(f"manifests/releases/{name}/") if e.key.endswith(".json")}

    def _end(self, begun: Begun, ended: Ended) -> Ended:
        """Writes how it ended, once; who comes second takes the first one's word."""
        try:
            self._write(begun.folder + "ended.json", ended)
        except AlreadyInStoreError:
            return self._read(begun.folder + "ended.json", Ended) or ended
        return ended

    def _newest(self) -> Begun | None:
        keys = [entry.key for entry in self._store.list(PREFIX) if _BEGUN.fullmatch(entry.key)]
        return self._read(keys[-1], Begun) if keys else None

    def _write(self, key: str, what: BaseModel) -> None:
        again = key.endswith("/cancel.json")
        self._store.put(key, what.model_dump_json(indent=1).encode(), only_new=not again)

    def _read(self, key: str, kind: type[_Kind]) -> _Kind | None:
        try:
            return kind.model_validate_json(self._store.get(key))
        except (NotInStoreError, ValidationError):
            return None


_Kind = TypeVar("_Kind", bound=BaseModel)


def _now() -> datetime:
    return datetime.now(UTC)
