"""A values file of 0.1.0 renders with this chart to the same objects, and asks for no change that Kubernetes refuses in an upgrade."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests import rendered_chart
from tests.fakes.old_release import FOLDER

OLD: dict[str, Any] = json.loads((FOLDER / "rendered-0.1.0.sha256.json").read_text())


@pytest.fixture(scope="module")
def rendered() -> dict[str, dict[str, Any]]:
    """Name, as the recorded file writes it -> object."""
    values = yaml.safe_load((FOLDER / "values-0.1.0.yaml").read_text())
    made = yaml.safe_load_all(rendered_chart.bare(values, api_versions=OLD["api_versions"]))
    return {f"{o['apiVersion']} {o['kind']} {o['metadata'].get('namespace', '')}/{o['metadata']['name']}": o for o in made if o}


def test_every_object_keeps_its_name(rendered: dict[str, dict[str, Any]]) -> None:
    # since 0.3.0: the one writer of agreements, accounts and tokens, the one who erases, and what follows a withdrawal
    new = {name for name in rendered if "-governance" in name or "-withdrawals" in name or name.endswith("-erasure")}
    assert "apps/v1 Deployment audio-tune/audio-tune-oldband-governance" in new
    gone = {name for name in OLD["objects"] if "-studio-to-registry-" in name}  # the studio asks the generation service
    assert set(rendered) - new == set(OLD["objects"]) - gone
    assert len(gone) == 2


@pytest.mark.parametrize("name", sorted(OLD["immutable"]))
def test_what_kubernetes_lets_nobody_change_stays(rendered: dict[str, dict[str, Any]], name: str) -> None:
    spec, wanted = rendered[name]["spec"], OLD["immutable"][name]
    found = {"spec": spec} if "spec" in wanted else {key: spec.get(key) for key in wanted}
    assert found == wanted


def test_hooks_keep_their_moment(rendered: dict[str, dict[str, Any]]) -> None:
    hooks = {
        f"{o['kind']} {o['metadata']['name']}": o["metadata"]["annotations"]["helm.sh/hook"]
        for o in rendered.values()
        if "helm.sh/hook" in (o["metadata"].get("annotations") or {})
    }
    assert hooks == OLD["hooks"]
