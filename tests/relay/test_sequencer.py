"""The order of events under interleaved transactions, on real PostgreSQL.

In most tests one sequencer is stepped by hand between the statements of transactions that are interleaved by hand.
"""

import asyncio
import json

import pytest
from tests.relay.source import Source, assert_each_thing_in_order, change

from amana.infra.lease import SQL, Lease
from amana.infra.postgres import IDLE_IN_TRANSACTION_TIMEOUT_MS
from amana.infra.sequencer import Sequencer


async def leader(source: Source, chunk: int = 2_000, lease_s: float = 60) -> Sequencer:
    lease = Lease(source.pool, source.stream, lease_s)
    assert await lease.hold()
    return Sequencer(source.pool, lease, chunk)


async def successor(source: Source, chunk: int = 2_000) -> Sequencer:
    """A new relay, after the lease of the one before ran out."""
    await source.pool.execute("UPDATE stream SET lease_until = now() - interval '1 second'")
    return await leader(source, chunk)


async def test_a_look_whether_there_is_anything_new_reads_no_more_the_longer_the_outbox_is(source: Source) -> None:
    sequencer = await leader(source)
    for count in (200, 5_000):
        await source.write(count)
        assert await sequenced(sequencer) == count
        await source.pool.execute("ANALYZE outbox")
        plan = await source.pool.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {look(source)}")
        top = json.loads(plan)[0]["Plan"]
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] <= 20
    assert await source.pool.fetchval(look(source)) is False
    await source.write(1)
    assert await source.pool.fetchval(look(source)) is True


def look(source: Source) -> str:
    return SQL["is_any_new"].replace("$1", f"'{source.stream}'")


async def sequenced(sequencer: Sequencer) -> int:
    """Steps until nothing is left; how many events."""
    total = 0
    while done := await sequencer.step():
        total += done
    return total


async def test_nothing_is_visible_in_the_first_snapshot(source: Source) -> None:
    assert not await source.pool.fetchval("SELECT pg_visible_in_snapshot('1'::xid8, since) FROM stream")
    assert not await source.pool.fetchval("SELECT pg_visible_in_snapshot(pg_current_xact_id(), since) FROM stream")
    await source.write(5)
    assert await (await leader(source)).step() == 5


async def test_a_waiter_that_got_its_xid_early_and_writes_late_comes_after_what_it_waited_for(source: Source) -> None:
    thing, other = await source.things(2)
    early, holder = await source.connect(), await source.connect()
    sequencer = await leader(source)
    await early.execute("BEGIN")
    early_xid = await early.fetchval("SELECT pg_current_xact_id()::text::bigint")
    await holder.execute("BEGIN")
    holder_xid = await holder.fetchval("SELECT pg_current_xact_id()::text::bigint")
    assert early_xid < holder_xid
    await change(holder, thing)
    waiting = asyncio.create_task(change(early, thing))
    await asyncio.sleep(0.05)
    assert await sequencer.step() == 0
    await holder.execute("COMMIT")
    await waiting
    await source.pool.execute("SELECT 1")
    async with source.pool.acquire() as connection, connection.transaction():
        await change(connection, other)
    assert await sequencer.step() == 2
    await early.execute("COMMIT")
    assert await sequencer.step() == 1
    assert await source.bodies() == [f"{thing} 1", f"{other} 1", f"{thing} 2"]
    await early.close()
    await holder.close()


async def test_both_writers_of_a_thing_in_one_difference_keep_their_order(source: Source) -> None:
    (thing,) = await source.things(1)
    early, holder = await source.connect(), await source.connect()
    await early.execute("BEGIN")
    await early.fetchval("SELECT pg_current_xact_id()")
    await holder.execute("BEGIN")
    await change(holder, thing)
    waiting = asyncio.create_task(change(early, thing))
    await asyncio.sleep(0.05)
    await holder.execute("COMMIT")
    await waiting
    await early.execute("COMMIT")
    assert await (await leader(source)).step() == 2
    assert await source.bodies() == [f"{thing} 1", f"{thing} 2"]
    await early.close()
    await holder.close()


async def test_a_long_transaction_holds_back_only_its_own_events(source: Source) -> None:
    slow_thing, fast_thing = await source.things(2)
    slow = await source.connect()
    sequencer = await leader(source)
    await slow.execute("BEGIN")
    await change(slow, slow_thing)
    for version in range(1, 4):
        async with source.pool.acquire() as connection, connection.transaction():
            await change(connection, fast_thing)
        assert await sequencer.step() == 1
        assert (await source.bodies())[-1] == f"{fast_thing} {version}"
    await slow.execute("COMMIT")
    assert await sequencer.step() == 1
    assert (await source.bodies())[-1] == f"{slow_thing} 1"
    await slow.close()


async def test_a_low_seq_that_commits_late_is_neither_lost_nor_given_twice(source: Source) -> None:
    first_thing, second_thing = await source.things(2)
    first, second = await source.connect(), await source.connect()
    sequencer = await leader(source)
    await first.execute("BEGIN")
    await second.execute("BEGIN")
    await change(first, first_thing)
    await change(second, second_thing)
    await second.execute("COMMIT")
    assert await sequencer.step() == 1
    await first.execute("COMMIT")
    assert await sequencer.step() == 1
    assert await sequencer.step() == 0
    assert await source.bodies() == [f"{second_thing} 1", f"{first_thing} 1"]
    await first.close()
    await second.close()


async def test_aborted_work_and_savepoints_leave_no_hole_in_the_positions(source: Source) -> None:
    thing, kept = await source.things(2)
    writer = await source.connect()
    sequencer = await leader(source)
    await writer.execute("BEGIN")
    await change(writer, thing)
    assert await sequencer.step() == 0
    await writer.execute("ROLLBACK")
    await writer.execute("BEGIN")
    await change(writer, kept)
    await writer.execute("SAVEPOINT try")
    await change(writer, thing)
    await writer.execute("ROLLBACK TO try")
    await change(writer, kept)
    await writer.execute("COMMIT")
    assert await sequencer.step() == 2
    assert await source.bodies() == [f"{kept} 1", f"{kept} 2"]
    await writer.close()


async def test_a_new_relay_goes_on_in_the_middle_of_a_large_difference(source: Source) -> None:
    (late_thing,) = await source.things(1)
    late = await source.connect()
    await late.execute("BEGIN")
    await change(late, late_thing)  # the lowest seq of all, committed in the middle of the difference
    await source.write(25)
    assert await (await leader(source, chunk=10)).step() == 10
    await late.execute("COMMIT")
    await source.write(5)  # also later than the difference
    assert (await source.stands())["until"] is not None
    second = await successor(source, chunk=10)
    assert await second.step() == 10
    third = await successor(source, chunk=10)
    assert [await third.step() for _ in range(3)] == [5, 6, 0]
    assert (await source.stands())["until"] is None
    bodies = await source.bodies()
    assert bodies[25] == f"{late_thing} 1"
    assert_each_thing_in_order(bodies)
    await late.close()


@pytest.mark.parametrize("count", [9, 10, 11, 20, 21])
async def test_differences_around_the_size_of_a_chunk_are_given_whole(source: Source, count: int) -> None:
    sequencer = await leader(source, chunk=10)
    for _ in range(2):
        await source.write(count)
        for _ in range(4):
            await sequencer.step()
        stands = await source.stands()
        assert (stands["until"], stands["after_seq"]) == (None, 0)
    assert_each_thing_in_order(await source.bodies())
    assert (await source.stands())["last_position"] == 2 * count - 1


async def test_a_deposed_leader_gives_no_position(source: Source) -> None:
    old = await leader(source)
    await source.write(3)
    new = await successor(source)
    assert await old.step() == 0
    assert await source.bodies() == []
    assert await new.step() == 3
    assert await old.step() == 0
    assert_each_thing_in_order(await source.bodies())


async def test_a_leader_paused_in_its_transaction_is_ended_by_the_server_and_wrote_nothing(source: Source) -> None:
    await source.write(3)
    paused = Lease(source.pool, source.stream, 0.1)
    assert await paused.hold()
    connection = await source.connect()
    await connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}")
    await connection.execute("BEGIN")
    assert await connection.fetchrow(SQL["lock_stream"], source.stream, paused.holder, paused.term)
    await connection.execute(SQL["finish_difference"], source.stream, "1:1:", -1, [3, 2, 1])
    await asyncio.sleep(0.2)
    rival = Lease(source.pool, source.stream, 60)
    assert not await rival.hold()  # the lease is over, but the row is locked; it does not wait either
    await asyncio.sleep(IDLE_IN_TRANSACTION_TIMEOUT_MS / 1000 + 0.3)
    assert await rival.hold()
    assert await Sequencer(source.pool, rival).step() == 3
    assert_each_thing_in_order(await source.bodies())
    connection.terminate()


async def test_only_one_of_many_becomes_leader_and_a_released_lease_is_free_at_once(source: Source) -> None:
    leases = [Lease(source.pool, source.stream, 60) for _ in range(6)]
    held = await asyncio.gather(*(lease.hold() for lease in leases))
    assert sum(held) == 1
    holder = leases[held.index(True)]
    assert await holder.hold()
    await holder.release()
    assert holder.term is None
    assert await leases[held.index(False)].hold()


async def test_the_look_at_the_outbox_stays_on_its_index_whatever_the_planner_guesses(source: Source) -> None:
    async with source.pool.acquire() as connection:
        for _ in range(20):
            await source.write(1_000)
        await connection.execute("ANALYZE outbox")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE look (text, bigint) AS {SQL['difference']}")
        since = await connection.fetchval("SELECT pg_current_snapshot()::text")
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE look ('{since}', 2001)"))
        await connection.execute("DEALLOCATE look")
        await connection.execute("RESET plan_cache_mode")
    assert "Seq Scan" not in plan, plan
    assert plan.count("outbox_xid") == 2, plan
