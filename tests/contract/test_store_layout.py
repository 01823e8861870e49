"""Prefixes of the store stand in `audiotune/store/layout.py` and nowhere else; the docs and the chart agree with it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiotune.store import layout
from audiotune.store.layout_table import format_table
from tests.rendered_chart import REGISTRY, text

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("audiotune", "components", "services", "pipelines", "deploy")
ALLOWED = {"bases/tiny", "bases/tiny/"}  # a folder of the repository, not of a store
_TOPS = "|".join(sorted({re.escape(row.top) for row in layout.PREFIXES}))
_PREFIX = re.compile(rf"({_TOPS})/")


def find_prefix_literals(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every string that begins like a key; docstrings are prose and not looked at."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
        if isinstance(value, str) and _PREFIX.match(value) and value not in ALLOWED:
            yield node.lineno, value


@pytest.mark.parametrize("package", PACKAGES)
def test_no_prefix_stands_outside_the_layout(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {literal!r}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != ROOT / "audiotune" / "store" / "layout.py"
        for line, literal in find_prefix_literals(path.read_text())
    ]
    assert not found, "take the key from a row of audiotune/store/layout.py: " + "; ".join(found)


@pytest.mark.parametrize("source", ['put("jobs/log/x")', 'f"sounds/{a}/b"', 're.compile(r"annotations/(.*)")', 'X = "tunings/"'])
def test_a_prefix_in_a_program_is_seen(source: str) -> None:
    assert list(find_prefix_literals(source))


def test_the_docs_show_the_table() -> None:
    assert format_table() in (ROOT / "docs" / "store.md").read_text(), "python -m audiotune.store.layout prints the table"


def test_the_charts_places_in_the_bucket_are_rows() -> None:
    assert f"--artifacts-destination=s3://audio-tune/{layout.MLFLOW.top}" in text(REGISTRY)
    templates = "".join(path.read_text() for path in (ROOT / "helm" / "audio-tune" / "templates").rglob("*") if path.is_file())
    assert f'"audio-tune.store-url" . }}}}/{layout.KUBEFLOW.top}\n' in templates
    assert f'"%s/{layout.HELM_TEST.top}" (include "audio-tune.store-url"' in templates


def test_every_key_of_an_old_store_has_a_row() -> None:
    keys = json.loads((ROOT / "tests" / "fixtures" / "v0_1" / "expected.json").read_text())["keys"]
    assert not [key for key in keys if layout.find_prefix(key) is None]
