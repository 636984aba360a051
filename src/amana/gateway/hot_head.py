"""What follows from the head of a hot request: whether it rides, whose key it claims, what it says of itself."""

import re

from amana.gateway.caller import TENANT_HEADER
from amana.gateway.frame import Sent, sent_in
from amana.gateway.guard import timeout_in
from amana.gateway.keyring import claim_of
from amana.gateway.keys import Claim, StoredKey
from amana.gateway.request import IDEMPOTENCY_HEADER
from amana.infra import deadline
from amana.infra.lanes import HotHead

_ACCEPTED = frozenset({b"", b"*/*", b"application/json"})
_JSON = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
_UNUSUAL = frozenset(name.lower().encode() for name in (TENANT_HEADER, IDEMPOTENCY_HEADER))
_TIMEOUT = deadline.HEADER.lower().encode()
_HOST = re.compile(rb"[0-9A-Za-z.:\[\]-]*")


class Known:
    """What follows from a head. Without a `claim` it does not ride; `timeout` is well spelled, or empty. That `stored`
    is proved holds until `until_s`. `is_told`: it says something of itself, or what succeeds is logged."""

    __slots__ = ("claim", "is_told", "sent", "stored", "timeout", "until_s")

    stored: StoredKey
    is_told: bool

    def __init__(self, claim: Claim | None, sent: Sent, timeout: str) -> None:
        self.claim = claim
        self.sent = sent
        self.timeout = timeout
        self.until_s = float("-inf")


def known_of(head: HotHead) -> Known:
    """Works it out, and keeps it with the head."""
    timeout = head.headers.get(_TIMEOUT, b"").decode("latin-1")
    plain = _is_plain(head.headers) and (timeout_in(timeout) is not None or _TIMEOUT not in head.headers)
    claim = claim_of(head.headers.get(b"authorization", b"").decode("latin-1")) if plain else None
    head.known = known = Known(claim, sent_in(head.headers), timeout)
    return known


def _is_plain(headers: dict[bytes, bytes]) -> bool:
    """Whether no header asks for more than the common good request does."""
    return (
        headers.get(b"content-type") in _JSON
        and headers.get(b"accept", b"") in _ACCEPTED
        and _UNUSUAL.isdisjoint(headers)
        and _HOST.fullmatch(headers.get(b"host", b"")) is not None
    )
