"""Instants on their way to and from PostgreSQL.

The driver makes a `datetime` of a timestamptz by adding up a `timedelta`, and the other way round: 1.5 us each. Rows
that are read or written together mostly have a few instants in common (a batch has one), so the last ones are
remembered: 0.5 us each. An instant without a time zone is refused, where the driver would take it for UTC.
"""

from datetime import UTC, datetime, timedelta

import asyncpg

KEPT_MAX = 4_096
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Decoded(dict[tuple[int], datetime]):
    """From microseconds since 2000, as the wire has them."""

    def __missing__(self, sent: tuple[int]) -> datetime:
        if len(self) >= KEPT_MAX:
            self.clear()
        instant = self[sent] = _EPOCH + timedelta(microseconds=sent[0])
        return instant


class _Encoded(dict[datetime, tuple[int]]):
    """To microseconds since 2000."""

    def __missing__(self, instant: datetime) -> tuple[int]:
        if not isinstance(instant, datetime) or instant.tzinfo is None:
            raise ValueError(f"expected a datetime with a time zone, not {instant!r}")
        if len(self) >= KEPT_MAX:
            self.clear()
        sent = self[instant] = ((instant - _EPOCH) // _MICROSECOND,)
        return sent


_decode = _Decoded().__getitem__
_encode = _Encoded().__getitem__


async def remember_instants(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Has a new connection read and write timestamptz by what is remembered; one round trip."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_encode, decoder=_decode, format="tuple"
    )
