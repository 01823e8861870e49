"""The route by which pages upload files, in place of Gradio's: sizes first, then bytes to disk as they come, into the member's folder.

Gradio's own reads parts that are no files into memory, keeps what was broken off, and puts everybody's files into one folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

from gradio.route_utils import GradioMultiPartParser, GradioUploadFile
from gradio.routes import file_upload_statuses
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.studio.http.refusals import RequestRefusedError
from services.studio.http.upload_folder import UploadFolder
from services.studio.sign_in.session_store import MEMBER_SCOPE_KEY
from services.studio.uploads import clean_file_name

_UPLOAD, _PROGRESS = "/gradio_api/upload", "/gradio_api/upload_progress"
_MOST_FILES = 200  # in one request
_MOST_UPLOADS = 4  # of one member at a time
_BEGIN_S = 3.0  # how much earlier than its upload a page may ask for the progress


class UploadRoute:
    """ASGI middleware: answers uploads, and lets pages follow the uploads of their own member.

    Args:
        largest_bytes: of one file.
    """

    def __init__(self, app: ASGIApp, folder: UploadFolder, largest_bytes: int) -> None:
        self._app, self._folder, self._largest_bytes = app, folder, largest_bytes
        self._running: Counter[str] = Counter()
        self._followed: dict[str, str] = {}  # upload ids of pages -> member

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") if scope["type"] == "http" else ""
        if path not in (_UPLOAD, _PROGRESS):
            await self._app(scope, receive, send)
            return
        request, member = Request(scope, receive), scope.get(MEMBER_SCOPE_KEY) or ""
        try:
            if path == _PROGRESS and request.method == "GET":
                await self._require_followed(request.query_params.get("upload_id", ""), member)
                await self._app(scope, receive, send)
                return
            response = await self._take(request, member)
        except RequestRefusedError as e:
            response = PlainTextResponse(e.words, e.status, {"Retry-After": str(e.retry_after_s)} if e.retry_after_s else None)
        await response(scope, receive, send)

    async def _take(self, request: Request, member: str) -> Response:
        if request.method != "POST":
            raise RequestRefusedError(405, "Uploads are sent by POST.")
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data;"):
            raise RequestRefusedError(415, "Send uploads as multipart/form-data.")
        if self._running[member] >= (_MOST_UPLOADS if member else 10 * _MOST_UPLOADS):
            raise RequestRefusedError(429, "Several of your uploads are running. Wait for one of them.", retry_after_s=5)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal():
            raise RequestRefusedError(400, "This upload has no length.")
        upload_id = request.query_params.get("upload_id", "")[:64]
        self._running[member] += 1
        try:
            folder, room = await asyncio.to_thread(self._folder.open_request, member, int(length))
            if upload_id and upload_id not in self._followed:
                self._followed[upload_id] = member
            return JSONResponse(await self._read_files(request, folder, room, upload_id))
        finally:
            self._running[member] -= 1
            if self._followed.get(upload_id) == member:
                asyncio.get_running_loop().call_later(30, self._forget_progress, upload_id)

    async def _read_files(self, request: Request, folder: Path, room: int, upload_id: str) -> list[str]:
        """The paths of the files. On any failure nothing of the request stays on the disk. Raises RequestRefusedError."""
        parser = GradioMultiPartParser(
            request.headers,
            _bound_stream(request, room),
            max_files=_MOST_FILES,
            max_fields=0,  # such parts would be kept in memory, and pages send none
            upload_dir=folder,
            max_file_size=self._largest_bytes,
            upload_id=upload_id or None,
            upload_progress=file_upload_statuses if upload_id else None,
        )
        whole = False
        try:
            form = await parser.parse()
            paths = [_name_file(part, folder) for part in form.getlist("files") if isinstance(part, GradioUploadFile)]
            whole = bool(paths)
        except MultiPartException as e:
            raise RequestRefusedError(413 if "maximum allowed size" in e.message else 400, e.message) from None
        except ClientDisconnect:
            raise RequestRefusedError(400, "The upload was broken off.") from None
        finally:
            if upload_id:
                file_upload_statuses.set_done(upload_id)
            for file in parser._files_to_close_on_error:
                file.close()
            if not whole:
                shutil.rmtree(folder, ignore_errors=True)
        return paths

    async def _require_followed(self, upload_id: str, member: str) -> None:
        for _ in range(round(_BEGIN_S / 0.1)):
            if upload_id in self._followed:
                break
            await asyncio.sleep(0.1)
        if self._followed.get(upload_id) != member:
            raise RequestRefusedError(404, "Upload not found")

    def _forget_progress(self, upload_id: str) -> None:
        self._followed.pop(upload_id, None)
        file_upload_statuses.stop_tracking(upload_id)
        file_upload_statuses._signals.pop(upload_id, None)


async def _bound_stream(request: Request, room: int) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        room -= len(chunk)
        if room < 0:
            raise RequestRefusedError(413, "This upload is longer than it said, or than there is room for.")
        yield chunk


def _name_file(part: GradioUploadFile, folder: Path) -> str:
    """Gives the file its name, in a folder of its own: two files of one request may be called alike."""
    part.file.close()
    named = Path(part.file.name)
    into = folder / f"{named.name}.d"
    into.mkdir()
    return str(named.rename(into / clean_file_name(part.filename or "")))
