"""A small lender's platform over real HTTP, kept in dictionaries: it remembers what it was sent and in which order.

It holds the player to the rules of the real one: one id, one effect; one customer's requests never overlap.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from time import sleep
from typing import Any, TypeAlias
from uuid import UUID

from amana.domain.ids import derived_id
from amana.tape.client import Urls

Json: TypeAlias = dict[str, Any]
Decide: TypeAlias = Callable[[Json], Json]
Trouble: TypeAlias = Callable[[str, str, Json], tuple[int, Json, dict[str, str]] | None]


def approve(check: Json) -> Json:
    """Approves whatever is asked for, at the price that was asked for."""
    terms = check.get("terms") or {"fee": 0, "term_days": 14}
    return {"outcome": "approve", "reasons": [], "price": {"principal": check["amount"], "rate_bps": 0, **terms}}


def decline(check: Json) -> Json:
    """Declines whatever is asked for."""
    return {"outcome": "decline", "reasons": [{"code": "score_too_low", "text": "..."}], "price": None}


def no_trouble(method: str, path: str, body: Json) -> None:
    """Every request is answered."""


HANDLING_S = 0.001
"""How long a request is in hand, so that requests which may overlap do."""


class Platform:
    """What was asked of it: `log` holds (method, path, body) of each first effect, in order."""

    def __init__(self, decide: Decide, trouble: Trouble) -> None:
        self.decide = decide
        self.trouble = trouble
        self.log: list[tuple[str, str, Json]] = []
        self.replayed = 0
        self.attempts: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.loans: dict[str, Json] = {}
        self.in_flight: Counter[str] = Counter()
        self.overlapped = False
        self.busiest = 0
        self._lock = Lock()
        self._answers: dict[str, tuple[int, Json, Json]] = {}
        self._customers: dict[str, str] = {}

    def bodies(self, suffix: str) -> list[Json]:
        """The bodies of the first effects whose path ends so, in order."""
        return [body for _, path, body in self.log if path.endswith(suffix)]

    def answer(self, method: str, path: str, body: Json, key: str) -> tuple[int, Json, dict[str, str]]:
        """One request, once for each id."""
        who = self._who(path, body)
        with self._lock:
            self.keys.add(key)
            self.in_flight[who] += 1
            self.overlapped |= self.in_flight[who] > 1
            self.busiest = max(self.busiest, sum(self.in_flight.values()))
        sleep(HANDLING_S)
        try:
            return self._answer(method, path, body)
        finally:
            with self._lock:
                self.in_flight[who] -= 1

    def _answer(self, method: str, path: str, body: Json) -> tuple[int, Json, dict[str, str]]:
        id_ = body.get("id", path)
        with self._lock:
            self.attempts[id_] += 1
            if id_ in self._answers:
                status, answer, first = self._answers[id_]
                assert first == body, f"one id, two meanings: {first} {body}"
                self.replayed += 1
                return status, answer, {}
            trouble = self.trouble(method, path, body)
            if trouble is not None and trouble[0] == 503:
                return trouble
            status, answer = (trouble[0], trouble[1]) if trouble else (200, self._effect(path, body))
            self._answers[id_] = (status, answer, body)
            self.log.append((method, path, body))
            return status, answer, {}

    def _effect(self, path: str, body: Json) -> Json:
        if path.endswith("/checks"):
            return {"decision_id": str(derived_id(UUID(body["id"]), "decision")), **self.decide(body)}
        if path == "/v1/loans":
            self.loans[body["id"]] = body | {"owed": self._due(body), "paid": {}}
        if path.endswith("/repayments"):
            loan = self.loans[path.split("/")[3]]
            loan["paid"][body["id"]] = min(body["amount"], loan["owed"])
            loan["owed"] -= loan["paid"][body["id"]]
            return {"loan_outstanding": loan["owed"]}
        if path.endswith("/reversals"):
            loan = self.loans[path.split("/")[3]]
            loan["owed"] += loan["paid"].pop(path.split("/")[5])
            return {"loan_outstanding": loan["owed"]}
        return {}

    def _due(self, booking: Json) -> int:
        if booking["imported"]:
            return int(booking["imported"]["principal"] + booking["imported"]["fee"])
        decided = {str(derived_id(UUID(each["id"]), "decision")): each for each in self.bodies("/checks")}
        price = self.decide(decided[booking["offer_id"]])["price"]
        return int(price["principal"] + price["fee"])

    def _who(self, path: str, body: Json) -> str:
        """The bucket that every id of one customer shares: near enough to the customer for a small book."""
        found = re.search(r"[0-9a-f-]{36}", path)
        id_ = found[0] if found else body["id"]
        return str(id_)[-3:]


class Server(ThreadingHTTPServer):
    """As many may knock at once as a player has requests in flight: one who is turned away waits for his time-out."""

    request_queue_size = 128
    daemon_threads = True


@contextmanager
def serving(decide: Decide = approve, trouble: Trouble = no_trouble) -> Iterator[tuple[Platform, Urls]]:
    """The platform on a port of its own, both services at one address."""
    platform = Platform(decide, trouble)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers.get_all("Content-Type") == ["application/json"]
            status, answer, headers = platform.answer(self.command, self.path, body, self.headers["Authorization"])
            encoded = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(encoded))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(encoded)

        do_PUT = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        yield platform, Urls(eligibility=address, transactions=address)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
