"""Random histories raced through two processes' worth of flows: some order of the model explains every answer.

Requests of one step are sent together; the model tries every order of them, and one must give all answers, and leave
each account after each movement as the service's events say. In the end histories, balances at past instants, single
transfers and reconciliation agree with the model's one list of movements.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test
from tests.property.afterwards import check_afterwards
from tests.property.author import rarely
from tests.property.history import QUIETLY, SEEDS, History, heard, shortest
from tests.property.model import Said
from tests.property.orders import Event, Heard, Terms, find_order, terms_of, told_by_event
from tests.property.world import Unit, World

from amana.infra.settings import Settings

PREFIX = 0xB00C
HISTORIES = 16
STEPS = 40
RACING_MAX = 4
BULK = 150
Step = tuple[tuple[UUID, ...], bool, Sequence[Unit]]
"""Holds whose time is over from now on, whether the sweeper races, and what is sent together."""


class ServiceHistory(History):
    """Races on a database; `run` runs a coroutine to its end."""

    def __init__(self, world: World, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        super().__init__(prefix=PREFIX, shards=world.shards, now=datetime.now(UTC))
        self.world, self.run = world, run
        self.tenant = world.new_tenant()
        self.last_seq = run(world.last_event())
        self.steps: list[Step] = []
        self.failed = False

    @initialize(seed=SEEDS, long=st.sampled_from((False,) * 4 + (True,)))
    def open_accounts(self, seed: int, long: bool) -> None:
        """The cast is there; in some histories two accounts are old already, with marks in their chains."""
        self.random.seed(seed)
        self.play(((), False, [[[request] for request in self.author.opening()]]))
        if long:
            self.play(((), False, [[[request] for request in self.author.bulk(BULK)]]))

    @rule(count=st.integers(1, RACING_MAX), sweep=st.sampled_from((False, False, True)))
    def race(self, count: int, sweep: bool) -> None:
        """Up to four requests at one moment, some of several groups, some after the time of holds ran out."""
        choose = self.random.choice
        late = tuple(id_ for id_ in self.model.expiries if rarely(choose, 5))
        units = [[self.author.write(choose) for _ in range(choose((1, 1, 2)))] for _ in range(count)]
        self.play((late, sweep, units))

    def teardown(self) -> None:
        if not self.failed:
            self._try(check_afterwards(self))
        # Nothing is left behind for another test's sweeper.
        self.run(self.world.race(self.tenant, [], sweep=True))

    def play(self, step: Step) -> None:
        """Sends a step and compares; raises the shortest history that fails."""
        self.steps.append(step)
        self._try(self._step(step))

    def _try(self, what: Coroutine[Any, Any, None]) -> None:
        try:
            self.run(what)
        except Exception as failure:
            self.failed = True
            raise shortest(self.steps, self._replay) or failure from None

    def _replay(self, steps: Sequence[Step]) -> None:
        other = ServiceHistory(self.world, self.run)
        other.author = self.author  # who knows the names
        for step in steps:
            self.run(other._step(step))
        self.run(check_afterwards(other))

    async def _step(self, step: Step) -> None:
        late, sweep, units = step
        for hold in late:
            expires_at = await self.world.backdate(self.tenant, hold)
            if expires_at is not None:
                self.model.expiries[hold] = expires_at
                self.record.append(f"-- the time of {self.author.names[str(hold)]} is over")
        over = self.model.over()
        answers = await self.world.race(self.tenant, units, sweep=sweep)
        self.last_seq, self.model.now, events = await self.world.events_after(self.tenant, self.last_seq)
        told = [[heard(answer) for answer in unit] for unit in answers]
        rows = await self.world.accounts(self.tenant)
        self._explain(units, told, events, terms_of(rows))
        if sweep:
            self.check("holds over before the sweep", [], [id_ for id_ in over if id_ in self.model.over()])
        for id_ in self.model.accounts:
            counters, row = self.model.counters(id_)._asdict(), rows[id_]
            name = self.author.names[str(id_)]
            self.check(f"counters of {name}", counters, {field: row[field] for field in counters})

    def _explain(self, units: Sequence[Unit], told: list[list[Said]], events: Sequence[Event], terms: Terms) -> None:
        """Some order of the units, in which the model says what the service said, and does what its events say."""
        moved = {UUID(event["data"]["transfer"]): event for event in events if "transfer" in event["data"]}
        expired = [event for event in moved.values() if event["type"] == "HoldExpired"]
        self.world.words |= {str(id_) for id_ in moved}
        found = find_order(self.model, expired, range(len(units)), Heard(units, told, moved, terms))
        self.record.append(f"-- {len(units)} at one moment")
        if found is None:
            for unit, said in zip(units, told, strict=True):
                self.remember([request for group in unit for request in group], said)
            self.record += [f"-- {event['type']} {told_by_event(event)}" for event in moved.values()]
            self.record += [f"-- {self.author.names[str(id_)]} {account}" for id_, account in terms.items()]
            self.check("the order that explains these answers and events", "some", "none")
            return
        self.model, order = found
        for at in order:
            answers = iter(told[at])
            for group in units[at]:
                self.remember(group, [next(answers) for _ in group])
        self.check("movements without their event", set(), moved.keys() - {move.id for move in self.model.movements})


@pytest.fixture(params=[1, 8], ids=["one shard", "eight shards"])
def new_history(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Callable[[], ServiceHistory]]:
    """Makes histories; when they are over, reconciliation finds nothing in any of them."""
    with asyncio.Runner() as runner:
        world = runner.run(World.open(settings, request.param))
        yield lambda: ServiceHistory(world, runner.run)
        differences = runner.run(world.differences())
        runner.run(world.close())
    assert differences == []


def test_some_order_of_the_model_explains_what_racing_callers_are_told(
    new_history: Callable[[], ServiceHistory],
) -> None:
    run_state_machine_as_test(
        new_history,  # type: ignore[arg-type]  # whatever makes a machine
        settings=hypothesis_settings(QUIETLY, max_examples=HISTORIES, stateful_step_count=STEPS),
    )


def test_a_hold_of_one_second_is_over_after_it(new_history: Callable[[], ServiceHistory]) -> None:
    history = new_history()
    opening = history.author.opening()
    till, wallet = (history.author.accounts[name] for name in ("till", "wallet"))
    hold = {"kind": "hold", "id": UUID(int=1 << 12), "amount": 5, "currency": "NGN", "code": "transfer", "ttl_s": 1}
    hold |= {"debit_account": till, "credit_account": wallet}
    part, rest = ({"kind": "capture", "id": UUID(int=at << 12), "original": hold["id"]} for at in (2, 3))
    void = {"kind": "void", "id": UUID(int=4 << 12), "original": hold["id"]}
    history.author.names[str(hold["id"])] = "hold"
    for groups in ([[one] for one in opening], [[hold]], [[part | {"amount": 2}]]):
        history.play(((), False, [groups]))
    time.sleep(1.05)  # as long as it lives, and a little
    history.play(((), False, [[[rest]], [[void]]]))
    assert [answer.reason for _, answer in history.model.said.values()][-2:] == ["hold_expired", "hold_expired"]
    history.teardown()
