"""A hook of mkdocs: the site also shows the pages that lie beside the code (README.md, CONTRIBUTING.md, components/*/README.md).

In the repository a page links to another by its path there; on the site docs/ is the root. So each link is resolved in the
repository and written again for the site. A link to a page that is not on the site fails the build (`strict` in mkdocs.yml).
"""

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_OUTSIDE = (
    "*.md",
    "LICENSE",
    "NOTICE",
    "bases/*/README.md",
    "benchmarks/README.md",
    "components/*/README.md",
    "deploy/*/README.md",
    "notebooks/*.ipynb",
    "services/*/README.md",
)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Adds the lists that grow by themselves, so that nobody has to write a new page into mkdocs.yml."""
    config.nav.append({"Steps": [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("components/*/README.md"))]})
    config.nav.append({"Decisions": [str(path.relative_to(ROOT / "docs")) for path in sorted(ROOT.glob("docs/decisions/*.md"))]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that lie beside the code, and the files that they link to."""
    from mkdocs.structure.files import File

    for path in sorted(found for pattern in _OUTSIDE for found in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, _locate_on_site(name), content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Writes each link of a page again, from paths in the repository to paths on the site."""
    here = page.file.src_uri
    beside_code = page.file.generated_by is not None
    in_repository = "README.md" if here == "index.md" else here if beside_code else f"docs/{here}"

    def rewrite(link: re.Match[str]) -> str:
        target = _locate_on_site(normpath(f"{dirname(in_repository)}/{link[1]}".lstrip("/")))
        return f"]({relpath(target, dirname(here) or '.')}{link[2] or ''})"

    return _LINK.sub(rewrite, markdown)


def _locate_on_site(path: str) -> str:
    return "index.md" if path == "README.md" else path.removeprefix("docs/")
