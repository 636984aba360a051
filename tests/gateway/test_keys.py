"""Keys: spelling, comparison, and the ring that remembers them, against the real database."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.gateway import provision
from amana.gateway.keyring import AHEAD_S, FRESH_S, RETRY_S, STALE_S, KeyRing, claim_of
from amana.gateway.keys import ENTROPY_BYTES, StoredKey, claim_in, hash_secret, key_from, parse_key, proves
from amana.gateway.store import KeyStore
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings


@given(st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_a_key_reads_back_as_it_was_written_and_proves_only_itself(entropy: bytes) -> None:
    key = key_from(entropy)
    stored = StoredKey(key.key_id, 1, hash_secret(key.secret), frozenset({"a"}))
    assert parse_key(key.text()) == key
    claim = claim_in(key.text())
    assert claim and claim.key_id == key.key_id
    assert proves(claim, stored)
    assert not proves(claim, None)
    assert not proves(claim._replace(secret_hash=hash_secret("0" * 43)), stored) or key.secret == "0" * 43


@given(st.text(max_size=80))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    assert parse_key(text) is None
    assert parse_key(f"amana_aaaaaaaaaaaa_{'x' * 43}\n") is None


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Door:
    """A TCP forwarder in front of the database, which a test can shut."""

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listens; the DSN that goes through the door."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        host = f"{self._target.hostname}:{self._target.port}"
        return self._target.geturl().replace(host, f"127.0.0.1:{port}")

    async def shut(self) -> None:
        """Nobody gets in, and those inside are thrown out."""
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, far_writer}
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer), return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def ring_on(dsn: str) -> AsyncIterator[tuple[KeyRing, Clock]]:
    clock = Clock()
    ring = KeyRing(KeyStore(dsn), clock)
    try:
        yield ring, clock
    finally:
        await ring.store.close()


async def looked_up(ring: KeyRing) -> None:
    """Waits for the look-ups that nobody waits for."""
    async with asyncio.timeout(30):
        while ring._looking:  # noqa: ASYNC110 (there is no event: nobody waits)
            await asyncio.sleep(0.01)


async def new_key(settings: Settings) -> tuple[str, str]:
    """A key's text and id."""
    tenant = await provision.create_tenant(settings.owner_database_url, "key-tests", "Key tests")
    text = await provision.create_key(settings.owner_database_url, tenant, ["loans:read"])
    return text, text.split("_")[1]


async def test_a_tenant_is_made_once(settings: Settings) -> None:
    owner = settings.owner_database_url
    slug = f"lender-{os.urandom(4).hex()}"
    first = await provision.create_tenant(owner, slug, "Lender")
    assert await provision.create_tenant(owner, slug, "Another name") == first > 0


async def test_a_revoked_key_stops_working_within_five_seconds(settings: Settings) -> None:
    text, key_id = await new_key(settings)
    async with ring_on(settings.eligibility_database_url) as (ring, clock):
        found = await ring.caller_for(f"Bearer {text}")
        assert found and (found.key_id, found.scopes) == (key_id, frozenset({"loans:read"}))
        assert await provision.revoke_key(settings.owner_database_url, key_id)
        assert not await provision.revoke_key(settings.owner_database_url, key_id)
        clock.now_s += FRESH_S - 0.001
        assert await ring.caller_for(f"Bearer {text}")
        clock.now_s += 0.001
        assert await ring.caller_for(f"Bearer {text}") is None


async def test_a_key_made_after_it_was_first_tried_works_within_five_seconds(settings: Settings) -> None:
    key = key_from(os.urandom(ENTROPY_BYTES))
    async with ring_on(settings.eligibility_database_url) as (ring, clock):
        assert await ring.caller_for(f"Bearer {key.text()}") is None
        await provision.ensure_internal_key(settings.owner_database_url, key.text())
        assert await ring.caller_for(f"Bearer {key.text()}") is None
        clock.now_s += FRESH_S
        assert await ring.caller_for(f"Bearer {key.text()}")


async def test_a_wrong_secret_is_refused_though_the_id_is_known(settings: Settings) -> None:
    text, _ = await new_key(settings)
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    async with ring_on(settings.eligibility_database_url) as (ring, _clock):
        assert await ring.caller_for(f"Bearer {text}")
        assert await ring.caller_for(f"Bearer {wrong}") is None


async def test_without_its_database_the_ring_serves_what_it_knew_for_a_minute(settings: Settings) -> None:
    text, key_id = await new_key(settings)
    stranger = key_from(os.urandom(ENTROPY_BYTES)).text()
    door = Door(settings.eligibility_database_url)
    async with ring_on(await door.open()) as (ring, clock):
        assert await ring.caller_for(f"Bearer {text}")
        await door.shut()
        for _ in range(int(STALE_S / RETRY_S) - 1):
            clock.now_s += RETRY_S
            found = await ring.caller_for(f"Bearer {text}")
            assert found and found.key_id == key_id
        with pytest.raises(DatabaseUnavailable):
            await ring.caller_for(f"Bearer {stranger}")
        clock.now_s += RETRY_S
        with pytest.raises(DatabaseUnavailable):
            await ring.caller_for(f"Bearer {text}")


async def test_many_who_ask_at_once_cost_one_look_up(settings: Settings) -> None:
    text, key_id = await new_key(settings)
    asked: list[str] = []

    class Counting(KeyStore):
        async def find_key(self, key_id: str) -> StoredKey | None:
            asked.append(key_id)
            return await super().find_key(key_id)

    ring = KeyRing(Counting(settings.eligibility_database_url))
    found = await asyncio.gather(*(ring.caller_for(f"Bearer {text}") for _ in range(200)))
    await ring.store.close()
    assert all(found) and asked == [key_id]


def known(ring: KeyRing, authorization: str) -> StoredKey | None:
    claim = claim_of(authorization)
    assert claim
    found = ring.known(claim)
    return None if found is None else found.stored


async def test_what_is_known_without_a_look_up_is_proved_and_no_older_than_five_seconds(settings: Settings) -> None:
    text, key_id = await new_key(settings)
    good, wrong = f"Bearer {text}", f"Bearer {text[:-1]}{'a' if text[-1] != 'a' else 'b'}"
    async with ring_on(settings.eligibility_database_url) as (ring, clock):
        assert known(ring, good) is None  # not yet
        assert await ring.caller_for(good)
        found = known(ring, good)
        assert found and found.key_id == key_id
        assert known(ring, wrong) is None
        assert [claim_of(bad) for bad in (text, "", "Basic x", f"Bearer {text}x")] == [None] * 4
        clock.now_s += FRESH_S
        assert known(ring, good) is None


async def test_a_key_in_use_is_asked_for_again_before_it_is_too_old(settings: Settings) -> None:
    text, key_id = await new_key(settings)
    async with ring_on(settings.eligibility_database_url) as (ring, clock):
        assert await ring.caller_for(f"Bearer {text}")
        for _ in range(3):
            clock.now_s += AHEAD_S
            assert known(ring, f"Bearer {text}")
            await looked_up(ring)
        assert await provision.revoke_key(settings.owner_database_url, key_id)
        clock.now_s += AHEAD_S
        assert known(ring, f"Bearer {text}")
        await looked_up(ring)
        assert known(ring, f"Bearer {text}") is None


async def test_without_its_database_a_key_is_known_for_no_longer(settings: Settings) -> None:
    text, _ = await new_key(settings)
    door = Door(settings.eligibility_database_url)
    async with ring_on(await door.open()) as (ring, clock):
        assert await ring.caller_for(f"Bearer {text}")
        await door.shut()
        clock.now_s += AHEAD_S
        assert known(ring, f"Bearer {text}")
        await looked_up(ring)
        assert known(ring, f"Bearer {text}")
        clock.now_s += FRESH_S - AHEAD_S
        assert known(ring, f"Bearer {text}") is None
        assert await ring.caller_for(f"Bearer {text}")  # for a minute, and only who asks for it


async def test_only_the_platform_may_own_an_internal_key(settings: Settings) -> None:
    owner = settings.owner_database_url
    tenant = await provision.create_tenant(owner, "key-tests", "Key tests")
    with pytest.raises(ValueError, match="reserved for Amana's own services"):
        await provision.create_key(owner, tenant, ["internal"])
    with pytest.raises(ValueError, match="not spelled"):
        await provision.ensure_internal_key(owner, "secret")
    connection = await asyncpg.connect(owner)
    try:
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await connection.execute(
                "INSERT INTO gateway.api_keys (key_id, tenant, secret_hash, scopes) VALUES ($1, $2, $3, $4)",
                *("aaaaaaaaaaaa", tenant, bytes(32), ["internal"]),
            )
        assert caught.value.constraint_name == "api_keys_internal_is_the_platforms"
    finally:
        await connection.close()


async def test_a_key_is_not_made_for_nobody_nor_with_a_scope_that_is_not(settings: Settings) -> None:
    owner = settings.owner_database_url
    tenant = await provision.create_tenant(owner, "key-tests", "Key tests")
    with pytest.raises(ValueError, match="there is no tenant 999999999"):
        await provision.create_key(owner, 999_999_999, ["loans:read"])
    with pytest.raises(ValueError, match="platform itself"):
        await provision.create_key(owner, 0, ["loans:read"])
    with pytest.raises(ValueError, match=r"no scope loans:raed; the scopes are accounts:read, .*transfers:write"):
        await provision.create_key(owner, tenant, ["loans:raed"])


async def test_a_service_role_reads_keys_and_writes_none(settings: Settings) -> None:
    for dsn in (settings.eligibility_database_url, settings.transactions_database_url, settings.relay_database_url):
        connection = await asyncpg.connect(dsn)
        try:
            assert await connection.fetchval("SELECT count(*) FROM gateway.api_keys") > 0
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("UPDATE gateway.api_keys SET revoked_at = NULL")
        finally:
            await connection.close()
