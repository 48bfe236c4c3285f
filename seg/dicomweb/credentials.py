"""How an archive is told who asks: read from a file, never from a command line or an address.

The file is JSON with one or several of ``username`` and ``password`` (basic), ``token`` (bearer),
``certificate`` and ``key`` (paths of a client's certificate, PEM) and ``authorities`` (path of
those that the archive's certificate is checked by). Or it is one line, ``NAME:PASSWORD`` or
``Bearer TOKEN``; or itself the PEM file of a client's certificate and its key.
"""

import base64
import json
import ssl
from pathlib import Path

from pydantic import ConfigDict, ValidationError, model_validator

from seg.errors import ConfigError
from seg.frozen import FrozenData

PEM = "-----BEGIN "
FORMS = (
    'one line NAME:PASSWORD or "Bearer TOKEN", a PEM file of certificate and key, or JSON with '
    "username and password, token, certificate and key, authorities"
)


class Credentials(FrozenData):
    """Who asks; nothing of it is ever shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    username: str | None = None
    password: str | None = None
    token: str | None = None
    """Bearer."""
    certificate: Path | None = None
    """Of the client, PEM; with its key in the same file where ``key`` is not given."""
    key: Path | None = None
    authorities: Path | None = None
    """PEM file of those that are trusted in place of this machine's."""

    @model_validator(mode="after")
    def _is_one_way(self) -> "Credentials":
        if (self.username is None) != (self.password is None):
            raise ValueError("a username and a password belong together")
        if self.username is not None and self.token is not None:
            raise ValueError("a password and a token are two ways to say the same")
        if self.key is not None and self.certificate is None:
            raise ValueError("a key belongs to a certificate")
        return self

    def __repr__(self) -> str:
        """Without a secret."""
        return "Credentials(...)"

    __str__ = __repr__

    @classmethod
    def read(cls, path: Path) -> "Credentials":
        """What a file says.

        Raises:
            ConfigError: it cannot be read, or says none; the sentence repeats nothing of it.
        """
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the file of credentials {path} cannot be read ({type(error).__name__})"
            ) from None
        try:
            if text.startswith(PEM):
                return cls(certificate=path)
            if text.startswith("{"):
                found = cls.model_validate_json(text)
                return found.model_copy(update=_beside(path, found))
            kind, _, token = text.partition(" ")
            if kind.lower() == "bearer" and token.strip():
                return cls(token=token.strip())
            name, colon, password = text.partition(":")
            if colon and "\n" not in text:
                return cls(username=name, password=password)
        except (ValidationError, json.JSONDecodeError):
            pass
        raise ConfigError(f"the file {path} holds no credentials; it is {FORMS}")

    @property
    def header(self) -> str | None:
        """Value of ``Authorization``."""
        if self.token is not None:
            return f"Bearer {self.token}"
        if self.username is None:
            return None
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def tls(self) -> ssl.SSLContext:
        """What TLS trusts, and shows.

        Raises:
            ConfigError: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.authorities)
            if self.certificate is not None:
                # without a password: the library would ask the terminal for one
                context.load_cert_chain(self.certificate, self.key, lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                "the certificate, key or authorities of the credentials cannot be used "
                f"({type(error).__name__}); PEM files without a password are needed"
            ) from None
        return context


def _beside(path: Path, found: Credentials) -> dict[str, Path]:
    """Relative paths count from the file that names them."""
    names = ("certificate", "key", "authorities")
    return {name: path.parent / each for name in names if (each := getattr(found, name))}
