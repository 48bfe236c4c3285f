"""Who asks, as a key or a token of an identity provider says it."""

from dataclasses import dataclass

from starlette.requests import Request as Connection
from starlette.types import Scope as Request

from service.middleware.key_file import Key, Scope

CALLER = "caller"
"""In a request's state: the `Caller`; nothing where nobody was asked who they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who may do what."""

    owner: str
    """Whose jobs it sees; outlasts a change of the key."""
    credential: str
    """Id of the key, or a pseudonym of the provider's subject: for logs."""
    name: str
    """As the operator wrote it, or the provider's subject: for the audit log alone."""
    scopes: tuple[Scope, ...]
    per_minute: int | None = None
    """Most requests a minute; None leaves it to the service."""

    @classmethod
    def of_key(cls, key: Key) -> "Caller":
        """The holder of a key."""
        return cls(
            owner=key.owner or key.id,
            credential=key.id,
            name=key.name,
            scopes=key.scopes,
            per_minute=key.per_minute,
        )

    def allows(self, scope: Scope) -> bool:
        """Whether it has that scope."""
        return scope in self.scopes or "admin" in self.scopes


def name_of(request: Connection) -> str:
    """The name of whoever asks, for what people draw; nothing where nobody was asked."""
    caller = caller_of(request.scope)
    return caller.name if caller else ""


def caller_of(request: Request) -> Caller | None:
    """Who asks; None where nobody was asked."""
    caller = request.get("state", {}).get(CALLER)
    return caller if isinstance(caller, Caller) else None


def may(request: Request, scope: Scope) -> bool:
    """Whether who asks may do what takes a scope; everybody may where nobody was asked."""
    caller = caller_of(request)
    return caller is None or caller.allows(scope)
