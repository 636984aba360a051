"""Makes notification requests from events, each once: the request and the consumer's progress are one transaction.

While the broker is away nothing is made, and nobody but a borrower who waits for a message notices; afterwards every
event is there once.
"""

from collections.abc import Sequence

from amana.gateway.source import Source, url_of
from amana.infra.consuming.runtime import Runtime
from amana.infra.consuming.taking import Taker
from amana.infra.http import HttpClient
from amana.infra.kafka import Brokers
from amana.infra.postgres import Connection, Pool
from amana.infra.publisher import topic_of
from amana.infra.settings import Settings
from amana.notifications import store
from amana.notifications.events import Told, read_event

NAME = "notifications"
STREAMS = ("eligibility", "transactions")


async def make_requests(connection: Connection, told: Sequence[Told]) -> None:
    """The handler: the requests of a batch, by one statement."""
    await store.insert(connection, told)


def make_taker(pool: Pool) -> Taker:
    """What takes events for this consumer."""
    return Taker(NAME, pool, read_event, make_requests)


def make_runtime(settings: Settings, pool: Pool, client: HttpClient) -> Runtime:
    """The consumer of the settings."""
    sources = [Source(stream, url_of(settings, stream), settings.internal_key, client) for stream in STREAMS]
    return Runtime(make_taker(pool), Brokers.of(settings), [topic_of(stream) for stream in STREAMS], sources)
