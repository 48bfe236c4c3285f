"""Tokens of an OpenID Connect provider: JSON Web Tokens that its published keys signed.

The service is a resource server: people and programs get a token from the hospital's provider, by
whatever flow it has, and send it where a key would stand. Checked are signature, issuer, audience,
time and type (OpenID Connect Core 1.0, section 3.1.3.7; RFC 9068; RFC 8725 on what not to trust:
only asymmetric algorithms are taken, and no key that the token itself names).
"""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx
from anyio.to_thread import run_sync
from joserfc import jws, jwt
from joserfc.errors import (
    BadSignatureError,
    ExpiredTokenError,
    InvalidKeyCurveError,
    InvalidKeyTypeError,
    JoseError,
    MissingClaimError,
)
from joserfc.jwk import Key, KeySet, import_key

from seg.errors import ConfigError
from service.hosting.listening import is_loopback
from service.middleware.caller import Caller
from service.middleware.key_file import SCOPES, Scope
from service.observability.logs import LOGGER
from service.settings import Settings

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519", "EdDSA"),
)
UNREADABLE = (JoseError, ValueError, TypeError)
"""What joserfc raises of a token that anybody may have written: ``"crit": 5`` is a TypeError."""
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""What ``typ`` may say, where it says anything: no logout tokens, no DPoP proofs."""
MOST_TRIED = 16
"""Keys that are tried for one token, which costs up to a millisecond each."""
LEEWAY_S = 30
"""By which clocks may differ."""
KEYS_S = 3600.0
"""Seconds after which the provider's keys are fetched anew."""
KEPT_S = 24 * 3600.0
"""Seconds for which they are good where the provider is away."""
PATIENCE_S = 30.0
"""Seconds between two fetches because of an unknown key: anybody may name one."""
RETRY_S = 5
"""Seconds after which a provider that was away is asked again, where there are no keys."""
FETCH_S = 5.0
LONGEST = 1 << 20
"""Bytes of a document of the provider."""
NAMESPACE = "seg:"
"""May stand before a scope where the provider's scopes are those of many services."""


class ProviderUnavailableError(Exception):
    """The provider's keys cannot be had now."""


class InvalidTokenError(Exception):
    """The token is not taken; the message says why, in a sentence."""


class IdentityTokens:
    """Reads tokens of one provider.

    Args:
        settings: name the provider, the audience, and where a token says what its holder may do.

    Raises:
        ConfigError: the settings do not go together.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.oidc_issuer is not None
        assert settings.oidc_audience is not None
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._claim = settings.oidc_claim.split(".")
        self._meaning = scopes_by_value(settings.oidc_scopes)
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    @staticmethod
    def is_token(text: str) -> bool:
        """Whether it looks like a signed token, and not like a key of ours."""
        return text.count(".") == 2 and not text.startswith("seg_")

    async def caller(self, token: str) -> Caller:
        """Who holds a token.

        Raises:
            InvalidTokenError: it is none, or not for this service now.
            ProviderUnavailableError: there are no keys to check it with.
        """
        try:
            decoded = verified(token, await self._usable_keys())
        except UNREADABLE:
            # Of a key that is new to us, perhaps: providers change theirs.
            try:
                decoded = verified(token, await self._usable_keys(is_unknown=True))
            except UNREADABLE as error:
                raise InvalidTokenError("no key of the identity provider signed it") from error
        if str(decoded.header.get("typ", "jwt")).lower() not in TYPES:
            raise InvalidTokenError("it is a token of another kind")
        try:
            self._claims.validate(decoded.claims)
        except ExpiredTokenError as error:
            raise InvalidTokenError("it has expired") from error
        except MissingClaimError as error:
            raise InvalidTokenError("it lacks iss, aud, sub or exp") from error
        except JoseError as error:
            raise InvalidTokenError(
                "it is of another issuer, for another audience, or not valid yet"
            ) from error
        return self._caller_of(decoded.claims)

    def _caller_of(self, claims: Mapping[str, Any]) -> Caller:
        subject = str(claims["sub"])
        if any(0xD800 <= ord(letter) < 0xE000 for letter in subject):
            raise InvalidTokenError("its sub is no text")
        pseudonym = hashlib.sha256(f"{self._issuer}\n{subject}".encode()).hexdigest()[:32]
        return Caller(
            owner=f"oidc-{pseudonym}",
            credential=f"oidc-{pseudonym[:12]}",
            name=subject,
            scopes=self._scopes_of(claims),
        )

    def _scopes_of(self, claims: Mapping[str, Any]) -> tuple[Scope, ...]:
        found: Any = claims
        for part in self._claim:
            found = found.get(part) if isinstance(found, Mapping) else None
        values = found.split() if isinstance(found, str) else found
        if not isinstance(values, list):
            return ()
        granted = {scope for value in values for scope in self._meaning.get(str(value), ())}
        return tuple(scope for scope in SCOPES if scope in granted)

    async def _usable_keys(self, *, is_unknown: bool = False) -> KeySet:
        """The provider's keys, fetched where there are none, they are old, or one is missing.

        Raises:
            ProviderUnavailableError: there are none, or none that are good still.
        """
        age = monotonic() - self._fetched
        is_due = age > KEYS_S and not self._lock.locked()  # others go on with those that we have
        if self._keys is None or age > KEPT_S or is_unknown or is_due:
            await self._fetch()
        if self._keys is None or monotonic() - self._fetched > KEPT_S:
            raise ProviderUnavailableError
        return self._keys

    async def _fetch(self) -> None:
        """Ask the provider, once for all who wait, and not again at once."""
        async with self._lock:
            is_good = self._keys is not None and monotonic() - self._fetched <= KEPT_S
            if monotonic() - self._tried < (PATIENCE_S if is_good else RETRY_S):
                return
            try:
                self._keys = await run_sync(fetched_keys, self._issuer)
                self._fetched = monotonic()
            except (httpx.HTTPError, OSError, ValueError, KeyError, JoseError) as error:
                reason = f"identity provider: {type(error).__name__}"
                LOGGER.error("keys", extra={"fields": {"reason": reason}})
            finally:
                self._tried = monotonic()


def verified(token: str, keys: KeySet) -> jwt.Token:
    """The token, which one of the keys signed.

    A provider may give several keys one id, and need give none to keys and tokens (RFC 7515, 4.1.4;
    RFC 7517, 4.5): all that fit are tried.

    Raises:
        JoseError: none of them signed it; or an error of ``UNREADABLE``.
    """
    header = jws.extract_compact(token.encode()).headers()
    for key in islice(_fitting(header, keys), MOST_TRIED):
        try:
            return jwt.decode(token, key, algorithms=ALGORITHMS)
        except (BadSignatureError, InvalidKeyTypeError, InvalidKeyCurveError):
            continue
    raise BadSignatureError


def _fitting(header: Mapping[str, Any], keys: KeySet) -> Iterator[Key]:
    """Those that may have signed it, by id, kind, algorithm and use, as far as they say so."""
    algorithm = str(header.get("alg"))
    for key in keys:
        if "kid" in header and key.kid != header["kid"]:
            continue
        try:
            key.check_alg(algorithm)
            key.check_use("sig")
            key.check_key_op("verify")
        except JoseError:
            continue
        if key.key_type in KeySet.algorithm_keys.get(algorithm, ()):
            yield key


def fetched_keys(issuer: str) -> KeySet:
    """The keys of a provider, by its discovery document (OpenID Connect Discovery 1.0).

    Raises:
        httpx.HTTPError: it does not answer.
        ValueError: what it answers is not what it should be.
    """
    with httpx.Client(timeout=FETCH_S, follow_redirects=False) as client:
        document = _json(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if document["issuer"] != issuer:
            raise ValueError("the discovery document is of another issuer")
        where = str(document["jwks_uri"])
        if not _is_safe(where):
            raise ValueError("jwks_uri is not https")
        found = _json(client, where)["keys"]
    if not isinstance(found, list):
        raise ValueError("keys are no list")
    return KeySet(list(_usable(found)))


def _usable(found: list[Any]) -> Iterator[Key]:
    """Those that may sign tokens; of kinds that nobody here knows none are (RFC 7517, 5)."""
    for each in found:
        if not isinstance(each, dict) or each.get("kty") == "oct" or each.get("use") == "enc":
            continue
        try:
            yield import_key(each)
        except (JoseError, ValueError, KeyError, TypeError):
            continue


def _json(client: httpx.Client, url: str) -> dict[str, Any]:
    end = monotonic() + 2 * FETCH_S
    with client.stream("GET", url) as response:
        response.raise_for_status()
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LONGEST or monotonic() > end:
                raise ValueError("too long a document, or too slow a one")
    found = httpx.Response(200, content=body).json()
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or host == "localhost" or is_loopback(host)


def scopes_by_value(text: str) -> dict[str, tuple[Scope, ...]]:
    """What values of the claim mean: ``radiology=segment+jobs,it=admin``; none, their names.

    Raises:
        ConfigError: an entry is none.
    """
    scopes_of: dict[str, tuple[Scope, ...]] = {
        prefix + scope: (scope,) for scope in SCOPES for prefix in ("", NAMESPACE)
    }
    if not text.strip():
        return scopes_of
    scopes_of.clear()  # whoever says what groups mean does not want a group called admin to be one
    for entry in text.split(","):
        value, equals, names = (part.strip() for part in entry.rpartition("="))
        scopes = tuple(scope for scope in SCOPES if scope in names.split("+"))
        if not value or not equals or set(names.split("+")) - set(SCOPES):
            raise ConfigError(
                f"SEG_OIDC_SCOPES has {entry.strip()[:60]!r}; an entry is VALUE=SCOPE+SCOPE with "
                f"scopes of {', '.join(SCOPES)}"
            )
        scopes_of[value] = scopes
    return scopes_of


def checked_identity(settings: Settings) -> None:
    """Whether what the settings say of a provider goes together, told before anything is started.

    Raises:
        ConfigError: it does not.
    """
    if settings.oidc_issuer is None:
        return
    if not settings.oidc_audience:
        raise ConfigError("SEG_OIDC_ISSUER needs SEG_OIDC_AUDIENCE: for whom tokens must be made")
    if not _is_safe(settings.oidc_issuer):
        raise ConfigError(
            f"SEG_OIDC_ISSUER={settings.oidc_issuer} is not https: whoever stands in between could "
            "name keys of their own"
        )
    scopes_by_value(settings.oidc_scopes)
