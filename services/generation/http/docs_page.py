"""The page /docs: Swagger UI over /openapi.json, from files of this machine, so that it also works where no internet is.

FastAPI's own page loads Swagger UI from a CDN. BentoML's package holds the same files.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

_ASSETS = "docs-assets"  # addresses are relative, so that the page works under a path of a proxy, too


def add_docs_page(app: FastAPI) -> None:
    """Adds /docs and its files to an application that was made without FastAPI's own page."""
    app.mount(f"/{_ASSETS}", StaticFiles(directory=_find_swagger_folder(), check_dir=False), name=_ASSETS)

    @app.get("/docs", include_in_schema=False)
    async def get_docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon-light-32x32.png",
        )

    @app.get("/redoc", include_in_schema=False)
    async def get_redoc() -> RedirectResponse:
        return RedirectResponse("docs")  # FastAPI's second page needs a CDN, too


def _find_swagger_folder() -> Path:
    """In BentoML's package, without importing it."""
    spec = find_spec("bentoml")
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0] if folders else "", "_internal/server/static_content")
