"""Who is calling: what a handler gets to know about the other side."""

from collections.abc import Mapping
from typing import Any

import msgspec

INTERNAL = "internal"
"""The scope of service-to-service keys."""
TENANT_HEADER = "Amana-Tenant"
"""Only they may name a tenant, with this."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticated client of one request.

    `tenant` is the key's own, or the one that an internal key named. `trace` is a W3C trace id (32 hex digits).
    Handlers receive it as the parameter `caller: Caller`; events name its `key_id` as the actor.
    """

    tenant: int
    key_id: str
    scopes: frozenset[str]
    trace: str
    request_id: str

    def may(self, scope: str) -> bool:
        """Whether the key carries `scope`; for what depends on the body, beyond the route's own scope."""
        return scope in self.scopes


class Visit(msgspec.Struct):
    """One request on its way through the edge: what the layers learn and the access log tells. Not for handlers."""

    request_id: str
    trace_id: str
    caller: Caller | None = None
    left: bool = False
    """The client closed the connection before it had sent everything."""


def visit_of(scope: Mapping[str, Any]) -> Visit:
    """The visit that the edge attached to an ASGI scope."""
    visit: Visit = scope["amana.visit"]
    return visit
