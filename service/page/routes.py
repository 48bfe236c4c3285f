"""``GET /`` and the files of the page.

Each file is a route of its own: no path of a request ever reaches the file system, and logs and
metrics can name it.
"""

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.page.document import FILES, document_of, language_of
from service.preferences import weighted, whole_list

INDEX = "index.html"
PREFIX = "/page"

MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked for again by its tag: an update is seen at once
}


def page_routes(*, has_studio: bool = False) -> list[Route]:
    """``/``, which leads to the studio where there is one, and each file under ``/page/``."""
    files = sorted(path for path in FILES.rglob("*") if path.is_file())
    routes = [
        Route(f"{PREFIX}/{path.relative_to(FILES).as_posix()}", _answering(_File(path)))
        for path in files
    ]
    return [Route("/", _answering(_File(FILES / INDEX, has_studio=has_studio))), *routes]


def studio_page() -> Route:
    """``/studio``, where people draw."""
    return Route("/studio", _answering(_File(FILES / "studio" / INDEX)))


def policy(styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """The page runs its own scripts, asks its own service, and nobody else.

    What lies in the document itself is allowed by its hash alone.
    """
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *scripts)),
            " ".join(("style-src 'self'", *styles)),
            "connect-src 'self'",
            "img-src 'self' blob: data:",  # data: are glyphs and material that NiiVue carries
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class _Sent:
    """A file as it is sent, packed."""

    def __init__(self, content: bytes, media_type: str, more: Mapping[str, str]) -> None:
        self.content = content
        self.zipped = gzip.compress(content, mtime=0)
        self.media_type = media_type
        tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
        self.headers = {**HEADERS, **more, "ETag": tag}


class _File:
    """A file, read and packed when it is first asked for; a document once for each language."""

    def __init__(self, path: Path, *, has_studio: bool = False) -> None:
        self._path, self._has_studio = path, has_studio
        self._sent: dict[str, _Sent] = {}

    async def sent(self, accepted_languages: str) -> _Sent:
        """As it is sent to whoever accepts such languages."""
        language = language_of(accepted_languages) if self._path.suffix == ".html" else ""
        if language not in self._sent:  # once, in a thread; hundreds that ask later need none
            self._sent[language] = await run_sync(self._prepared, language)
        return self._sent[language]

    def _prepared(self, language: str) -> _Sent:
        media_type = MEDIA_TYPES.get(self._path.suffix, "text/plain")
        if not language:
            more = {"Content-Security-Policy": policy(), "Vary": "Accept-Encoding"}
            return _Sent(self._path.read_bytes(), media_type, more)
        document = document_of(self._path, language, has_studio=self._has_studio)
        more = {
            "Content-Security-Policy": policy(document.styles, document.scripts),
            "Content-Language": language,
            "Vary": "Accept-Encoding, Accept-Language",
        }
        return _Sent(document.text.encode(), media_type, more)


def _answering(file: _File) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        sent = await file.sent(whole_list(request.headers, "accept-language") or "")
        headers = dict(sent.headers)
        if _has(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        if _takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
            return Response(sent.zipped, headers=headers, media_type=sent.media_type)
        return Response(sent.content, headers=headers, media_type=sent.media_type)

    return answer


def _has(request: Request, tag: str) -> bool:
    """Whether the client has that version; proxies that unpack leave the ``W/`` out or put it in.

    Source: RFC 9110, 8.8.3.2 and 13.1.2.
    """
    tags = whole_list(request.headers, "if-none-match") or ""
    named = [each.strip() for each in tags.split(",")]
    return "*" in named or any(each.removeprefix("W/") == tag.removeprefix("W/") for each in named)


def _takes_gzip(request: Request) -> bool:
    """Source: RFC 9110, 12.5.3."""
    wanted = dict(weighted(whole_list(request.headers, "accept-encoding") or ""))
    return wanted.get("gzip", wanted.get("*", 0)) > 0
