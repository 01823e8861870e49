"""The run form of a compiled pipeline: the values that people may choose, and the steps in their order.

Kubeflow and one machine run the same compiled pipeline, so every program that shows a form reads it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotune.domain.frozen_model import TolerantModel
from audiotune.errors import SettingsError

_LONGEST = 200


class FormField(TolerantModel):
    """One field of the form. `choices`: the allowed values; empty for any. `about`: a sentence for people."""

    name: str
    default: Any = None
    choices: tuple[str, ...] = ()
    about: str = ""


class FormStep(TolerantModel):
    """A step of the pipeline: the name of its task, and its title for people."""

    name: str
    title: str


class RunForm(TolerantModel):
    """Fields in alphabetical order, as Kubeflow shows them; steps in the order in which they run."""

    boxes: tuple[FormField, ...]
    steps: tuple[FormStep, ...]

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> RunForm:
        """Reads a compiled pipeline's spec (the first document of its YAML)."""
        root = spec["root"]
        parameters = (root.get("inputDefinitions") or {}).get("parameters") or {}
        boxes = tuple(
            FormField(
                name=name,
                default=parameter.get("defaultValue"),
                choices=tuple(map(str, parameter.get("literals") or ())),
                about=str(parameter.get("description") or ""),
            )
            for name, parameter in sorted(parameters.items())
        )
        tasks = root["dag"]["tasks"]
        steps = (FormStep(name=n, title=str((tasks[n].get("taskInfo") or {}).get("name") or n)) for n in sort_tasks(tasks))
        return cls(boxes=boxes, steps=tuple(steps))

    def find_field(self, name: str) -> FormField | None:
        return next((box for box in self.boxes if box.name == name), None)

    def check_values(self, given: Mapping[str, Any]) -> dict[str, str]:
        """The chosen values, without empty ones, which take their defaults.

        Raises:
            SettingsError: a field that the form does not have, a value that it does not offer, or one that is too long.
        """
        values = {name: str(value).strip() for name, value in given.items()}
        for name, value in values.items():
            field = self.find_field(name)
            if field is None:
                raise SettingsError(f"the form has no {name!r}", cure=f"it has: {', '.join(each.name for each in self.boxes)}")
            if value and field.choices and value not in field.choices:
                raise SettingsError(f"{name} is {value[:60]!r}", cure=f"take one of: {', '.join(field.choices)}")
            if len(value) > _LONGEST:
                raise SettingsError(f"{name} is {len(value)} letters long", cure=f"use {_LONGEST} at most")
        return {name: value for name, value in values.items() if value}


def sort_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of tasks, each after the tasks that it depends on, otherwise in alphabetical order."""
    order: list[str] = []
    waiting = sorted(tasks)
    while waiting:
        ready = [n for n in waiting if all(d in order or d not in tasks for d in tasks[n].get("dependentTasks") or ())]
        if not ready:  # a circle; the compiler lets none through
            return order + waiting
        order.append(ready[0])
        waiting.remove(ready[0])
    return order
