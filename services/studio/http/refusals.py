"""Requests that are refused before Gradio sees them."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response


class RequestRefusedError(Exception):
    """A request that is refused, with the answer's status and words.

    Attributes:
        retry_after_s: seconds after which the same request may be answered; 0 for never.
    """

    def __init__(self, status: int, words: str, retry_after_s: int = 0) -> None:
        super().__init__(words)
        self.status, self.words, self.retry_after_s = status, words, retry_after_s

    def build_response(self) -> Response:
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else None
        return JSONResponse({"detail": self.words}, self.status, headers)
