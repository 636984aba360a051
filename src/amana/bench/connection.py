"""One keep-alive connection of the load generator: bytes out, whole replies in, no more of HTTP than that needs."""

import select
import socket

from amana.infra.embedded.process import ServerError

CONNECT_TIMEOUT_S = 5.0
RECEIVE_BYTES = 256 * 1024
HEAD_BYTES_MAX = 32 * 1024
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class LoadFailed(ServerError):
    """The run can't go on or gives no figure. The message is for the person at the keyboard."""


class Connection:
    """A socket that never blocks, and what is on its way in either direction."""

    __slots__ = ("_missing", "_poll", "_received", "_socket", "_unwritten", "fd", "intended")

    def __init__(self, host: str, port: int, poll: select.epoll) -> None:
        try:
            self._socket = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
        except OSError as error:
            raise LoadFailed(f"no connection to {host}:{port}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self.fd = self._socket.fileno()
        self.intended = 0.0
        """When the request that is out was meant to be sent."""
        self._poll = poll
        self._poll.register(self.fd, select.EPOLLIN)
        self._received = b""
        self._missing = 0
        self._unwritten = memoryview(b"")

    def close(self) -> None:
        """Closes it."""
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Writes what the kernel takes now; the poll says when `write_on` can go on with the rest."""
        sent = self._write(request)
        if sent < len(request):
            self._unwritten = memoryview(request)[sent:]
            self._poll.modify(self.fd, select.EPOLLIN | select.EPOLLOUT)

    def write_on(self) -> None:
        """Writes more of a long request."""
        self._unwritten = self._unwritten[self._write(self._unwritten) :]
        if not self._unwritten:
            self._poll.modify(self.fd, select.EPOLLIN)

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LoadFailed(f"the server closed a connection: {error.strerror}") from error

    def read(self) -> tuple[int, bytes] | None:
        """Takes what came. Status and body once the reply is whole, until then None."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise LoadFailed(f"the server broke a connection: {error.strerror}") from error
        if not data:
            raise LoadFailed("the server closed a connection")
        if self._received:
            self._missing -= len(data)
            data = self._received = self._received + data
            if self._missing > 0:
                return None
        end = data.find(HEAD_END)
        missing = end + 4 + content_length(data, end) - len(data) if end >= 0 else 1
        if missing > 0:
            if end < 0 and len(data) > HEAD_BYTES_MAX:
                raise LoadFailed(f"a reply whose head has no end: {data[:80]!r}")
            self._received, self._missing = data, missing
            return None
        self._received = b""
        status = int(data[9:12])
        if self._unwritten:
            raise LoadFailed(f"the server answered {status} before it had the whole request")
        return status, data[end + 4 :]


def content_length(data: bytes, end: int) -> int:
    """What the head `data[:end]` says of its body. A reply without a length raises `LoadFailed`."""
    at = data.find(LENGTH, 0, end)
    if at < 0:  # a server that does not write its headers in lower case
        at = data[:end].lower().find(LENGTH)
    if at < 0:
        raise LoadFailed(f"a reply without a length: {data[:end]!r}")
    stop = data.find(b"\r", at)
    return int(data[at + len(LENGTH) : stop])
