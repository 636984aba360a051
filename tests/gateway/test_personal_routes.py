"""Every route that gives something says whether that is data of customers, whose reading is recorded."""

from collections.abc import Iterator, Sequence

from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from amana.audit.http import ROUTES as AUDIT
from amana.audit.metrics.http import ROUTES as METRICS
from amana.audit.tile_routes import TILE_ROUTES as TILES
from amana.eligibility.http import ROUTES as ELIGIBILITY
from amana.notifications.http import ROUTES as NOTIFICATIONS
from amana.transactions.http import ROUTES as TRANSACTIONS

NOT_PERSONAL = {
    "/v1/events": "pseudonymous events, for other services; not for lenders",
    "/v1/events/end": "positions",
    "/v1/consumers": "positions",
    "/v1/held-customers": "pseudonymous ids, for other services; not for lenders",
    "/v1/dead-letters": "events that could not be handled, for who runs the platform",
    "/v1/policies/{product:str}": "a lender's rules",
    "/v1/policies/{product:str}/versions": "a lender's rules",
    "/v1/policies/{product:str}/versions/{version:int}": "a lender's rules",
    "/v1/policies/schema": "the shape of a lender's rules",
    "/v1/trial-balance": "sums over all accounts",
}
"""The others, and what they give."""


def given(routes: Sequence[ControllerRouterHandler]) -> Iterator[tuple[str, bool]]:
    """The path of each GET route, and whether it is declared to show data of customers."""
    for route in routes:
        if isinstance(route, HTTPRouteHandler) and "GET" in route.http_methods:
            for path in route.paths:
                yield path, route.opt.get("personal", False)


def test_a_route_that_gives_something_is_declared_or_named_here_with_what_it_gives() -> None:
    declared = [*given(ELIGIBILITY), *given(TRANSACTIONS), *given(NOTIFICATIONS)]
    assert {path for path, personal in declared if not personal} <= NOT_PERSONAL.keys()
    assert not {path for path, personal in declared if personal} & NOT_PERSONAL.keys()
    assert sum(personal for _, personal in declared) >= 18


def test_the_audit_services_routes_are_recorded_as_reads_of_the_log() -> None:
    assert not any(personal for _, personal in (*given(AUDIT), *given(TILES), *given(METRICS)))
