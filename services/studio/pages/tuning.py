"""Make a new release: the widget in static/tuning.js, and the functions it may call. Each answers {"error": words} when it cannot."""

from __future__ import annotations

from datetime import UTC, datetime

import gradio as gr

from audiotune.governance import current_agreement
from audiotune.release import Release
from audiotune.runform import FormBox
from services.studio import readiness
from services.studio.desk import Desk
from services.studio.pages.calls import Given, callable_from_page
from services.studio.releases import releases_in
from services.studio.theme import script
from services.studio.tuner import Ended, Standing

# The boxes a musician sees here, and what they are called; the rest of the form takes its defaults.
_BOXES = {
    "training_name": "Name",
    "training_base": "Start from",
    "training_length": "How long",
    "training_method": "What is trained",
}


def build(desk: Desk) -> gr.HTML:
    """The widget. It triggers `made` with the digest of a release that has just come out, and `report` to see its report."""
    calls = _Calls(desk)
    return gr.HTML(
        {"member": ""},
        html_template='<section class="at-tuning at-card" aria-label="Make a new release"></section>',
        js_on_load=script("dom.js", "tuning.js"),
        server_functions=[
            callable_from_page(desk, work)
            for work in (calls.look_at_tuning, calls.tuning_form, calls.start_tuning, calls.cancel_tuning)
        ],
        apply_default_css=False,
        elem_id="at-tuning",
    )


class _Calls:
    """What the widget asks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def look_at_tuning(self, member: str, given: Given) -> Given:
        """The newest run as it is now, and whether this member may start one."""
        tunings = self._desk.tunings
        standing = tunings.standing()
        return {
            "why_not": tunings.rights.against_start(member),
            "place": tunings.tuner.place,
            "run": self._run(member, standing) if standing else None,
        }

    def tuning_form(self, member: str, given: Given) -> Given:
        """What there is to learn from, and the choices."""
        if against := self._desk.tunings.rights.against_start(member):
            return {"error": against}
        found = self._readiness()
        lines = [{"kind": line.kind, "words": line.words} for line in found.lines]
        if not found.ready:
            return {"lines": lines, "ready": False, "boxes": []}
        form = self._desk.tunings.tuner.form()
        boxes = [_box(box, label) for name, label in _BOXES.items() if (box := form.box(name))]
        return {"lines": lines, "ready": True, "boxes": boxes}

    def start_tuning(self, member: str, given: Given) -> Given:
        """Starts a run with what was chosen."""
        chosen = dict(given.get("chosen", {}))
        found = self._readiness()
        if not found.ready:
            return {"error": next(line.words for line in found.lines if line.kind == "bad")}
        self._desk.tunings.begin(member, {name: str(chosen[name]) for name in _BOXES if name in chosen})
        return self.look_at_tuning(member, given)

    def cancel_tuning(self, member: str, given: Given) -> Given:
        """Asks for the running one's end."""
        self._desk.tunings.cancel(member)
        return self.look_at_tuning(member, given)

    def _readiness(self) -> readiness.Readiness:
        desk = self._desk
        return readiness.look(desk.store, desk.shelves.current(), current_agreement(desk.store), desk.listening.answered())

    def _run(self, member: str, standing: Standing) -> Given:
        begun, ended = standing.begun, standing.ended
        until = ended.time if ended else datetime.now(UTC)
        return {
            "number": begun.number,
            "name": begun.name,
            "who": self._name(begun.member),
            "mine": begun.member == member,
            "when": begun.time.isoformat(timespec="seconds"),
            "took_s": max(0, round((until - begun.time).total_seconds())),
            "place": begun.place,
            "chosen": [value for name, value in begun.given.items() if name in _BOXES and name != "training_name"],
            "steps": [step.model_dump() for step in standing.steps],
            "cancelled_by": self._name(standing.cancelled_by),
            "may_cancel": ended is None and not standing.cancelled_by and self._desk.tunings.rights.may_cancel(member, begun),
            "trouble": standing.trouble,
            "page": standing.page,
            "ended": self._ending(ended) if ended else None,
        }

    def _ending(self, ended: Ended) -> Given:
        made = next((r for r in releases_in(self._desk.store) if r.digest == ended.release), None) if ended.release else None
        words = f"{ended.words[:1].upper()}{ended.words[1:].rstrip('.')}." if ended.words else ""
        return {
            "how": ended.how,
            "words": words,
            "by": self._name(ended.by),
            "new": ended.new,
            "release": _release(made) if made else None,
        }

    def _name(self, member: str) -> str:
        agreement = current_agreement(self._desk.store) if member else None
        person = agreement.member(member) if agreement else None
        return person.name if person else member


def _box(box: FormBox, label: str) -> Given:
    default = "" if box.default is None else str(box.default)
    return {"name": box.name, "label": label, "about": box.about, "choices": list(box.choices), "default": default}


def _release(release: Release) -> Given:
    evaluation = release.evaluation
    return {
        "title": f"{release.name} {release.version}".strip(),
        "digest": release.digest,
        "passed": evaluation.passed,
        "reasons": list(evaluation.reasons),
        "report": bool(evaluation.report),
    }
