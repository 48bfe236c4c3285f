"""The image of a task: fetched from hosts that the operator has listed, Label Studio among them."""

import base64
import binascii
from pathlib import Path
from time import monotonic
from typing import IO, Any
from urllib.parse import quote, urljoin

import httpx
from anyio.to_thread import run_sync
from starlette.requests import Request

from seg.errors import ConfigError
from service.problems.response import Problem
from service.requests.addresses import AllowList, UrlImages
from service.settings import Settings

STORES = ("s3://", "gs://", "azure-blob://")
"""Clouds whose addresses Label Studio itself makes into others."""
REFRESHED_S = 240.0
"""Seconds for which an access token is used; Label Studio's own hold for 300."""
PERSONAL = "eyJ"
"""How a personal access token begins, which is changed into one for a few minutes."""


class TaskImages:
    """Fetches them.

    Raises:
        ConfigError: the address or the token of Label Studio cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        listed = filter(None, (settings.url_allow, settings.label_studio))
        allowed = AllowList.parsed(",".join(listed))
        self._urls = UrlImages(allowed, settings.upload_idle_s)
        name = (settings.label_studio or "").partition("=")[0].strip()
        self._host = name if "://" in name or not name else f"https://{name}"
        self._token = _token(settings.label_studio_token_file)
        self._access, self._until = "", 0.0
        self._seconds = settings.timeout_s

    async def fetch(
        self, request: Request, task: dict[str, Any], key: str, most_bytes: int, target: IO[bytes]
    ) -> None:
        """Write the image of a task.

        Args:
            request: on whose behalf; its uploads are counted.
            task: as Label Studio sends it.
            key: of its data.
            most_bytes: that the image may have.
            target: to write to.

        Raises:
            Problem: 422, the task has none, or it lies where nobody may ask; or as
                `UrlImages.fetch` does.
        """
        data = task.get("data")
        value = data.get(key) if isinstance(data, dict) else None
        if not isinstance(value, str) or not value:
            raise Problem(422, f"the task has no single image under {key[:40]!r} in its data")
        reserve = request.scope.get("state", {}).get("reserve", lambda _: None)
        if value.startswith("data:"):
            content = await run_sync(_decoded, value)
            if len(content) > most_bytes:
                raise Problem(413, "the image of the task has more bytes than a request may have")
            reserve(len(content))
            await run_sync(target.write, content)
        else:
            url = self._address(value, task)
            headers = await self._headers(url)
            await self._urls.fetch(url, target, most_bytes, reserve, headers, seconds=self._seconds)
        target.seek(0)

    def _address(self, value: str, task: dict[str, Any]) -> str:
        if value.startswith(("http://", "https://")):
            return value
        if not self._host:
            raise Problem(
                422,
                "the image of the task lies with Label Studio, and nobody said where that is: "
                "SEG_LABEL_STUDIO=http://HOST:PORT",
            )
        if value.startswith(STORES):
            address = quote(base64.b64encode(value.encode()).decode())
            value = f"/tasks/{quote(str(task.get('id')))}/resolve/?fileuri={address}"
        return urljoin(f"{self._host}/", value)

    async def _headers(self, url: str) -> list[tuple[str, str]]:
        """Who asks; only Label Studio is told."""
        if not self._token or self._urls.allowed.check(url) != self._urls.allowed.check(self._host):
            return []
        if not self._token.startswith(PERSONAL):
            return [("Authorization", f"Token {self._token}")]
        if monotonic() > self._until:
            self._access, self._until = await self._refreshed(), monotonic() + REFRESHED_S
        return [("Authorization", f"Bearer {self._access}")]

    async def _refreshed(self) -> str:
        try:
            async with httpx.AsyncClient(base_url=self._host) as client:
                answer = await client.post("/api/token/refresh", json={"refresh": self._token})
            return str(answer.raise_for_status().json()["access"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            raise Problem(
                502, "Label Studio does not take the token of SEG_LABEL_STUDIO_TOKEN_FILE"
            ) from None


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"SEG_LABEL_STUDIO_TOKEN_FILE cannot be read: {error}") from error
    if not token or len(token.split()) > 1:
        raise ConfigError("SEG_LABEL_STUDIO_TOKEN_FILE holds one token of Label Studio, in a line")
    return token


def _decoded(value: str) -> bytes:
    head, _, text = value.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Problem(422, "the image of the task is no data:...;base64,... address") from None
