"""Why Hugging Face refuses, in one sentence each with its own cure: its own errors say "401 Client Error" for five different causes."""

import difflib
import os
from typing import Any

from audiotune.errors import SourceError, first_line
from audiotune.stable_audio.known_bases import KNOWN_BASES

_SETTINGS = "https://huggingface.co/settings/tokens"
_HOME = "https://huggingface.co"
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
_KNOWN = tuple(base.repository for base in KNOWN_BASES if base.repository)


def explain_refusal(error: Exception, repository: str, file: str, *, kind: str, token_place: str) -> SourceError:
    """The sentence for an error of the hub's client.

    Args:
        repository: `organisation/model`, for the address of its page.
        file: what was asked for of it; "" is its list.
        kind: of the repository, "model" or "dataset".
        token_place: where the token lies that was sent; empty where none was.
    """
    page = f"{_HOME}/{'datasets/' if kind == 'dataset' else ''}{repository}"
    what, cure = _explain(error, repository, page, kind, token_place)
    return SourceError(what, where=f"{repository}/{file}".rstrip("/"), cure=cure)


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed soon: no answer, a broken connection, or trouble of the hub's own."""
    status = _read_answer(error)[0]
    return status in _PASSING_STATUS or (not status and _is_about_the_line(error))


def _explain(error: Exception, repository: str, page: str, kind: str, token: str) -> tuple[str, str]:
    """What is wrong, and the cure."""
    status, code, words = _read_answer(error)
    said = words.lower()
    if status == 401 and "expired" in said:
        return f"the token in {token} has expired", f"make a new one at {_SETTINGS} and put it there"
    if status == 401 and ("invalid credentials" in said or (token and code != "GatedRepo")):
        cure = f"copy it again from {_SETTINGS}, whole and without quotes, or make a new one: it may have been revoked"
        return f"Hugging Face does not know the token in {token or 'the request'}", cure
    if code == "GatedRepo" or (status == 403 and "gated" in said):
        return _explain_gate(said, token, repository, page)
    if status == 403:
        return f"Hugging Face does not allow this to the token in {token}: {words or 'no reason given'}", f"look at {_SETTINGS}"
    if status in (401, 404):
        return _explain_missing(code, token, repository, kind)
    if status == 429:
        return "Hugging Face asks for a pause: too many requests", "run it again in a few minutes; what came is kept"
    if status in _PASSING_STATUS or _is_about_the_line(error):
        return (
            f"Hugging Face does not answer ({type(error).__name__}: {first_line(error)[:200]})",
            "check the network, HTTPS_PROXY and HF_ENDPOINT, and run it again: what came is kept. "
            "Without a network bring the files by hand: audiotune base fetch NAME --from FOLDER",
        )
    return f"Hugging Face refuses: {type(error).__name__}: {first_line(error)[:300]}", "check the name and the network"


def _explain_gate(said: str, token: str, repository: str, page: str) -> tuple[str, str]:
    if not token:
        return (
            f"{repository} asks for its licence to be accepted, and there is no token that tells who asks",
            f"accept the licence at {page}, make a token of kind Read at {_SETTINGS} and set HF_TOKEN "
            "(on a cluster: the chart's huggingFace.secret)",
        )
    if "fine-grained" in said:
        return (
            f"the token in {token} may not read models behind a licence",
            f"tick 'Read access to contents of all public gated repos you can access' for it at {_SETTINGS}, or take one of kind Read",
        )
    if "await" in said or "pending" in said:
        return f"the owners of {repository} have not answered your request yet", f"look at {page}, and run it again then"
    return (
        f"the licence of {repository} is not accepted by the account of the token in {token}",
        f"sign in as that account, accept the licence at {page} and run it again",
    )


def _explain_missing(code: str, token: str, repository: str, kind: str) -> tuple[str, str]:
    if code in ("EntryNotFound", "RevisionNotFound"):
        return f"{repository} has no such file", "look at its page"
    near = difflib.get_close_matches(repository, _KNOWN, n=1)
    hint = f"did you mean {near[0]}? " if near and near[0] != repository else ""
    private = "Yours, if private, needs a token of its owner" if token else "A private one needs HF_TOKEN"
    return f"Hugging Face has no {kind} {repository!r}", f"{hint}{'check' if not hint else 'Check'} the spelling. {private}"


def _read_answer(error: Exception) -> tuple[int, str, str]:
    """Status, code and words of the hub's answer; zero and empty where none came."""
    response: Any = getattr(error, "response", None)
    if response is None:
        return 0, "", ""
    words = response.headers.get("X-Error-Message") or ""
    return int(response.status_code), response.headers.get("X-Error-Code") or "", " ".join(str(words).split())[:300]


def _is_about_the_line(error: Exception) -> bool:
    """Whether no whole answer came: httpx's transport errors, the client's check of lengths, an offline switch."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "OfflineModeIsEnabled", "TimeoutError"}) or (
        type(error) is OSError and "Consistency check failed" in str(error)
    )


def find_token_place() -> str:
    """Where the token lies that is sent; empty where there is none. Without HF_TOKEN the client sends the one of an old login."""
    if os.environ.get("HF_TOKEN", "").strip():
        return "HF_TOKEN"
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN or not get_token():
        return ""
    return f"{constants.HF_TOKEN_PATH} (an earlier login; HF_TOKEN goes before it)"
