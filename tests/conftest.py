"""Fixtures for every test: Hypothesis without surprises, and real servers, started only when a test asks for them.

`stack` (and `settings`, its settings) are migrated databases, a cache and a broker, shared by the whole run: a test
takes a tenant of its own. `platform` is a second stack with the four services running, for tests over HTTP. Their
PostgreSQL waits for no disk: crash tests and benches, which need one that does, see to it themselves. When they end,
every event that any test made the services write there is held to its declaration.

With AMANA_TEST_KAFKA_HOME naming a folder with Apache Kafka's jars, one is started in place of the embedded broker
(`make test-kafka`). With AMANA_TEST_DATABASE_URL (a role with CREATEDB and CREATEROLE), AMANA_TEST_REDIS_URL or
AMANA_TEST_KAFKA_BOOTSTRAP set, that server is used instead of the embedded one; databases made there are removed at the
end. With AMANA_TEST_LEDGER_SHARDS=8 services spread the ledger over eight shards.
"""

import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import xdist.scheduler
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from tests.declared import faults_in
from tests.kafka.server import ApacheKafka
from tests.processes import ended, how_processes_are

from amana.infra.databases import drop_database, with_database
from amana.infra.settings import Settings
from amana.operate.stack import Stack

EXAMPLES_MAX = 200

hypothesis_settings.register_profile(
    "amana",
    derandomize=True,
    max_examples=EXAMPLES_MAX,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("amana")

# The traceback that is drawn otherwise, with all local variables, takes seconds; tests plant many a bug.
_PLAIN = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])


TOGETHER = {
    "tests/e2e/": "platform",
    "tests/tape/test_replay_on_the_platform": "platform",
    "tests/chaos/test_kills": "kills",
    "tests/chaos/test_metrics_away": "metrics away",
    "tests/chaos/": "chaos",
    "tests/operate/replay/": "replay",
}
"""Beginnings of files whose tests share servers that are costly to run, also while nobody asks them anything."""

LONG = (
    "platform",
    "chaos",
    "replay",
    "tests/bench/test_replaying.py",
    "tests/relay/test_relay.py",
    "kills",
    "tests/infra/test_embedded.py",
    "tests/infra/test_stack.py",
    "tests/infra/test_up.py",
    "tests/operate/pruning/test_platform.py",
    "tests/audit/test_export.py",
    "tests/audit/test_log.py",
    "tests/audit/test_leaf.py",
)
"""What takes longest, the longest first: it begins first, so that the end of a run is not one process alone. (Of the
others those with most tests begin first, so what has few and long ones has to be here.)"""


class ByServers(xdist.scheduler.LoadFileScheduling):  # type: ignore[misc]  # without types
    """Gives the tests of a file to one process, and those that share costly servers to the same one; the long first."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((group for start, group in TOGETHER.items() if file.startswith(start)), file)

    def _assign_work_unit(self, node: Any) -> None:
        next_long = next((scope for scope in LONG if scope in self.workqueue), None)
        if next_long is not None:
            self.workqueue.move_to_end(next_long, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which process runs what."""
    return ByServers(config, log)


@pytest.fixture(scope="session")
async def apache_kafka() -> AsyncIterator[ApacheKafka | None]:
    """A real Apache Kafka, where its jars are; shared by the whole run."""
    jars = os.environ.get("AMANA_TEST_KAFKA_HOME", "")
    if not jars:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        kafka = ApacheKafka(Path(jars), Path(folder) / "kafka", Path(folder) / "kafka.log")
        await kafka.start()
        yield kafka
        await kafka.stop()


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAME_MAX = 240


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Names of tests hold no id that is drawn anew in each process: workers must agree on what a test is called."""
    seen: Counter[tuple[object, str]] = Counter()
    for item in items:
        name = _UUID.sub("uuid", item.name)[:NAME_MAX]
        seen[item.parent, name] += 1
        number = seen[item.parent, name]
        item.name = name if number == 1 else f"{name}#{number}"
        assert item.parent
        item._id = item.parent.id.child(item.name)  # pytest has no public way to say it


_opened: list[Stack] = []
"""Stacks that tests share now."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test tells how the processes of its stacks were: many of its reasons stand in none of its lines."""
    report = yield
    if report.failed:
        of_its_own = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Stack)]
        for stack in dict.fromkeys([*_opened, *of_its_own]):
            if stack.home.path.exists():
                report.sections.append((f"processes in {stack.home.path}", how_processes_are(stack)))
    return report


@asynccontextmanager
async def _open(name: str, kafka: ApacheKafka | None, *, servers_only: bool) -> AsyncIterator[Stack]:
    server = os.environ.get("AMANA_TEST_DATABASE_URL", "")
    given = Settings(
        owner_database_url=with_database(server, f"amana_test_{name}_{os.getpid()}") if server else "",
        redis_url=os.environ.get("AMANA_TEST_REDIS_URL", ""),
        kafka_bootstrap=kafka.bootstrap if kafka else os.environ.get("AMANA_TEST_KAFKA_BOOTSTRAP", ""),
        ledger_shards=int(os.environ.get("AMANA_TEST_LEDGER_SHARDS", "1")),
    )
    async with Stack.open(given=given, servers_only=servers_only, durable=False) as stack:
        _opened.append(stack)
        try:
            yield stack
            undeclared = await faults_in(stack.settings.owner_database_url)
            assert not undeclared, f"events that are not as they are declared: {undeclared}"
            assert not ended(stack), how_processes_are(stack)
        finally:
            _opened.remove(stack)
            if server:
                await stack.stop_services()
                await drop_database(stack.settings.owner_database_url)
                await drop_database(stack.settings.owner_audit_database_url)
                await drop_database(stack.settings.owner_keys_database_url)
                await drop_database(stack.settings.owner_metrics_database_url)


@pytest.fixture(scope="session")
async def stack(apache_kafka: ApacheKafka | None) -> AsyncIterator[Stack]:
    """PostgreSQL with migrated databases and the internal key, Valkey and the broker; no services."""
    async with _open("servers", apache_kafka, servers_only=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def settings(stack: Stack) -> Settings:
    """Where the servers of `stack` are."""
    return stack.settings


@pytest.fixture(scope="session")
async def platform(apache_kafka: ApacheKafka | None) -> AsyncIterator[Stack]:
    """Everything, services included: `platform.urls`, `platform.settings`."""
    async with _open("platform", apache_kafka, servers_only=False) as opened:
        yield opened
