"""The embedded servers: they start, stop, keep what they must, and say plainly what is wrong."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from amana.infra.cache import Cache
from amana.infra.databases import ensure_database
from amana.infra.embedded import orphans, places
from amana.infra.embedded.nginx import Nginx
from amana.infra.embedded.ports import LOOPBACK, exchange, find_free, held_free, is_free, listeners, require_free
from amana.infra.embedded.postgres import Postgres
from amana.infra.embedded.process import Process, ServerError
from amana.infra.embedded.valkey import Valkey
from amana.operate.stack import Stack


@asynccontextmanager
async def running(folder: Path, durable: bool = True) -> AsyncIterator[Postgres]:
    server = Postgres(folder / "postgres", find_free(1)[0], folder / "postgres.log", durable=durable)
    await server.start()
    await ensure_database(server.owner_url("probe"))
    try:
        yield server
    finally:
        await server.stop()


async def run(server: Postgres, statement: str) -> object:
    connection = await asyncpg.connect(server.owner_url("probe"))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, find_free(1)[0])) as holder:
        yield holder.getsockname()[1]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", "127.0.0.1"),
    ],
)
async def test_postgres_is_durable_and_closed_to_others(stack: Stack, setting: str, value: str) -> None:
    if stack.postgres is None:
        pytest.skip("an external server has settings of its own")
    connection = await asyncpg.connect(stack.settings.owner_database_url)
    assert await connection.fetchval(f"SHOW {setting}") == value
    await connection.close()


async def test_a_postgres_that_need_not_be_durable_waits_for_no_disk(stack: Stack) -> None:
    if stack.postgres is None:
        pytest.skip("an external server has settings of its own")
    connection = await asyncpg.connect(stack.settings.owner_database_url)
    assert await connection.fetchval("SHOW fsync") == "off"
    await connection.close()


async def test_postgres_keeps_its_data_over_a_restart(folder: Path) -> None:
    async with running(folder) as server:
        assert await run(server, "SHOW fsync") == "on"
        await run(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    async with running(folder) as server:
        assert await run(server, "SELECT answer FROM kept") == 42
        assert not server.recovered


async def test_postgres_recovers_after_sigkill_with_what_was_committed(folder: Path) -> None:
    async with running(folder) as server:
        await run(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert server.process and server.process.pid
        os.kill(server.process.pid, signal.SIGKILL)
    async with running(folder) as server:
        assert await run(server, "SELECT answer FROM kept") == 42
        assert "killed" in server.recovered


async def test_a_postgres_still_running_on_the_same_data_is_stopped_first(folder: Path) -> None:
    async with running(folder) as old:
        await run(old, "CREATE TABLE kept AS SELECT 42 AS answer")
        async with running(folder) as new:
            assert await run(new, "SELECT answer FROM kept") == 42
            assert "still running" in new.recovered
        assert old.process and old.process.exit_code == 0


async def test_a_pid_file_whose_number_belongs_to_an_innocent_process_is_ignored(folder: Path) -> None:
    async with running(folder, durable=False) as server:
        pid_file = server.data / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    async with running(folder, durable=False) as server:
        assert await run(server, "SELECT 1") == 1


async def test_a_half_made_database_is_made_anew(folder: Path) -> None:
    (folder / "postgres" / "data.new" / "base").mkdir(parents=True)
    (folder / "postgres").chmod(0o711)
    async with running(folder, durable=False) as server:
        assert await run(server, "SELECT 1") == 1


async def test_a_postgres_that_cannot_start_shows_the_end_of_its_log(folder: Path) -> None:
    async with running(folder, durable=False) as server:
        pass
    (server.data / "global" / "pg_control").unlink()
    with pytest.raises(ServerError, match=r"PostgreSQL ended while starting(.|\n)*pg_control"):
        await server.restart()


async def test_the_password_is_needed_and_is_kept_from_others(folder: Path) -> None:
    async with running(folder, durable=False) as server:
        assert (server.folder / "password").stat().st_mode & 0o777 == 0o600
        wrong = server.owner_url("postgres").replace("amana_owner:", "amana_owner:x")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(wrong)


async def test_servers_die_with_a_killed_parent(folder: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from amana.infra.embedded.valkey import Valkey\n"
        "async def main():\n"
        "    server = Valkey(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[1]) / 'log', 'secret')\n"
        "    await server.start(); print(server.process.pid, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    port = find_free(1)[0]
    command = [sys.executable, "-c", program, str(folder), str(port)]
    parent = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert parent.stdout
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    assert await orphans.until_gone([pid], 10)
    assert is_free(port)


async def test_valkey_asks_for_its_password(folder: Path) -> None:
    port = find_free(1)[0]
    server = Valkey(folder / "valkey", port, folder / "valkey.log", "secret")
    await server.start()
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"PING\r\n")
        assert (await reader.readline()).startswith(b"-NOAUTH")
        writer.close()
    finally:
        await server.stop()


def test_a_taken_port_is_named_with_what_to_do(taken_port: int) -> None:
    with pytest.raises(ServerError, match=rf"port {taken_port}, wanted for audit, is taken.*--port-base"):
        require_free(taken_port, "audit")


def test_free_ports_are_different_and_free() -> None:
    ports = find_free(7)
    assert len(set(ports)) == 7
    assert all(is_free(port) for port in ports)


def test_held_ports_are_found_by_nobody_else_and_servers_may_listen_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with held_free(1) as [port]:
        monkeypatch.setattr("amana.infra.embedded.ports.FREE_FROM", port)
        monkeypatch.setattr("amana.infra.embedded.ports.FREE_UNTIL", port + 1)
        with pytest.raises(ServerError, match="no 1 free ports"):
            find_free(1)
        with socket.create_server((LOOPBACK, port)):
            assert not is_free(port)
        assert is_free(port)
    assert find_free(1) == [port]


async def test_a_process_that_ignores_the_request_to_stop_is_killed(folder: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    log = folder / "deaf.log"
    process = Process("deaf", [sys.executable, "-c", deaf], log, stop_timeout_s=0.2)
    process.start()

    async def heard() -> bool:
        return "deaf" in log.read_text()

    await process.wait_ready(heard, 10)
    await process.stop()
    assert process.how_it_ended() == "signal SIGKILL"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand PostgreSQL to another user")
async def test_root_in_a_closed_folder_keeps_programs_and_data_where_the_server_can_reach_them(folder: Path) -> None:
    os.chmod(folder, 0o700)  # noqa: PTH101
    async with running(folder, durable=False) as server:
        assert await run(server, "SELECT 1") == 1
        assert server.wanted.is_symlink()
        assert server.folder.parent.name == places.SHARED_NAME
    server.destroy()
    assert not server.folder.exists()
    assert not server.wanted.is_symlink()
    assert os.stat(folder).st_mode & 0o777 == 0o700  # noqa: PTH116


async def test_nginx_hands_on_what_comes_and_answers_alone_with_one_body(folder: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nup")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    upstream = await asyncio.start_server(serve, LOOPBACK, 0)
    port, (proxy, static) = upstream.sockets[0].getsockname()[1], find_free(2)
    server = Nginx(
        folder / "nginx", folder / "nginx.log", upstream=port, proxy_port=proxy, static_port=static, body='{"a":1}'
    )
    async with upstream:
        await server.start()
        try:
            request = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
            assert (await exchange(proxy, request)).endswith(b"\r\n\r\nup")
            assert (await exchange(static, request)).endswith(b'\r\n\r\n{"a":1}')
        finally:
            await server.stop()
    assert is_free(proxy) and is_free(static)


async def test_valkey_says_how_many_keys_it_holds(folder: Path) -> None:
    server = Valkey(folder / "valkey", find_free(1)[0], folder / "valkey.log", "secret")
    await server.start()
    cache = Cache(server.url)
    try:
        empty = await server.holds()
        await cache.put_many([("one", b"1" * 100_000)], 60_000)
        filled = await server.holds()
    finally:
        await cache.close()
        await server.stop()
    assert (empty[1], filled[1]) == (0, 1)
    assert filled[0] - empty[0] > 100_000


def test_each_process_that_listens_at_a_shared_port_counts() -> None:
    (port,) = find_free(1)
    assert listeners(port) == 0
    with ExitStack() as opened:
        for number in (1, 2):
            sharing = opened.enter_context(socket.socket())
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind((LOOPBACK, port))
            assert listeners(port) == number - 1  # bound is not yet listening
            sharing.listen()
            assert listeners(port) == number
