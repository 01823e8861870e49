"""The bill of materials of the image that this runs in: `python -m deploy.images.bill NAME VERSION` prints CycloneDX 1.6 as JSON.

Read from the metadata that every installed wheel carries. Source: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from typing import Any

_LONGEST_LICENCE_NAME = 80  # some packages give the whole text of their licence instead of its name


def make_bill(name: str, version: str) -> dict[str, Any]:
    """The bill: one component for each installed distribution, in order of their names; the same image gives the same bytes."""
    found = {_normalize_name(d): d for d in metadata.distributions()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"audio-tune/{name}", "version": version}},
        "components": [_make_component(found[key]) for key in sorted(found)],
    }


def count_licences(made: dict[str, Any]) -> dict[str, int]:
    """Licence -> number of components, the most frequent first."""
    counted: dict[str, int] = {}
    for component in made["components"]:
        licence = _get_licence_text(component)
        counted[licence] = counted.get(licence, 0) + 1
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _normalize_name(distribution: metadata.Distribution) -> str:
    return str(distribution.metadata["Name"]).lower().replace("_", "-")


def _make_component(distribution: metadata.Distribution) -> dict[str, Any]:
    name, licence = _normalize_name(distribution), _read_licence(distribution)
    made: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": distribution.version,
        "purl": f"pkg:pypi/{name}@{distribution.version}",
    }
    if licence:
        made["licenses"] = [licence]
    return made


def _read_licence(distribution: metadata.Distribution) -> dict[str, Any] | None:
    """The SPDX expression where the wheel gives one (PEP 639), else the name that it gives."""
    about: Any = distribution.metadata  # an e-mail message, which its type does not say
    if expression := about.get("License-Expression"):
        return {"expression": str(expression)}
    classifiers = [str(c).split(" :: ")[-1] for c in about.get_all("Classifier") or [] if str(c).startswith("License ::")]
    name = str(about.get("License") or "").strip()
    if not name or len(name) > _LONGEST_LICENCE_NAME or "\n" in name:
        name = " or ".join(classifiers)
    return {"license": {"name": name}} if name else None


def _get_licence_text(component: dict[str, Any]) -> str:
    first = (component.get("licenses") or [{}])[0]
    return str(first.get("expression") or first.get("license", {}).get("name") or "not told")


if __name__ == "__main__":
    print(json.dumps(make_bill(*sys.argv[1:3]), indent=1, ensure_ascii=False))
