"""Liveness, readiness and metrics: open on every service, and no test of what services share.

Readiness tells of this process alone. A database that is away would take every replica out at once if readiness asked
for it, and then nothing at all would be answered.
"""

from collections.abc import Callable, Sequence
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from amana.infra.http_server import is_draining
from amana.infra.telemetry import METRICS_MEDIA_TYPE, render_metrics


def health_routes(ready: Callable[[], bool]) -> Sequence[HTTPRouteHandler]:
    """`/livez`, `/readyz` and `/metrics`; not ready while `ready` says no, nor from SIGTERM on."""

    @get("/livez", include_in_schema=False, sync_to_thread=False)
    def livez() -> dict[str, str]:
        return {"status": "live"}

    @get("/readyz", include_in_schema=False, sync_to_thread=False)
    def readyz(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
        if is_draining(request.scope):
            return Response({"status": "draining"}, status_code=503)
        if ready():
            return Response({"status": "ready"})
        return Response({"status": "not_ready"}, status_code=503)

    @get("/metrics", include_in_schema=False, sync_to_thread=False)
    def metrics() -> Response[bytes]:
        return Response(render_metrics(), headers={"content-type": METRICS_MEDIA_TYPE})

    return livez, readyz, metrics
