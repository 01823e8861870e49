"""The HTTP client of the governance service, which is the only writer of agreements, consents, accounts and tokens on a cluster.

`AUDIOTUNE_GOVERNANCE_URL` names the service; unset, as on a laptop and in the operators' commands, programs write to the store.
"""

from __future__ import annotations

import os
from typing import Any

import httpx

from audiotune import errors
from audiotune.errors import AudioTuneError, SettingsError, StoreError

URL, KEY = "AUDIOTUNE_GOVERNANCE_URL", "AUDIOTUNE_GOVERNANCE_KEY"
_TIMEOUT = httpx.Timeout(30, connect=5)
_CURE = "look at its pod and its log (doctor names what is wrong), then try again"


class GovernanceServiceClient:
    """Calls operations of the service. Its errors are raised as they are here, with place and cure."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        # no proxy of the environment: it would read the key
        self._http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT, trust_env=False
        )

    def call(self, operation: str, **fields: Any) -> Any:
        """The result of an operation. Raises what the operation raises, and StoreError when the service does not answer."""
        try:
            answer = self._http.post(f"/v1/{operation}", json=fields)
            body = answer.json()
        except httpx.HTTPError as e:
            why = str(e) or type(e).__name__
            raise StoreError(f"the governance service does not answer ({why})", where=self.url, cure=_CURE) from e
        except ValueError:
            words = f"what answers is no governance service ({answer.status_code})"
            raise StoreError(words, where=self.url, cure=f"check {URL}") from None
        if answer.is_error:
            raise _parse_error(body, self.url)
        return body


def find_service() -> GovernanceServiceClient | None:
    """The service that the environment names, or None. Raises SettingsError: an address without a key."""
    url, key = os.environ.get(URL, ""), os.environ.get(KEY, "")
    if not url:
        return None
    if not key:
        raise SettingsError(f"{URL} is set, but no key", cure=f"set {KEY} to this program's key of the governance service")
    return GovernanceServiceClient(url, key)


def _parse_error(body: Any, url: str) -> AudioTuneError:
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    kind = getattr(errors, str(told.get("error")), None)
    what, where, cure = (str(told.get(part) or "") for part in ("what", "where", "cure"))
    if isinstance(kind, type) and issubclass(kind, AudioTuneError) and what:
        return kind(what, where=where, cure=cure)
    return StoreError(f"the governance service answers {str(body)[:200]}", where=url, cure=_CURE)
