"""Make a new release: the widget in widgets/training.js, and the server functions that it calls."""

from datetime import UTC, datetime

import gradio as gr

from audiotune.domain.release import Release
from audiotune.governance import read_current_agreement
from audiotune.runs.run_form import FormField
from services.studio.context import StudioContext
from services.studio.markup import format_sentence
from services.studio.pages.server_functions import Payload, create_server_function
from services.studio.releases import list_releases
from services.studio.theme import build_widget
from services.studio.training_readiness import TrainingReadiness, check_readiness
from services.studio.training_runs import TrainingEnd, TrainingStatus

# The fields of the form that a musician sees here, and their labels; the others keep their defaults.
_BOXES = {
    "training_name": "Name",
    "training_base": "Start from",
    "training_length": "How long",
    "training_method": "What is trained",
}


def build_training_widget(context: StudioContext) -> gr.HTML:
    """The widget. It triggers `made` with the digest of a release that has just come out, and `report` to see its report."""
    calls = _TrainingFunctions(context)
    works = (calls.read_training_status, calls.read_training_form, calls.start_training, calls.cancel_training)
    functions = [create_server_function(context, work) for work in works]
    element = '<section class="at-training at-card" aria-label="Make a new release"></section>'
    return build_widget("at-training", element, {"member": ""}, "training.js", functions=functions)


class _TrainingFunctions:
    """The server functions of the widget."""

    def __init__(self, context: StudioContext) -> None:
        self._context = context

    def read_training_status(self, member: str, payload: Payload) -> Payload:
        """The newest run as it is now, and whether this member may start one."""
        trainings = self._context.training_runs
        status = trainings.read_status()
        return {
            "why_not": trainings.rights.explain_refusal(member),
            "place": trainings.runner.place,
            "run": self._describe_run(member, status) if status else None,
        }

    def read_training_form(self, member: str, payload: Payload) -> Payload:
        """The checks before a training, and the form."""
        if refusal := self._context.training_runs.rights.explain_refusal(member):
            return {"error": refusal}
        readiness = self._check_readiness()
        lines = [{"kind": line.kind, "words": line.words} for line in readiness.lines]
        if not readiness.ready:
            return {"lines": lines, "ready": False, "boxes": []}
        form = self._context.training_runs.runner.read_form()
        boxes = [_describe_box(box, label) for name, label in _BOXES.items() if (box := form.find_field(name))]
        return {"lines": lines, "ready": True, "boxes": boxes}

    def start_training(self, member: str, payload: Payload) -> Payload:
        """Starts a run with the chosen values."""
        chosen = dict(payload.get("chosen", {}))
        readiness = self._check_readiness()
        if not readiness.ready:
            return {"error": next(line.words for line in readiness.lines if line.kind == "bad")}
        self._context.training_runs.start_run(member, {name: str(chosen[name]) for name in _BOXES if name in chosen})
        return self.read_training_status(member, payload)

    def cancel_training(self, member: str, payload: Payload) -> Payload:
        """Asks for the end of the running training."""
        self._context.training_runs.cancel_run(member)
        return self.read_training_status(member, payload)

    def _check_readiness(self) -> TrainingReadiness:
        store, answered = self._context.store, self._context.annotation_queue.list_answered_segments()
        return check_readiness(store, self._context.library.current(), read_current_agreement(store), answered)

    def _describe_run(self, member: str, status: TrainingStatus) -> Payload:
        begun, ended = status.begun, status.ended
        may_cancel = ended is None and not status.cancelled_by and self._context.training_runs.rights.may_cancel(member, begun)
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
            "steps": [step.model_dump(exclude={"name"}) for step in status.steps],
            "cancelled_by": self._find_member_name(status.cancelled_by),
            "may_cancel": may_cancel,
            "trouble": format_sentence(status.trouble),
            "page": status.page,
            "ended": self._describe_end(ended) if ended else None,
        }

    def _describe_end(self, ended: TrainingEnd) -> Payload:
        release = (
            next((r for r in list_releases(self._context.store) if r.digest == ended.release), None) if ended.release else None
        )
        return {
            "how": ended.how,
            "words": format_sentence(ended.words),
            "by": self._find_member_name(ended.by),
            "new": ended.new,
            "release": _describe_release(release) if release else None,
        }

    def _find_member_name(self, member: str) -> str:
        agreement = read_current_agreement(self._context.store) if member else None
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
