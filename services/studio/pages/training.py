"""Make a new release: the widget in widgets/training.js, and the functions it may call. Each answers {"error": words} when it cannot."""

from __future__ import annotations

from datetime import UTC, datetime

import gradio as gr

from audiotune.domain.release import Release
from audiotune.governance import read_current_agreement
from audiotune.runs.run_form import FormField
from services.studio import training_readiness
from services.studio.context import StudioContext
from services.studio.pages.server_functions import Payload, create_server_function
from services.studio.releases import list_releases
from services.studio.theme import bundle_scripts
from services.studio.training_runs import TrainingEnd, TrainingStatus

# The fields of the form that a musician sees here, and their labels; the others keep their defaults.
_BOXES = {
    "training_name": "Name",
    "training_base": "Start from",
    "training_length": "How long",
    "training_method": "What is trained",
}


def build_training_widget(desk: StudioContext) -> gr.HTML:
    """The widget. It triggers `made` with the digest of a release that has just come out, and `report` to see its report."""
    calls = _TrainingFunctions(desk)
    return gr.HTML(
        {"member": ""},
        html_template='<section class="at-training at-card" aria-label="Make a new release"></section>',
        js_on_load=bundle_scripts("dom.js", "training.js"),
        server_functions=[
            create_server_function(desk, work)
            for work in (calls.read_training_status, calls.read_training_form, calls.start_training, calls.cancel_training)
        ],
        apply_default_css=False,
        elem_id="at-training",
    )


class _TrainingFunctions:
    """What the widget asks."""

    def __init__(self, desk: StudioContext) -> None:
        self._desk = desk

    def read_training_status(self, member: str, given: Payload) -> Payload:
        """The newest run as it is now, and whether this member may start one."""
        trainings = self._desk.training_runs
        standing = trainings.read_status()
        return {
            "why_not": trainings.rights.explain_refusal(member),
            "place": trainings.runner.place,
            "run": self._describe_run(member, standing) if standing else None,
        }

    def read_training_form(self, member: str, given: Payload) -> Payload:
        """What there is to learn from, and the choices."""
        if against := self._desk.training_runs.rights.explain_refusal(member):
            return {"error": against}
        found = self._check_readiness()
        lines = [{"kind": line.kind, "words": line.words} for line in found.lines]
        if not found.ready:
            return {"lines": lines, "ready": False, "boxes": []}
        form = self._desk.training_runs.runner.read_form()
        boxes = [_describe_box(box, label) for name, label in _BOXES.items() if (box := form.find_field(name))]
        return {"lines": lines, "ready": True, "boxes": boxes}

    def start_training(self, member: str, given: Payload) -> Payload:
        """Starts a run with what was chosen."""
        chosen = dict(given.get("chosen", {}))
        found = self._check_readiness()
        if not found.ready:
            return {"error": next(line.words for line in found.lines if line.kind == "bad")}
        self._desk.training_runs.start_run(member, {name: str(chosen[name]) for name in _BOXES if name in chosen})
        return self.read_training_status(member, given)

    def cancel_training(self, member: str, given: Payload) -> Payload:
        """Asks for the running one's end."""
        self._desk.training_runs.cancel_run(member)
        return self.read_training_status(member, given)

    def _check_readiness(self) -> training_readiness.TrainingReadiness:
        desk = self._desk
        return training_readiness.check_readiness(
            desk.store, desk.library.current(), read_current_agreement(desk.store), desk.annotation_queue.list_answered_segments()
        )

    def _describe_run(self, member: str, standing: TrainingStatus) -> Payload:
        begun, ended = standing.begun, standing.ended
        until = ended.time if ended else datetime.now(UTC)
        return {
            "number": begun.number,
            "name": begun.name,
            "who": self._find_member_name(begun.member),
            "mine": begun.member == member,
            "when": begun.time.isoformat(timespec="seconds"),
            "took_s": max(0, round((until - begun.time).total_seconds())),
            "place": begun.place,
            "chosen": [value for name, value in begun.given.items() if name in _BOXES and name != "training_name"],
            "steps": [step.model_dump(exclude={"name"}) for step in standing.steps],
            "cancelled_by": self._find_member_name(standing.cancelled_by),
            "may_cancel": ended is None
            and not standing.cancelled_by
            and self._desk.training_runs.rights.may_cancel(member, begun),
            "trouble": standing.trouble,
            "page": standing.page,
            "ended": self._describe_end(ended) if ended else None,
        }

    def _describe_end(self, ended: TrainingEnd) -> Payload:
        made = next((r for r in list_releases(self._desk.store) if r.digest == ended.release), None) if ended.release else None
        words = f"{ended.words[:1].upper()}{ended.words[1:].rstrip('.')}." if ended.words else ""
        return {
            "how": ended.how,
            "words": words,
            "by": self._find_member_name(ended.by),
            "new": ended.new,
            "release": _describe_release(made) if made else None,
        }

    def _find_member_name(self, member: str) -> str:
        agreement = read_current_agreement(self._desk.store) if member else None
        person = agreement.find_member(member) if agreement else None
        return person.name if person else member


def _describe_box(box: FormField, label: str) -> Payload:
    default = "" if box.default is None else str(box.default)
    return {"name": box.name, "label": label, "about": box.about, "choices": list(box.choices), "default": default}


def _describe_release(release: Release) -> Payload:
    evaluation = release.evaluation
    return {
        "title": f"{release.name} {release.version}".strip(),
        "digest": release.digest,
        "passed": evaluation.passed,
        "reasons": list(evaluation.reasons),
        "report": bool(evaluation.report),
    }
