"""The routes of the transactions service: decode, ask the flow or the reads, encode."""

from collections.abc import Sequence

from litestar.types import ControllerRouterHandler

from amana.gateway.stream import get_stream_end, list_events
from amana.transactions.http import accounts, loan_reversals, loans, transfers

ROUTES: Sequence[ControllerRouterHandler] = (
    *accounts.ROUTES,
    *transfers.ROUTES,
    *loans.ROUTES,
    *loan_reversals.ROUTES,
    list_events,
    get_stream_end,
)
