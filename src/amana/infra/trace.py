"""Trace context of the W3C: it comes in as `traceparent`, lives in a context variable while a request is answered, and
goes out on every call to another service. Apart from `telemetry`, so that a command can send it on without a logger.
"""

import re
from contextvars import ContextVar
from typing import NamedTuple

from amana.infra.clock import random_hex

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Trace(NamedTuple):
    """Where a request stands in its trace: lower-case hex ids of 16 and 8 bytes, and the flags byte."""

    trace_id: str
    span_id: str
    flags: str = "01"

    def header(self) -> str:
        """The value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_current: ContextVar[Trace | None] = ContextVar("amana_trace", default=None)


def parse_traceparent(header: str) -> Trace | None:
    """The trace in a `traceparent` header, or None when it is absent or not one (W3C Trace Context, 3.2)."""
    match = _TRACEPARENT.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Trace(trace_id, span_id, flags)


def next_span(parent: Trace | None) -> Trace:
    """A new span: below `parent`, or the first of a new trace."""
    if parent is None:
        return Trace(random_hex(32), random_hex(16))
    return Trace(parent.trace_id, random_hex(16), parent.flags)


def enter_trace(trace: Trace) -> None:
    """Makes `trace` the current one for what this task does from now on."""
    _current.set(trace)


def current_trace() -> Trace | None:
    """That of the request being answered, if one is."""
    return _current.get()


def current_trace_id() -> str:
    """The trace id of the request being answered (32 hex digits), or an empty string."""
    trace = _current.get()
    return trace.trace_id if trace else ""


def current_traceparent() -> str:
    """The `traceparent` header to send on: the current trace, a new span."""
    return next_span(_current.get()).header()
