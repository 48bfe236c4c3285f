"""``GET /`` and the files of the page.

Each file is a route of its own: no path of a request ever reaches the file system, and logs and
metrics can name it.
"""

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FILES = Path(__file__).parent / "static"
INDEX = "index.html"
PREFIX = "/page"

MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob: data:",  # data: are the glyphs and the material that NiiVue carries
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page runs its own scripts, asks its own service, and nobody else."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked for again by its tag: an update is seen at once
    "Vary": "Accept-Encoding",
}


def page_routes() -> list[Route]:
    """``/`` and, under ``/page/``, each file of the page."""
    files = sorted(path for path in FILES.rglob("*") if path.is_file())
    routes = [
        Route(f"{PREFIX}/{path.relative_to(FILES).as_posix()}", _answering(_File(path)))
        for path in files
    ]
    return [Route("/", _answering(_File(FILES / INDEX))), *routes]


def studio_page() -> Route:
    """``/studio``, where people draw."""
    return Route("/studio", _answering(_File(FILES / "studio" / INDEX)))


class _File:
    """A file, read and packed when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_ready = False
        self.media_type = MEDIA_TYPES.get(path.suffix, "text/plain")

    def prepare(self) -> None:
        """Read and pack it."""
        _ = self.zipped, self.tag
        self.is_ready = True

    @cached_property
    def content(self) -> bytes:
        return self._path.read_bytes()

    @cached_property
    def zipped(self) -> bytes:
        return gzip.compress(self.content, mtime=0)

    @cached_property
    def tag(self) -> str:
        return f'W/"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def _answering(file: _File) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if not file.is_ready:  # once, in a thread; hundreds that ask later need none
            await run_sync(file.prepare)
        headers = HEADERS | {"ETag": file.tag}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(file.zipped, headers=headers, media_type=file.media_type)
        return Response(file.content, headers=headers, media_type=file.media_type)

    return answer
