"""The bill of materials of the image that this runs in: `python -m deploy.images.bill NAME VERSION` prints CycloneDX 1.6 as JSON.

It is made from the metadata of every installed wheel. Source: https://cyclonedx.org/docs/1.6/json/
"""

import json
import sys
from collections import Counter
from importlib import metadata
from typing import Any

_LONGEST_LICENCE_NAME = 80  # some packages give the whole text of their licence instead of its name


def make_bill(name: str, version: str) -> dict[str, Any]:
    """The bill: one component for each installed distribution, sorted by name; the same image gives the same bytes."""
    installed = {_normalize_name(d): d for d in metadata.distributions()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"audio-tune/{name}", "version": version}},
        "components": [_make_component(installed[key]) for key in sorted(installed)],
    }


def count_licences(bill: dict[str, Any]) -> dict[str, int]:
    """Licence -> number of components, the most frequent first."""
    return dict(Counter(sorted(map(_get_licence_text, bill["components"]))).most_common())


def _normalize_name(distribution: metadata.Distribution) -> str:
    return str(distribution.metadata["Name"]).lower().replace("_", "-")


def _make_component(distribution: metadata.Distribution) -> dict[str, Any]:
    name, licence = _normalize_name(distribution), _read_licence(distribution)
    purl = f"pkg:pypi/{name}@{distribution.version}"
    component = {"type": "library", "name": name, "version": distribution.version, "purl": purl}
    return {**component, "licenses": [licence]} if licence else component


def _read_licence(distribution: metadata.Distribution) -> dict[str, Any] | None:
    """The SPDX expression of the wheel (PEP 639), or else the name in its metadata."""
    about: Any = distribution.metadata  # an e-mail message, whatever its type says
    if expression := about.get("License-Expression"):
        return {"expression": str(expression)}
    classifiers = [str(c).split(" :: ")[-1] for c in about.get_all("Classifier") or [] if str(c).startswith("License ::")]
    name = str(about.get("License") or "").strip()
    if not name or len(name) > _LONGEST_LICENCE_NAME or "\n" in name:
        name = " or ".join(classifiers)
    return {"license": {"name": name}} if name else None


def _get_licence_text(component: dict[str, Any]) -> str:
    first = (component.get("licenses") or [{}])[0]
    return str(first.get("expression") or first.get("license", {}).get("name") or "unknown")


if __name__ == "__main__":
    print(json.dumps(make_bill(*sys.argv[1:3]), indent=1, ensure_ascii=False))
