"""The load itself: keep-alive connections to one server and one loop over epoll, cheap enough to share a machine.

Two ways to send. A closed loop has every connection send its next request when it has the reply to the last: it finds
the throughput. An open loop sends at a constant rate whatever the server does, and counts each latency from the moment
at which the request was meant to be sent: a stall shows up in every request that it delayed, also in those that had to
wait for a free connection. What is sent and how a reply is judged is a `Work`; nothing here knows a route.

Linux only. Runs in a process of its own (`bench.generator`): it blocks.
"""

import select
import time
from collections import Counter, deque
from typing import Protocol

import msgspec

from amana.bench.connection import Connection, LoadFailed

CONNECTIONS_MAX = 1_024
STALL_S = 15.0
"""No reply at all for so long while some are due ends a run: a server that hangs is an error, not a figure."""
DRAIN_S = 30.0
"""How long an open loop may go on after its last intended moment before it gives up what is still queued."""
READABLE = select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP


class Work(Protocol):
    """What is sent. `items` is how many of whatever is counted one request carries."""

    items: int

    def request(self) -> bytes:
        """The next request, head and body."""

    def judge(self, status: int, body: bytes, refused: Counter[str]) -> int:
        """How many items of a reply succeeded; each of the others is counted in `refused` by its cause."""


class Latency(msgspec.Struct, frozen=True):
    """Of the requests after warming up, in milliseconds; by nearest rank."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class Result(msgspec.Struct, frozen=True):
    """What came of one run. `per_second` are the accepted items of the `seconds` after warming up; of a request that is
    only partly within them its part by time is counted, since whole lists of thousands would be a coarse measure.

    `accepted` and `refused` count the whole run; `unsure` are the items of replies with a status of 500 or above, of
    which nobody can say here what came of them. `unsent` requests of an open loop found no free connection before the
    run had to end; the time that they had waited by then is in the latencies. Of checks, `sources` says where the good
    replies came from, and `samples` are a few of them, whole.
    """

    per_second: float
    seconds: float
    requests: int
    accepted: int
    unsure: int
    unsent: int
    refused: dict[str, int]
    latency: Latency
    cpu_us_per_request: float
    """What the generator itself took of the machine."""
    sources: dict[str, int] = {}
    samples: list[str] = []


class Load:
    """One run: make it, call `closed` or `open` once, `close`."""

    def __init__(self, work: Work, host: str, port: int, connections: int) -> None:
        assert 1 <= connections <= CONNECTIONS_MAX
        self._work = work
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        for _ in range(connections):
            connection = Connection(host, port, self._poll)
            self._connections[connection.fd] = connection
        self._latencies: list[float] = []
        self._refused: Counter[str] = Counter()
        self._window = (0.0, 0.0)
        self._requests = self._accepted = self._unsure = self._unsent = 0
        self._in_window = 0.0
        self._busy = 0
        self._heard = 0.0

    @property
    def accepted(self) -> int:
        """Items accepted so far."""
        return self._accepted

    def close(self) -> None:
        """Closes every connection."""
        for connection in self._connections.values():
            connection.close()
        self._poll.close()

    def closed(self, warm_s: float, seconds: float, items_max: int = 0) -> Result:
        """Each connection sends again as soon as it has its reply, until the time is over or `items_max` were sent."""
        begun = time.perf_counter()
        cpu_s = time.process_time()
        self._window = (begun + warm_s, begun + warm_s + seconds)
        requests_max = -(-items_max // self._work.items) if items_max else 1 << 62
        for connection in list(self._connections.values())[:requests_max]:
            self._send(connection, begun)
        while self._busy:
            free, now = self._replies(STALL_S)
            if now < self._window[1]:
                for connection in free:
                    if self._requests < requests_max:
                        self._send(connection, now)
        return self._result(min(time.perf_counter(), self._window[1]), time.process_time() - cpu_s)

    def open(self, rate: float, warm_s: float, seconds: float) -> Result:
        """Sends `rate` requests a second, each as soon after its intended moment as a connection is free."""
        begun = time.perf_counter()
        cpu_s = time.process_time()
        self._window = (begun + warm_s, begun + warm_s + seconds)
        total, issued = int(rate * (warm_s + seconds)), 0
        waiting: deque[float] = deque()
        free = list(self._connections.values())
        while issued < total or waiting or self._busy:
            now = time.perf_counter()
            while issued < total and (moment := begun + issued / rate) <= now:
                waiting.append(moment)
                issued += 1
            if waiting and now > self._window[1] + DRAIN_S:
                self._give_up(waiting, now)
            while waiting and free:
                self._send(free.pop(), waiting.popleft())
            pause_s = begun + issued / rate - now if issued < total else STALL_S
            free += self._replies(pause_s)[0]
        return self._result(self._window[1], time.process_time() - cpu_s)

    def _give_up(self, waiting: deque[float], now: float) -> None:
        self._unsent += len(waiting)
        self._latencies += [now - moment for moment in waiting if moment >= self._window[0]]
        waiting.clear()

    def _send(self, connection: Connection, intended: float) -> None:
        if not self._busy:
            self._heard = time.perf_counter()
        self._busy += 1
        self._requests += 1
        connection.intended = intended
        connection.send(self._work.request())

    def _replies(self, pause_s: float) -> tuple[list[Connection], float]:
        """Waits at most `pause_s` for events; the connections whose reply is complete, and the time at which it is."""
        events = self._poll.poll(pause_s)
        now = time.perf_counter()
        free = []
        for fd, mask in events:
            connection = self._connections[fd]
            if mask & select.EPOLLOUT:
                connection.write_on()
            if mask & READABLE and (reply := connection.read()) is not None:
                self._count(connection.intended, *reply, now)
                free.append(connection)
        if free:
            self._heard = now
        elif self._busy and now - self._heard > STALL_S:
            raise LoadFailed(f"{self._busy} requests had no reply and none came for {STALL_S:g} s")
        return free, now

    def _count(self, intended: float, status: int, body: bytes, now: float) -> None:
        accepted = self._work.judge(status, body, self._refused)
        self._busy -= 1
        self._accepted += accepted
        if status >= 500:
            self._unsure += self._work.items
        begins, ends = self._window
        shared = min(now, ends) - max(intended, begins)
        if shared > 0:
            self._in_window += accepted * shared / (now - intended)
        if intended >= begins:
            self._latencies.append(now - intended)

    def _result(self, ended: float, cpu_s: float) -> Result:
        seconds = ended - self._window[0]
        return Result(
            per_second=self._in_window / seconds if seconds > 0 else 0.0,
            seconds=round(seconds, 3),
            requests=self._requests,
            accepted=self._accepted,
            unsure=self._unsure,
            unsent=self._unsent,
            refused=dict(self._refused),
            latency=latency_of(self._latencies),
            cpu_us_per_request=round(cpu_s * 1e6 / max(1, self._requests), 1),
        )


def latency_of(latencies_s: list[float]) -> Latency:
    """The percentiles by nearest rank; zeros when there was no request."""
    ordered = sorted(latencies_s) or [0.0]

    def rank(permille: int) -> float:
        return round(ordered[max(0, -(-len(ordered) * permille // 1000) - 1)] * 1000, 3)

    return Latency(p50_ms=rank(500), p99_ms=rank(990), p999_ms=rank(999), max_ms=rank(1000))
