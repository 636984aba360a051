"""A local stack: one per data directory, what it keeps, and what it says when something is wrong."""

import asyncio
import errno
import os
import signal
import socket
import sys
from pathlib import Path

import asyncpg
import msgspec
import pytest

from amana.infra.embedded import orphans
from amana.infra.embedded.ports import LOOPBACK, find_free
from amana.infra.embedded.process import ServerError
from amana.infra.kafka import TOPIC_PARTITIONS, Brokers, ensure_topics
from amana.infra.kafka_client import describe_topics
from amana.infra.settings import Settings, load_settings, to_environ
from amana.operate.home import Home, Running, explain, running_settings
from amana.operate.stack import Ports, Stack


async def open_and_close(folder: Path, ports: Ports | None = None) -> list[str]:
    """What a stack without services says while it is opened and closed."""
    said: list[str] = []
    async with Stack.open(folder, ports, servers_only=True, durable=False, say=said.append):
        pass
    return said


def test_a_second_stack_on_the_same_folder_is_refused(folder: Path) -> None:
    first = Home(folder, temporary=False)
    with pytest.raises(ServerError, match=rf"another stack runs on {folder} \(process {os.getpid()}\)"):
        Home(folder, temporary=False)
    first.close()
    Home(folder, temporary=False).close()


def test_the_secrets_and_the_signing_key_are_made_once_and_closed_to_others(folder: Path) -> None:
    home = Home(folder, temporary=False)
    assert home.secrets("first") == home.secrets("second")
    key = home.audit_key()
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert home.audit_key().read_bytes() == key.read_bytes()
    assert {file.stat().st_mode & 0o777 for file in (key, folder / "secrets.json")} == {0o600}
    home.close()


def test_a_temporary_folder_is_gone_when_closed() -> None:
    home = Home.temporary_one()
    assert home.path.is_dir()
    home.close()
    assert not home.path.exists()


async def test_a_killed_run_is_recognised_by_process_and_start_time(folder: Path) -> None:
    left = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    innocent = Running("innocent", os.getpid(), "1")
    orphan = Running("orphan", left.pid, orphans.started_at(left.pid))
    (folder / "running.json").write_bytes(msgspec.json.encode([innocent, orphan]))
    home = Home(folder, temporary=False)
    assert await home.end_leftovers()
    assert await left.wait() == -signal.SIGTERM
    assert not await home.end_leftovers()
    home.close()


@pytest.mark.parametrize("torn", [b"", b"[", b'[{"name": "x"'])
async def test_a_torn_record_of_a_killed_run_is_no_obstacle(folder: Path, torn: bytes) -> None:
    (folder / "running.json").write_bytes(torn)
    home = Home(folder, temporary=False)
    assert await home.end_leftovers()
    home.close()


def test_a_file_in_place_of_the_folder_is_named(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(ServerError, match="is not a folder that you may write in"):
        Home(folder / "file", temporary=False)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk of /data is full"),
        (errno.EDQUOT, "the disk of /data is full"),
        (errno.EROFS, "not a folder that you may write in"),
        (errno.EACCES, "not a folder that you may write in"),
        (errno.EIO, "can't be used"),
    ],
)
def test_trouble_with_the_disk_is_said_plainly(number: int, words: str) -> None:
    assert words in explain(OSError(number, os.strerror(number)), Path("/data"))


async def test_a_taken_port_is_refused_before_anything_starts(folder: Path) -> None:
    with (
        Ports.free() as ports,
        socket.create_server((LOOPBACK, ports.valkey)),
        pytest.raises(ServerError, match=f"port {ports.valkey}, wanted for Valkey"),
    ):
        await open_and_close(folder, ports)
    assert not (folder / "postgres").exists()


async def test_data_and_passwords_outlive_the_stack(folder: Path) -> None:
    seen: list[Settings] = []
    for statement in ("CREATE TABLE public.kept AS SELECT 42 AS answer", "SELECT answer FROM public.kept"):
        async with Stack.open(folder, servers_only=True) as stack:
            connection = await asyncpg.connect(stack.settings.owner_database_url)
            answer = await connection.fetchval(statement)
            await connection.close()
            seen.append(stack.settings)
    assert answer == 42
    assert seen[0].internal_key == seen[1].internal_key
    assert not (folder / "running.json").exists()


async def test_other_commands_find_the_running_stack_and_no_stopped_one(folder: Path) -> None:
    assert running_settings(folder) is None
    async with Stack.open(folder, servers_only=True, durable=False) as stack:
        assert running_settings(folder) == stack.settings
        assert (folder / "settings.json").stat().st_mode & 0o777 == 0o600
    assert running_settings(folder) is None


async def test_a_topic_at_the_embedded_broker_has_one_partition(folder: Path) -> None:
    async with Stack.open(folder, servers_only=True) as stack:
        assert stack.settings.kafka_partitions == 1
        brokers = Brokers.of(stack.settings)
        await ensure_topics(brokers, ["ours"])
        await ensure_topics(brokers.bootstrap, ["others"])
        partitions, _ = await asyncio.to_thread(describe_topics, brokers, ["ours", "others"])
        assert [place.topic for place in partitions].count("ours") == 1
        assert [place.topic for place in partitions].count("others") == TOPIC_PARTITIONS


async def test_a_stack_that_was_killed_says_so_next_time(folder: Path) -> None:
    (folder / "running.json").write_bytes(b"[]")
    said = await open_and_close(folder)
    assert "The previous run was killed" in said[0]
    assert "The previous run was killed" not in (await open_and_close(folder))[0]


async def test_the_services_get_settings_that_read_back_the_same(settings: Settings) -> None:
    assert load_settings(to_environ(settings)) == settings


async def test_a_stack_starts_though_the_metrics_database_is_away() -> None:
    [nobody] = find_free(1)
    given = Settings(
        owner_metrics_database_url=f"postgresql://nobody:none@127.0.0.1:{nobody}/metrics",
        redis_url="redis://127.0.0.1:1/0",
        kafka_bootstrap="127.0.0.1:1",
    )
    said: list[str] = []
    async with Stack.open(given=given, servers_only=True, durable=False, say=said.append) as stack:
        assert stack.settings.owner_metrics_database_url == given.owner_metrics_database_url
        assert stack.settings.kafka_partitions == given.kafka_partitions, "a broker of somebody else's is not ours"
    assert [line for line in said if line.startswith("The metrics database does not answer")]
