"""The studio on addresses of IPv6, as in clusters that have no other."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from services.studio.app import serve_studio
from services.studio.settings import load_studio_settings


@pytest.mark.parametrize("host", ["::", "::1"])
def test_the_studio_listens_at_an_address_of_ipv6(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AUDIOTUNE_ACCESS": "open",
        "AUDIOTUNE_STORE": str(tmp_path / "store"),
        "GRADIO_TEMP_DIR": str(tmp_path / "files"),
        "FORWARDED_ALLOW_IPS": "",
        "GRADIO_ANALYTICS_MAX_EVENTS": "100",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_studio_settings(host=host, port=0, work_folder=tmp_path / "work")
    blocks, url = serve_studio(settings, wait=False)
    try:
        assert url.startswith(f"http://[{host}]:")
        assert httpx.get(url.replace("[::]", "[::1]"), timeout=20, trust_env=False).status_code == 200
    finally:
        blocks.close()
