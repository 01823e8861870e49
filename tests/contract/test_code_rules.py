"""The rules that CONTRIBUTING.md names and no other tool checks: sizes, names and import cycles of the product's code."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("audiotune", "bases", "components", "deploy", "pipelines", "services")
SOURCES = {path: path.read_text() for top in PRODUCT for path in sorted((ROOT / top).rglob("*.py"))}
TREES = {path: ast.parse(text) for path, text in SOURCES.items()}
Definition = ast.FunctionDef | ast.AsyncFunctionDef


def test_a_file_has_at_most_400_lines() -> None:
    assert {str(path.relative_to(ROOT)): n for path, text in SOURCES.items() if (n := text.count("\n")) > 400} == {}


def test_functions_are_named_by_verb_and_object() -> None:
    free = [node.name for tree in TREES.values() for node in find_functions(tree.body)]
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    methods = [node.name for owner in classes for node in find_functions(owner.body)]
    assert share_of_one_word(free) <= 0.25
    assert share_of_one_word(methods) <= 0.60


def test_a_class_name_stands_for_one_class() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name != "Settings":
                places[node.name].append(str(path.relative_to(ROOT)))  # each component has its Settings, by design
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_the_formatter_is_switched_off_at_most_ten_times() -> None:
    assert sum(text.count("fmt: skip") + text.count("fmt: off") for text in SOURCES.values()) <= 10


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {name_module(path): path for path in SOURCES}
    graph = {name: {to for to in find_imports(TREES[path], names) if to != name} for name, path in names.items()}
    assert sorted(name for name in graph if name in find_reachable(graph, name)) == []


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "common", "misc", "manager"])
def test_no_file_has_a_name_that_says_nothing(name: str) -> None:
    assert [str(path) for path in SOURCES if path.stem == name] == []


def find_functions(body: list[ast.stmt]) -> Iterator[Definition]:
    return (node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def share_of_one_word(names: list[str]) -> float:
    """How many of the names are one word; `main` and names like `__enter__` do not count."""
    counted = [name.strip("_") for name in names if not name.startswith("__") and name != "main"]
    return sum("_" not in name for name in counted) / len(counted)


def name_module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def find_imports(tree: ast.Module, known: dict[str, Path]) -> Iterator[str]:
    """Our modules that are imported, also inside functions; of `from package import name` the submodule, where it is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            yield from (whole if (whole := f"{node.module}.{alias.name}") in known else node.module for alias in node.names)


def find_reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen
