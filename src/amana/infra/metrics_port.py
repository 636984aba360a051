"""The metrics of one process at a port of its own: where several share the service's, `/metrics` there is anybody's."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server


@contextmanager
def metrics_shown(host: str, port: int) -> Iterator[None]:
    """Shows them while the block runs, in a thread; with port 0 nowhere. Raises `OSError` for a port that is taken."""
    if not port:
        yield
        return
    server, thread = start_http_server(port, host)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
