"""Reads a request's body: bounded in size and time, of the one accepted media type, decoded strictly."""

import asyncio
from typing import Any, cast
from uuid import UUID

from litestar.connection import Request
from litestar.types import Empty, HTTPReceiveMessage

from amana.domain.reasons import Reason
from amana.gateway.caller import visit_of
from amana.gateway.rules import Rule, rule_of
from amana.gateway.strict import BodyError, decode_strict
from amana.infra import deadline
from amana.wire.problems import FieldError, Refused

BODY_TIMEOUT_S = 10.0
IDEMPOTENCY_HEADER = "Idempotency-Key"


class ClientLeft(Exception):
    """The connection closed before the body was whole. Nobody reads the answer."""


class EdgeRequest(Request[Any, Any, Any]):
    """Litestar asks it for `body` and `json` where a handler declares `data`."""

    async def body(self) -> bytes:
        """The whole body, empty only where the route lets it be. Raises `Refused`, `BodyError` or `ClientLeft`."""
        if self._body is Empty:
            rule = rule_of(self.route_handler)
            self._check_headers(rule)
            try:
                async with asyncio.timeout(deadline.within(BODY_TIMEOUT_S)):
                    self._body = await self._read(rule.body_max_bytes)
            except TimeoutError:
                raise Refused(Reason.REQUEST_TIMEOUT) from None
            if not self._body and not rule.body_optional:
                raise BodyError(Reason.MALFORMED_JSON, [FieldError("", "not_json", "The body is empty.")])
        assert isinstance(self._body, bytes)
        return self._body

    async def json(self) -> Any:
        """The body as the type that the handler declared."""
        if self._json is Empty:
            self._json = decode_strict(await self.body(), rule_of(self.route_handler).body)
            self._check_idempotency_key(self._json)
        return self._json

    def _check_headers(self, rule: Rule) -> None:
        length = self.headers.get("content-length", "0")
        if int(length) > rule.body_max_bytes:
            raise Refused(Reason.BODY_TOO_LARGE, f"At most {rule.body_max_bytes} bytes.")
        if self.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not accepted.")
        if rule.body_optional and length == "0" and "transfer-encoding" not in self.headers:
            return
        if not is_json(self.headers.getall("content-type", [])):
            raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE)

    async def _read(self, maximum: int) -> bytes:
        chunks = []
        size = 0
        more = True
        while more:
            event = cast(HTTPReceiveMessage, await self.receive())
            if event["type"] == "http.disconnect":
                visit_of(self.scope).left = True
                raise ClientLeft
            size += len(event["body"])
            if size > maximum:
                raise Refused(Reason.BODY_TOO_LARGE, f"At most {maximum} bytes.")
            chunks.append(event["body"])
            more = event["more_body"]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check_idempotency_key(self, body: object) -> None:
        """The body's id is the idempotency key; a header that says otherwise is a client's mistake."""
        sent = self.headers.getall(IDEMPOTENCY_HEADER, [])
        if not sent:
            return
        id_ = getattr(body, "id", None)
        if len(sent) != 1 or not isinstance(id_, UUID) or sent[0].strip().strip('"').lower() != str(id_):
            error = FieldError(IDEMPOTENCY_HEADER, "invalid", "Where sent, it must equal the body's id.")
            raise Refused(Reason.VALIDATION, errors=[error])


def is_json(content_types: list[str]) -> bool:
    """Whether the `Content-Type` headers say: JSON, in UTF-8."""
    if len(content_types) != 1:
        return False
    media, *parameters = (part.strip().lower() for part in content_types[0].split(";"))
    return media == "application/json" and all(p in ("", "charset=utf-8", 'charset="utf-8"') for p in parameters)
