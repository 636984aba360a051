"""Keys of customers: made once, destroyed for good, wrapped under a file that no database has."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from amana.infra.key_file import ensure_key_file
from amana.infra.sealing import SealingKey
from amana.infra.settings import Settings
from amana.vault import remembered
from amana.vault.numbers import Number, tokens
from amana.vault.rotation import drop, rewrap, rotate
from amana.vault.vault import LOOK_UP_S, KeysUnavailable, Vault

HERE = b"here"
_tenants = count(900_000)


@pytest.fixture
async def process(settings: Settings) -> AsyncIterator[Callable[..., Vault]]:
    """Makes the vault of another process, which shares the databases and the key file, or has another file."""
    opened: list[Vault] = []

    def make(path: object = settings.privacy_key_file, *, owner: bool = False) -> Vault:
        dsn = settings.owner_keys_database_url if owner else settings.keys_database_url
        opened.append(Vault(dsn, str(path)))
        return opened[-1]

    yield make
    for vault in opened:
        await vault.close()


@pytest.fixture
def tenant() -> int:
    """A tenant that nobody else uses."""
    return next(_tenants)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner's connection."""
    connection = await asyncpg.connect(settings.owner_keys_database_url, server_settings={"search_path": "vault"})
    yield connection
    await connection.close()


def opens(made: SealingKey | None, sealed: bytes) -> bool:
    return made is not None and made.open(sealed, HERE) == b"secret"


async def test_processes_that_ask_at_once_have_one_key(process: Callable[..., Vault], tenant: int) -> None:
    ada = (tenant, uuid4())
    found = await asyncio.gather(*(process().ensure([ada]) for _ in range(6)))
    first = found[0][ada]
    assert first is not None
    sealed = first.seal(b"secret", HERE)
    assert all(opens(one[ada], sealed) for one in found)
    assert opens((await process().keys([ada]))[ada], sealed)
    assert await process().keys([(tenant, uuid4())]) == {}


async def test_customers_and_tenants_have_keys_of_their_own(process: Callable[..., Vault], tenant: int) -> None:
    id_, other = uuid4(), next(_tenants)
    keys = await process().ensure([(tenant, id_), (other, id_), (tenant, uuid4())])
    sealed = [key.seal(b"secret", HERE) for key in keys.values() if key is not None]
    assert len(sealed) == 3
    opened = 0
    for key in keys.values():
        for bytes_ in sealed:
            try:
                opened += opens(key, bytes_)
            except Exception as error:
                assert type(error).__name__ == "SealBroken"
    assert opened == 3


async def test_a_destroyed_key_is_gone_for_good(
    process: Callable[..., Vault], tenant: int, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ada = (tenant, uuid4())
    here, there = process(), process()
    await there.ensure([ada])
    await here.destroy(*ada)
    await here.destroy(*ada)
    assert await here.ensure([ada]) == {ada: None}
    assert await process().ensure([ada]) == {ada: None}
    row = await database.fetchrow("SELECT * FROM data_keys WHERE tenant = $1", tenant)
    assert row is not None
    assert (row["kek"], row["wrapped"]) == (None, None)
    there.forget(ada)
    assert await there.keys([ada]) == {ada: None}


async def test_who_never_had_a_key_gets_none_after_an_erasure(process: Callable[..., Vault], tenant: int) -> None:
    ada = (tenant, uuid4())
    await process().destroy(*ada)
    assert await process().ensure([ada]) == {ada: None}


async def test_a_number_has_one_token_whoever_has_it(process: Callable[..., Vault], tenant: int) -> None:
    numbers = [Number(tenant, uuid4(), "bvn", "22212345678") for _ in range(5)]
    found = [token for one in numbers for token in (await tokens(process(), [one])).values()]
    at_once = await asyncio.gather(*(tokens(process(), [one]) for one in numbers))
    assert {*found, *(token for made in at_once for token in made.values())} == {found[0]}
    others = [
        Number(tenant, numbers[0].customer, "nin", "22212345678"),
        Number(tenant, numbers[0].customer, "bvn", "22212345679"),
        Number(next(_tenants), numbers[0].customer, "bvn", "22212345678"),
    ]
    assert found[0] not in (await tokens(process(), others)).values()
    assert len(set((await tokens(process(), others)).values())) == 3


async def test_a_number_is_forgotten_with_the_last_who_had_it(
    process: Callable[..., Vault], tenant: int, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ada, obi = (Number(tenant, uuid4(), "bvn", "22212345678") for _ in range(2))
    token = (await tokens(process(), [ada, obi]))[ada]
    await process().destroy(tenant, ada.customer)
    assert (await tokens(process(), [obi]))[obi] == token
    await process().destroy(tenant, obi.customer)
    assert await database.fetchval("SELECT count(*) FROM numbers WHERE tenant = $1", tenant) == 0
    third = Number(tenant, uuid4(), "bvn", "22212345678")
    assert (await tokens(process(), [third]))[third] != token


async def test_a_number_that_is_taken_while_it_is_forgotten_stays_whole(
    process: Callable[..., Vault], tenant: int, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for _ in range(10):
        text = str(uuid4().int)[:11]
        leaves, comes = (Number(tenant, uuid4(), "bvn", text) for _ in range(2))
        await tokens(process(), [leaves])
        _, made = await asyncio.gather(process().destroy(tenant, leaves.customer), tokens(process(), [comes]))
        again = Number(tenant, uuid4(), "bvn", text)
        assert (await tokens(process(), [again]))[again] == made[comes]
        await process().destroy(tenant, again.customer)
    assert await database.fetchval("SELECT count(*) FROM numbers WHERE tenant = $1", tenant) == 10


async def test_without_a_key_file_there_are_no_keys_until_it_comes(
    process: Callable[..., Vault], settings: Settings, tenant: int, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    ada = (tenant, uuid4())
    vault = process(path)
    with pytest.raises(KeysUnavailable, match="can't be read: No such file"):
        await vault.ensure([ada])
    with pytest.raises(KeysUnavailable, match="AMANA_PRIVACY_KEY_FILE is not set"):
        await process("").ensure([ada])
    with pytest.raises(KeysUnavailable, match="AMANA_KEYS_DATABASE_URL is not set"):
        await Vault("", settings.privacy_key_file).ensure([ada])
    shutil.copy(settings.privacy_key_file, path)
    assert (await vault.ensure([ada]))[ada] is not None


async def test_another_key_file_opens_nothing_and_says_so(
    process: Callable[..., Vault], tenant: int, tmp_path: Path
) -> None:
    ada = (tenant, uuid4())
    await process().ensure([ada])
    with pytest.raises(KeysUnavailable, match=r"does not open|has no version"):
        await process(ensure_key_file(tmp_path / "another" / "keys.json")).keys([ada])


async def test_a_wrapped_key_that_is_moved_to_another_customer_does_not_open(
    process: Callable[..., Vault], tenant: int, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ada, obi = (tenant, uuid4()), (tenant, uuid4())
    await process().ensure([ada, obi])
    await database.execute(
        "UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE customer = $1) WHERE customer = $2",
        ada[1], obi[1],
    )  # fmt: skip
    with pytest.raises(KeysUnavailable, match="does not open"):
        await process().keys([obi])
    await process().destroy(*obi)


async def test_a_rotation_keeps_every_key_and_ends_what_old_files_and_backups_open(
    process: Callable[..., Vault], settings: Settings, tenant: int, tmp_path: Path
) -> None:
    path = Path(settings.privacy_key_file)
    before = shutil.copy(path, tmp_path / "before.json")
    ada, obi = (tenant, uuid4()), (tenant, uuid4())
    running = process()
    key = (await running.ensure([ada]))[ada]
    assert key is not None
    sealed = key.seal(b"secret", HERE)
    owner = process(owner=True)
    version = (await rotate(owner, path)).current
    assert (await running.ensure([obi]))[obi] is not None  # the file is read again by itself
    told: list[int] = []
    assert await rewrap(owner, told.append) == told[-1] > 0
    assert await rewrap(owner, told.append) == 0
    assert opens((await process().keys([ada]))[ada], sealed)
    with pytest.raises(KeysUnavailable, match="has no version"):
        await process(before).keys([ada])
    dropped = await drop(owner, path)
    assert dropped
    assert version not in dropped
    assert owner.file().versions == [version]
    assert opens((await process().keys([ada]))[ada], sealed)
    with pytest.raises(KeysUnavailable, match="current version was dropped"):
        await process(before).ensure([(tenant, uuid4())])


async def test_a_version_under_which_something_is_wrapped_is_not_dropped(
    process: Callable[..., Vault], settings: Settings, tenant: int
) -> None:
    path = Path(settings.privacy_key_file)
    ada = (tenant, uuid4())
    await process().ensure([ada])
    owner = process(owner=True)
    await rotate(owner, path)
    assert await drop(owner, path) == []
    assert (await process().keys([ada]))[ada] is not None


async def test_the_first_request_to_erase_is_remembered(process: Callable[..., Vault], tenant: int) -> None:
    customers = sorted(uuid4() for _ in range(5))
    vault = process()
    for customer in customers:
        first, second = uuid4(), uuid4()
        known = await remembered.remember(vault, (tenant, customer), first, "not_needed", "key")
        assert known is not None
        assert await remembered.remember(vault, (tenant, uuid4()), first, "not_needed", "key") is None
        assert (known.erasure_id, known.destroyed_at) == (first, None)
        assert await remembered.remember(vault, (tenant, customer), second, "unlawful", "other") == known
    await vault.destroy(tenant, customers[0])
    found: list[UUID] = []
    after = (tenant, UUID(int=0))
    while page := await remembered.page(vault, after, 2):
        found += [one.customer for one in page if one.tenant == tenant]
        after = page[-1].tenant, page[-1].customer
    assert found == customers
    (again,) = await remembered.page(vault, (tenant, UUID(int=0)), 1)
    assert again.destroyed_at is not None


async def test_a_database_that_never_answers_holds_nobody_up(settings: Settings, tenant: int) -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    vault = Vault(f"postgresql://amana_eligibility:x@127.0.0.1:{port}/keys", settings.privacy_key_file)
    begun = time.monotonic()
    with pytest.raises(KeysUnavailable, match="no answer"):
        await vault.keys([(tenant, uuid4())])
    took_s = time.monotonic() - begun
    assert took_s < 3 * LOOK_UP_S
    for _ in range(100):
        with pytest.raises(KeysUnavailable, match="a moment ago"):
            await vault.keys([(tenant, uuid4())])
        if time.monotonic() - begun > took_s + 0.04:
            break
    server.close()


FORBIDDEN = """
    DELETE FROM data_keys
    DELETE FROM erasures
    UPDATE erasures SET reason = 'x'
    UPDATE keks SET dropped_at = NULL
    DELETE FROM keks
    TRUNCATE numbers
"""


@pytest.mark.parametrize("statement", FORBIDDEN.strip().splitlines())
async def test_the_service_may_do_no_more_than_it_must(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(settings.keys_database_url, server_settings={"search_path": "vault"})
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement.strip())
    finally:
        await connection.close()
