"""What clients say about transfers: in clear nowhere, held to its id, unreadable once either customer is erased."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.dumps import program, run
from tests.transactions.conftest import Bank

from amana.domain.book import Kind
from amana.domain.order import commitment
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Notes, NotesState
from amana.infra.sealing import SealBroken, SealingKey
from amana.infra.settings import Settings
from amana.transactions import note_jobs, note_keys, note_store
from amana.transactions.note_jobs import NoteKeeper
from amana.transactions.reads import Reads
from amana.transactions.work import PostOrders
from amana.vault import remembered
from amana.vault.vault import KeysUnavailable, Vault

WHO, WHERE = "Rent of Ada Obi", "12 Bode Thomas Street"
SALT = b"0123456789abcdef"
SAID = Notes(WHO, {"place": WHERE}, SALT)
AWAY = "postgresql://amana_transactions@127.0.0.1:1/keys"


class Counted(Vault):
    """Counts how often keys are looked up."""

    look_ups = 0

    async def ensure(self, wanted: Collection[Key]) -> dict[Key, SealingKey | None]:
        self.look_ups += 1
        return await super().ensure(wanted)


@pytest.fixture
async def registrar(settings: Settings) -> AsyncIterator[Vault]:
    """The vault as eligibility has it, which alone destroys keys."""
    vault = Vault.of(settings)
    yield vault
    await vault.close()


@pytest.fixture
async def away(settings: Settings) -> AsyncIterator[Vault]:
    """A vault whose database does not answer; the key file is there."""
    vault = Vault(AWAY, settings.privacy_key_file)
    yield vault
    await vault.close()


@pytest.fixture
def keeper(bank: Bank) -> NoteKeeper:
    """The job, a turn at a time."""
    return NoteKeeper(bank.pools.vault, bank.pools.reads, bank.shards)


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner of the main database."""
    connection = await asyncpg.connect(settings.owner_database_url, server_settings={"search_path": "transactions"})
    yield connection
    await connection.close()


async def town(bank: Bank) -> tuple[UUID, UUID, UUID]:
    """Two customers' accounts and a till; each is its own owner, in one shard."""
    ada = await bank.account()
    return ada, await bank.account(id_=bank.fitting(ada)), await bank.account(id_=bank.fitting(ada))


def again(bank: Bank, posted: PostOrders, notes: Notes | None) -> PostOrders:
    """The same transfer with other words, or none."""
    order = posted.orders[0]
    named = (order.debit_account, order.credit_account, order.amount)
    assert named[0] is not None and named[1] is not None and named[2] is not None
    return bank.post(named[0], named[1], named[2], order.id, notes=notes)


async def seen(bank: Bank, id_: UUID, vault: Vault | None = None, *, restricted: bool = False) -> tuple[Any, Any, Any]:
    """(reference, metadata, state) as the API reads them."""
    reads = Reads(bank.pools.reads, bank.shards, vault or bank.pools.vault)
    found = await reads.get_transfer(bank.tenant, id_, restricted=restricted)
    assert found is not None
    return found["reference"], found["metadata"], found["notes"]


async def rows(bank: Bank) -> dict[UUID, asyncpg.Record]:
    """What is kept of this tenant's notes."""
    return {row["transfer"]: row for row in await bank.stored("SELECT * FROM notes WHERE tenant = $1")}


async def erase(bank: Bank, registrar: Vault, customer: UUID) -> None:
    """What eligibility does in the vault: remembers, then destroys."""
    await restrict(bank, registrar, customer)
    await registrar.destroy(bank.tenant, customer)


async def restrict(bank: Bank, registrar: Vault, customer: UUID) -> None:
    """What eligibility does at the request."""
    await remembered.remember(registrar, (bank.tenant, customer), uuid4(), "customer_request", "tester")


READABLE = WHO, {"place": WHERE}, NotesState.KEPT
GONE = None, None, NotesState.ERASED


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are waited for, however slow the machine is."""
    monkeypatch.setattr(note_keys, "KEYS_WITHIN_S", 10.0)


class TestSealed:
    async def test_no_table_and_no_dump_has_the_words_and_the_reply_has(self, bank: Bank, settings: Settings) -> None:
        ada, obi, till = await town(bank)
        sent = [bank.post(till, ada, 5, notes=SAID), bank.post(ada, obi, 5, notes=SAID)]
        sent += [bank.hold(till, obi, 5, notes=SAID), bank.post(ada, ada, 5, notes=SAID)]
        answers = await bank.flow.submit(sent)
        assert [answer.reason for answer in answers] == [None, None, None, Reason.SAME_ACCOUNT]
        for done in sent[:3]:
            assert await seen(bank, done.orders[0].id) == READABLE
        tables = ("notes", "commands", "transfers", "holds", "ids", "accounts")
        names = [f"--table=transactions.{table}" for table in tables]
        dump = await run(program("pg_dump"), *names, settings.owner_database_url)
        events = await bank.stored("SELECT body FROM outbox WHERE tenant = $1")
        assert str(ada).encode() in dump
        for text in (WHO, WHERE, SALT.decode(), SALT.hex()):
            assert text.encode() not in dump
            assert not [row for row in events if text.encode() in row["body"]]

    async def test_the_event_commits_to_what_is_sealed(self, bank: Bank, patient: None) -> None:
        ada, _, till = await town(bank)
        posted = bank.post(till, ada, 5, notes=SAID)
        await bank.send(posted)
        (event,) = await bank.stored("SELECT body FROM outbox WHERE tenant = $1 AND type = 'TransferPosted'")
        assert json.loads(event["body"])["data"]["notes"] == commitment(SAID, SALT)
        assert (await rows(bank))[posted.orders[0].id]["kek"] is None

    async def test_what_is_moved_to_another_transfer_does_not_open(
        self, bank: Bank, owner: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        ada, obi, till = await town(bank)
        first, second = bank.post(till, ada, 5, notes=SAID), bank.post(till, obi, 5, notes=SAID)
        await bank.flow.submit([first, second])
        sealed = (await rows(bank))[first.orders[0].id]["sealed"]
        await owner.execute("UPDATE notes SET sealed = $1 WHERE transfer = $2", sealed, second.orders[0].id)
        with pytest.raises(SealBroken):
            await seen(bank, second.orders[0].id)

    async def test_a_reference_finds_its_transfers_and_open_holds(self, bank: Bank) -> None:
        ada, obi, till = await town(bank)
        loan = uuid4()
        hold = bank.hold(till, ada, 5, notes=Notes(str(loan), None, SALT))
        sent = [bank.post(till, ada, 5, notes=SAID), bank.post(till, obi, 5, notes=SAID), hold]
        await bank.flow.submit(sent)
        page = await bank.reads.list_transfers_by_reference(bank.tenant, WHO, UUID(int=0), 10)
        assert {one["id"] for one in page.transfers} == {one.orders[0].id for one in sent[:2]}
        assert [one["reference"] for one in page.transfers] == [WHO, WHO]
        assert (await bank.reads.list_transfers_by_reference(bank.tenant, WHO + " ", UUID(int=0), 10)).transfers == []
        assert await bank.reads.list_open_holds(bank.tenant, loan) == (hold.orders[0].id,)

    async def test_a_customers_copy_has_both_sides_page_by_page(self, bank: Bank) -> None:
        ada, obi, till = await town(bank)
        sent = [bank.post(till, ada, 5, notes=SAID), bank.post(ada, obi, 5, notes=SAID), bank.post(till, ada, 5)]
        await bank.flow.submit([*sent, bank.post(till, obi, 5, notes=SAID)])
        found, after = [], UUID(int=0)
        for _ in range(3):
            page = await bank.reads.list_noted_transfers(bank.tenant, ada, after, 1)
            found += [(one["id"], one["reference"]) for one in page.transfers]
            after = page.next or after
        assert found == sorted((one.orders[0].id, WHO) for one in sent[:2])
        assert page.next is None


class TestCost:
    async def test_what_says_nothing_asks_for_no_keys_and_no_key_file(self, bank: Bank) -> None:
        ada, _, till = await town(bank)
        nothing = bank.another_flow(vault=Vault("", ""))
        assert (await bank.send(bank.post(till, ada, 5), nothing)).reason is None
        with pytest.raises(KeysUnavailable, match="AMANA_PRIVACY_KEY_FILE"):
            await bank.send(bank.post(till, ada, 5, notes=SAID), nothing)
        with pytest.raises(KeysUnavailable, match="AMANA_PRIVACY_KEY_FILE"):
            await bank.send(bank.about(Kind.VOID, await bank.held(till, ada, 5), notes=SAID), nothing)
        assert await bank.balance(ada) == -5

    async def test_units_that_come_together_look_up_keys_once_and_then_never(
        self, bank: Bank, settings: Settings, patient: None
    ) -> None:
        ada, obi, till = await town(bank)
        vault = Counted(settings.transactions_keys_database_url, settings.privacy_key_file)
        await vault.pool()
        flow = bank.another_flow(vault=vault)
        for _ in range(2):
            posts = [bank.post(till, to, 1, notes=SAID) for to in (ada, obi)] + [bank.post(till, obi, 1)]
            answers = await asyncio.gather(*(flow.submit([post]) for post in posts))
            assert [answer.reason for (answer,) in answers] == [None] * 3
        assert vault.look_ups == 1
        assert {row["kek"] for row in (await rows(bank)).values()} == {None}
        await vault.close()


class TestVaultAway:
    async def test_money_moves_and_words_wait_sealed_until_their_keys_are_there(
        self, bank: Bank, away: Vault, keeper: NoteKeeper
    ) -> None:
        ada, obi, till = await town(bank)
        flow = bank.another_flow(vault=away)
        posted = bank.post(ada, obi, 5, notes=SAID)
        answers = await flow.submit([posted, bank.post(till, ada, 5)])
        assert [answer.reason for answer in answers] == [None, None]
        id_ = posted.orders[0].id
        assert (await rows(bank))[id_]["kek"] is not None
        assert await seen(bank, id_, away) == (None, None, NotesState.UNAVAILABLE)
        assert await seen(bank, id_) == READABLE
        assert (await bank.send(posted, flow)).replayed
        assert (await bank.send(again(bank, posted, Notes("other", SAID.metadata, SALT)), flow)).result == {
            "field": "reference"
        }
        found = await Reads(bank.pools.reads, bank.shards, away).list_transfers_by_reference(
            bank.tenant, WHO, UUID(int=0), 5
        )
        assert [(one["id"], one["notes"]) for one in found.transfers] == [(id_, NotesState.UNAVAILABLE)]
        with pytest.raises(KeysUnavailable):
            await Reads(bank.pools.reads, bank.shards, away).list_noted_transfers(bank.tenant, ada, UUID(int=0), 5)
        await keeper.reseal()
        assert (await rows(bank))[id_]["kek"] is None
        assert await seen(bank, id_) == READABLE
        assert (await bank.send(posted)).replayed

    async def test_who_was_erased_meanwhile_leaves_nothing_that_waited(
        self, bank: Bank, away: Vault, keeper: NoteKeeper, registrar: Vault
    ) -> None:
        ada, _, till = await town(bank)
        posted = bank.post(till, ada, 5, notes=SAID)
        await bank.send(posted, bank.another_flow(vault=away))
        await erase(bank, registrar, ada)
        assert await seen(bank, posted.orders[0].id) == GONE
        await keeper.reseal()
        await _is_blank(bank, posted.orders[0].id)

    async def test_sealing_what_waited_goes_on_where_it_was_killed(
        self, bank: Bank, away: Vault, keeper: NoteKeeper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, obi, _ = await town(bank)
        flow = bank.another_flow(vault=away)
        sent = [bank.post(ada, obi, 1, notes=SAID) for _ in range(3)]
        await flow.submit(sent)
        monkeypatch.setattr(note_jobs, "AT_ONCE", 1)
        done, whole = 0, note_store.reseal_notes

        async def killed(*given: Any) -> None:
            nonlocal done
            await whole(*given)
            done += 1
            if done == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(note_store, "reseal_notes", killed)
        with pytest.raises(KeyboardInterrupt):
            await keeper.reseal()
        await keeper.reseal()
        assert [await seen(bank, one.orders[0].id) for one in sent] == [READABLE] * 3
        assert {row["kek"] for row in (await rows(bank)).values()} == {None}


async def _is_blank(bank: Bank, id_: UUID) -> None:
    """Nothing is left but that something was said."""
    row = (await rows(bank))[id_]
    assert (row["sealed"], row["kek"], row["reference_print"], row["metadata_print"]) == (None, None, b"", b"")
    assert row["erased"]


class TestErasure:
    @pytest.mark.parametrize("side", ["debit", "credit"])
    async def test_either_customers_erasure_makes_it_unreadable_at_once_and_then_blank(
        self, bank: Bank, registrar: Vault, keeper: NoteKeeper, side: str
    ) -> None:
        ada, obi, till = await town(bank)
        between = bank.post(ada, obi, 5, notes=SAID)
        theirs = bank.post(till, obi if side == "debit" else ada, 5, notes=SAID)
        await bank.flow.submit([between, theirs])
        id_ = between.orders[0].id
        await erase(bank, registrar, ada if side == "debit" else obi)
        assert await seen(bank, id_) == GONE  # although this process remembers the key
        found = await bank.reads.list_transfers_by_reference(bank.tenant, WHO, UUID(int=0), 5)
        assert [one["id"] for one in found.transfers] == [theirs.orders[0].id]
        assert await keeper.erase(60) >= 1
        await _is_blank(bank, id_)
        assert await seen(bank, theirs.orders[0].id) == READABLE
        assert await bank.balance(obi) == (-5 if side == "credit" else -10)

    async def test_a_replay_confirms_no_guess_and_still_knows_that_something_was_said(
        self, bank: Bank, registrar: Vault, keeper: NoteKeeper
    ) -> None:
        ada, _, till = await town(bank)
        posted, bare = bank.post(till, ada, 5, notes=SAID), bank.post(till, ada, 6)
        refused = bank.post(ada, ada, 5, notes=SAID)
        await bank.flow.submit([posted, bare, refused])
        await erase(bank, registrar, ada)
        await keeper.erase(60)
        guess = Notes("Was it Obi?", {"place": "elsewhere"}, SALT)
        for words in (SAID, guess):
            assert (await bank.send(again(bank, posted, words))).replayed
            assert (await bank.send(again(bank, refused, words))).replayed
        assert (await bank.send(again(bank, posted, None))).result == {"field": "metadata"}
        assert (await bank.send(again(bank, posted, Notes(None, SAID.metadata, SALT)))).result == {"field": "reference"}
        assert (await bank.send(again(bank, bare, guess))).result == {"field": "metadata"}
        await _is_blank(bank, refused.orders[0].id)

    async def test_an_erased_customers_money_moves_and_their_words_are_not_kept(
        self, bank: Bank, registrar: Vault
    ) -> None:
        ada, _, till = await town(bank)
        await erase(bank, registrar, ada)
        posted = bank.post(till, ada, 5, notes=SAID)
        assert (await bank.send(posted)).reason is None
        await _is_blank(bank, posted.orders[0].id)
        assert await seen(bank, posted.orders[0].id) == GONE
        assert await bank.balance(ada) == -5

    async def test_an_erasure_in_the_middle_of_transfers_leaves_no_word_and_every_kobo(
        self, bank: Bank, registrar: Vault, keeper: NoteKeeper, settings: Settings
    ) -> None:
        ada, obi, _ = await town(bank)
        vaults = [Vault.of_ledger(settings) for _ in range(2)]
        flows = [bank.another_flow(vault=vault) for vault in vaults]
        sent = [bank.post(ada, obi, 1, notes=SAID) for _ in range(60)]

        async def send(number: int) -> None:
            await asyncio.sleep(number / 500)
            assert (await bank.send(sent[number], flows[number % 2])).reason is None

        async def erase_in_between() -> None:
            await asyncio.sleep(0.05)
            await erase(bank, registrar, ada)
            await keeper.erase(60)

        await asyncio.gather(*(send(number) for number in range(len(sent))), erase_in_between())
        assert {await seen(bank, one.orders[0].id) for one in sent} == {GONE}
        await keeper.erase(60)
        for one in sent:
            await _is_blank(bank, one.orders[0].id)
        assert await bank.balance(ada) == 60
        for vault in vaults:
            await vault.close()

    async def test_rows_that_come_back_from_a_backup_are_unreadable_and_taken_out_again(
        self, bank: Bank, registrar: Vault, keeper: NoteKeeper, owner: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        ada, _, till = await town(bank)
        posted = bank.post(till, ada, 5, notes=SAID)
        await bank.send(posted)
        id_ = posted.orders[0].id
        backup = (await rows(bank))[id_]
        await erase(bank, registrar, ada)
        await keeper.erase(60)
        await owner.execute(
            "UPDATE notes SET sealed = $2, reference_print = $3, metadata_print = $4, erased = false"
            " WHERE transfer = $1",
            *(id_, backup["sealed"], backup["reference_print"], backup["metadata_print"]),
        )
        assert await seen(bank, id_) == GONE
        assert await keeper.erase() >= 1
        await _is_blank(bank, id_)

    async def test_who_is_to_be_erased_is_kept_and_not_used(self, bank: Bank, registrar: Vault) -> None:
        ada, _, till = await town(bank)
        posted = bank.post(till, ada, 5, notes=SAID)
        await bank.send(posted)
        id_ = posted.orders[0].id
        await restrict(bank, registrar, ada)
        assert await seen(bank, id_) == (None, None, NotesState.RESTRICTED)
        assert await seen(bank, id_, restricted=True) == READABLE
        for restricted, found in ((False, []), (True, [id_])):
            page = await bank.reads.list_transfers_by_reference(bank.tenant, WHO, UUID(int=0), 5, restricted=restricted)
            assert [one["id"] for one in page.transfers] == found
        assert (await bank.send(again(bank, posted, Notes(None, None, SALT)))).result == {"field": "metadata"}
        copy = await bank.reads.list_noted_transfers(bank.tenant, ada, UUID(int=0), 5)
        assert [one["reference"] for one in copy.transfers] == [WHO]
