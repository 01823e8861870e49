"""Writes the files that are made from the values model: `python -m deploy.chart.generate`; --check only lists those that differ."""

import argparse
import sys
from pathlib import Path

from audiotune.store.atomic_files import write_atomic_file
from deploy.chart import graph, rules, schema, settings_template, values_documents

REPOSITORY = Path(__file__).resolve().parents[2]


def render_files() -> dict[Path, str]:
    """Path below the repository -> its text."""
    chart, docs = Path("helm/audio-tune"), Path("docs/operations")
    return {
        chart / "values.schema.json": schema.render_schema(),
        chart / "values.yaml": values_documents.render_values_yaml(),
        chart / "templates/_rules.tpl": rules.render_template(),
        chart / "templates/_settings.tpl": settings_template.render_template(),
        docs / "values.md": values_documents.render_reference(),
        docs / "graph.md": graph.render_page(),
    }


def list_drifted_files() -> list[str]:
    """The files that are missing or differ from the model."""
    files = {REPOSITORY / path: text for path, text in render_files().items()}
    return [str(path.relative_to(REPOSITORY)) for path, text in files.items() if not path.exists() or path.read_text() != text]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.chart.generate", description=(__doc__ or "").strip())
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something has drifted")
    if parser.parse_args(argv).check:
        drifted = list_drifted_files()
        for path in drifted:
            print(f"{path} has drifted; run python -m deploy.chart.generate", file=sys.stderr)
        return 1 if drifted else 0
    for name, text in render_files().items():
        write_atomic_file(REPOSITORY / name, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
