"""The run form of a compiled pipeline: what people may choose, and the steps in their order.

One reading for everybody who shows a form: the same compiled pipeline lies on Kubeflow and is played on one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from audiotune.errors import SettingsError

_LONGEST = 200


class FormField(BaseModel):
    """One box of the form.

    Attributes:
        choices: what may be taken; empty lets anything in.
        about: a sentence for people.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    default: Any = None
    choices: tuple[str, ...] = ()
    about: str = ""


class FormStep(BaseModel):
    """A step of the pipeline: its task's name, and its name for people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    title: str


class RunForm(BaseModel):
    """Boxes by the alphabet, as Kubeflow draws them; steps in the order they are played."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    boxes: tuple[FormField, ...]
    steps: tuple[FormStep, ...]

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> RunForm:
        """Reads a compiled pipeline's spec (the first document of its YAML)."""
        root = spec["root"]
        cards = (root.get("inputDefinitions") or {}).get("parameters") or {}
        boxes = tuple(
            FormField(
                name=name,
                default=card.get("defaultValue"),
                choices=tuple(map(str, card.get("literals") or ())),
                about=str(card.get("description") or ""),
            )
            for name, card in sorted(cards.items())
        )
        tasks = root["dag"]["tasks"]
        steps = (FormStep(name=n, title=str((tasks[n].get("taskInfo") or {}).get("name") or n)) for n in sort_tasks(tasks))
        return cls(boxes=boxes, steps=tuple(steps))

    def find_field(self, name: str) -> FormField | None:
        return next((box for box in self.boxes if box.name == name), None)

    def check_values(self, given: Mapping[str, Any]) -> dict[str, str]:
        """What was chosen, checked; what is empty is left to its default.

        Raises:
            SettingsError: a box the form does not have, a value that it does not offer, or one that is too long.
        """
        values = {name: str(value).strip() for name, value in given.items()}
        for name, value in values.items():
            box = self.find_field(name)
            if box is None:
                raise SettingsError(f"the form has no {name!r}", cure=f"it has: {', '.join(b.name for b in self.boxes)}")
            if value and box.choices and value not in box.choices:
                raise SettingsError(f"{name} is {value[:60]!r}", cure=f"take one of: {', '.join(box.choices)}")
            if len(value) > _LONGEST:
                raise SettingsError(f"{name} is {len(value)} letters long", cure=f"use {_LONGEST} at most")
        return {name: value for name, value in values.items() if value}


def sort_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of tasks, each after those it waits for; by the alphabet where nothing else decides."""
    order: list[str] = []
    waiting = sorted(tasks)
    while waiting:
        ready = [n for n in waiting if all(d in order or d not in tasks for d in tasks[n].get("dependentTasks") or ())]
        if not ready:  # a circle; the compiler lets none through
            return order + waiting
        order.append(ready[0])
        waiting.remove(ready[0])
    return order
