"""Writes what comes from the values model: `python -m deploy.chart.generate`; with --check it only tells what has drifted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from audiotune.partial import write_whole
from deploy.chart import graph, pages, rules, schema

REPOSITORY = Path(__file__).resolve().parents[2]


def generated() -> dict[Path, str]:
    """Path below the repository -> what should stand there."""
    chart, docs = Path("helm/audio-tune"), Path("docs/operations")
    return {
        chart / "values.schema.json": schema.as_json(),
        chart / "values.yaml": pages.values_yaml(),
        chart / "templates/_rules.tpl": rules.as_template(),
        docs / "values.md": pages.reference(),
        docs / "graph.md": graph.page(),
    }


def drifted() -> list[str]:
    """The files that differ from what the model says."""

    def stands(path: Path) -> str:
        full = REPOSITORY / path
        return full.read_text() if full.exists() else ""

    return [str(path) for path, text in generated().items() if stands(path) != text]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.chart.generate", description=(__doc__ or "").strip())
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something has drifted")
    if parser.parse_args(argv).check:
        found = drifted()
        print("\n".join(f"{path} has drifted; run python -m deploy.chart.generate" for path in found), file=sys.stderr)
        return 1 if found else 0
    for path, text in generated().items():
        write_whole(REPOSITORY / path, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
