"""The edge that every service shares: what happens to a request before and after its handler.

In order: request id, trace and clock (`frame`); the route, or 404 or 405; key, scope and tenant, quota, Accept and
query (`guard`, `quota`); size, media type and strict decoding of the body (`request`, `strict`); the handler; and,
whatever went wrong on the way, a problem response (`errors`). Nothing of a body is read before its sender is known,
but for the small bodies of hot routes, which take a short way through all of this (`hot`).
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from amana.gateway.docs import openapi_config, package_version
from amana.gateway.errors import answer
from amana.gateway.frame import Frame
from amana.gateway.guard import Guard, provide_caller
from amana.gateway.health import health_routes
from amana.gateway.hot import lanes_of
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.request import EdgeRequest
from amana.gateway.rules import attach_rules
from amana.gateway.strict import BODY_MAX_BYTES
from amana.infra.lanes import Lane
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.telemetry import BUILD_INFO

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[Any]]


class Application(Litestar):
    """A service's application. `lanes` are the short ways to its hot routes, by path; the server looks for them."""

    lanes: Mapping[bytes, Lane]


def build_app(
    *,
    service: str,
    routes: Sequence[ControllerRouterHandler],
    keys: KeyRing,
    quotas: Quotas | None = None,
    lifespan: Sequence[Lifespan] = (),
    ready: Callable[[], bool] = lambda: True,
    body_max_bytes: int = BODY_MAX_BYTES,
    body_max_by_path: Mapping[str, int] | None = None,
) -> Application:
    """The service's ASGI application. Without `quotas` those of the keys hold in this process alone.

    Every handler declares `opt={"scope": "loans:write"}`, or a tuple: any of them; one that does not is a bug and
    fails here. It declares its query parameters (others are refused) and its body as `data`, and may ask for `caller:
    Caller`. With `opt={"hot": begin}` too (see `rules.Begin`) its route has a lane; the handler awaits the same
    `begin`, after the `at_once` that it may declare beside it. `body_max_by_path` is by route template, as declared:
    `/v1/transfers`. The key ring's pool is opened and closed with the application; should the database be away at
    start, the first request tries again.
    """
    quotas = quotas or Quotas(None, service=service)
    app = Application(
        route_handlers=[*routes, *health_routes(ready)],
        dependencies={"caller": Provide(provide_caller, sync_to_thread=False)},
        guards=[Guard(keys, quotas)],
        request_class=EdgeRequest,
        request_max_body_size=None,
        exception_handlers={HTTPException: answer, Exception: answer},
        lifespan=[_opened(keys, quotas), *lifespan],
        openapi_config=openapi_config(service),
        logging_config=None,
        debug=False,
    )
    attach_rules(app, body_max_bytes, body_max_by_path or {})
    BUILD_INFO.labels(service, package_version()).set(1)
    app.asgi_handler = Frame(app.asgi_handler)
    app.lanes = lanes_of(app, keys, quotas)
    return app


def _opened(keys: KeyRing, quotas: Quotas) -> Lifespan:
    @asynccontextmanager
    async def opened(_app: Litestar) -> AsyncIterator[None]:
        with suppress(DatabaseUnavailable):
            await keys.store.open()
        try:
            yield
        finally:
            await quotas.close()
            await keys.store.close()

    return opened
