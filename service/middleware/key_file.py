"""Keys and their scopes, read from a file again when it changes."""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, get_args

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from seg.errors import ConfigError
from seg.files import replace_file

Scope = Literal["segment", "jobs", "metrics", "annotate", "train", "promote", "admin"]
"""What a key may do: ask for masks and models, order jobs, read metrics, draw in the studio, train
on what is drawn, let a trained model answer, or all of these."""


SCOPES: tuple[Scope, ...] = get_args(Scope)


TOKEN = re.compile(r"seg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


LOCKED_S = 60.0
"""Seconds that a command waits for others which change the file."""


OTHERS_MAY = stat.S_IRWXO | stat.S_IWGRP
"""What a file of keys must not allow."""


class Key(BaseModel):
    """A key as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    salt: str
    sha256: str
    scopes: tuple[Scope, ...]
    per_minute: Annotated[int, Field(ge=1)] | None = None
    """Most requests a minute; None leaves it to the service."""
    created: str
    expires: AwareDatetime | None = None
    """When it ends by itself."""
    owner: str | None = None
    """Id of the key that it replaces, or of the first of a row of them: whose jobs it sees."""

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and datetime.now(UTC) >= self.expires

    def allows(self, scope: Scope) -> bool:
        """Whether the key has that scope."""
        return scope in self.scopes or "admin" in self.scopes


_KEYS = TypeAdapter(tuple[Key, ...])


def new_key(
    name: str,
    scopes: Sequence[Scope],
    per_minute: int | None = None,
    *,
    expires: datetime | None = None,
    owner: str | None = None,
) -> tuple[Key, str]:
    """A key and its token, which is kept nowhere."""
    identity, salt, secret = secrets.token_hex(6), secrets.token_hex(16), secrets.token_urlsafe(32)
    key = Key(
        id=identity,
        name=name,
        salt=salt,
        sha256=_hash(salt, secret),
        scopes=tuple(scopes),
        per_minute=per_minute,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        expires=expires,
        owner=owner,
    )
    return key, f"seg_{identity}_{secret}"


class KeyFile:
    """Keys of a file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def key_of(self, token: str) -> Key | None:
        """The key that a token belongs to.

        Raises:
            ConfigError: the file cannot be read, or others may read it.
        """
        self._refresh()
        match = TOKEN.fullmatch(token)
        if not match:
            return None
        key = self._keys.get(match[1])
        # An unknown id takes as long as a wrong secret.
        salt, expected = (key.salt, key.sha256) if key else ("", "0" * 64)
        agrees = hmac.compare_digest(_hash(salt, match[2]), expected)
        return key if agrees else None

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except OSError:
            self._keys, self._seen = {}, None
            return
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            self._keys = {key.id: key for key in read_keys(self._path)}
            self._seen = seen


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file; none where there is no file.

    Raises:
        ConfigError: it cannot be read, or others may read it.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & OTHERS_MAY:
            raise ConfigError(f"others may read or change {path}; run: chmod 600 {path}")
        return _KEYS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path} is no file of keys: python -m service.keys makes one") from error


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Nobody else changes the file between its reading and its writing.

    Raises:
        ConfigError: somebody else does and goes on for a minute, or the folder knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCKED_S, mode=0o600)
    try:
        lock.acquire()
    except (Timeout, NotImplementedError, OSError) as error:
        raise ConfigError(
            f"{path} cannot be locked ({type(error).__name__}); see that its folder can be "
            "written and that no other command works on it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Write keys, whole, into a file that only its owner may read."""
    # Without what is not set, so that a service of before can read the file.
    plain = [key.model_dump(mode="json", exclude_none=True) for key in keys]
    content = json.dumps(plain, indent=2).encode()
    replace_file(path, content + b"\n", mode=0o600)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
