"""Random histories, sent to the pure domain and to the slow model: every answer, counter, chain and event agrees."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test
from tests.property.commands import command_of
from tests.property.history import QUIETLY, SEEDS, History, heard, shortest
from tests.property.model import Request

from amana.domain.book import Book
from amana.domain.transfer import Key, Notes, Posted, Standing
from amana.domain.transfer_commands import expire_holds

BEGIN = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
TENANT = 7
HISTORIES = 100
STEPS = 50
GROUPS_MAX = 4
"""In one batch."""
WAITS_S = (0,) * 12 + (5, 5, 30, 61, 61, 601, -3)
"""A clock may go back; time on an account does not."""

Step = tuple[int | None, Sequence[Request]]
"""Seconds until its batch, None for one in the batch of the step before; and a group."""


class PureHistory(History):
    """Batches of groups on books that share what a database would keep."""

    shards = 1

    def __init__(self) -> None:
        super().__init__(prefix=TENANT, shards=self.shards, now=BEGIN)
        self.steps: list[Step] = []
        self.book = Book(shards=self.shards, now=BEGIN)
        self.kept_notes: dict[Key, Notes] = {}
        self.last: dict[UUID, UUID] = {}

    @initialize(seed=SEEDS)
    def open_accounts(self, seed: int) -> None:
        """The cast is there."""
        self.random.seed(seed)
        self._play(0, [[request] for request in self.author.opening()])

    @rule(count=st.integers(1, GROUPS_MAX), wait_s=st.sampled_from(WAITS_S))
    def send(self, count: int, wait_s: int) -> None:
        """A batch, after a while."""
        self._play(wait_s, [self.author.write(self.random.choice) for _ in range(count)])

    def _play(self, wait_s: int, groups: Sequence[Sequence[Request]]) -> None:
        self.steps += [(wait_s if group is groups[0] else None, group) for group in groups]
        try:
            self._batch(wait_s, groups)
        except Exception as failure:
            raise shortest(self.steps, self._replay) or failure from None

    def _replay(self, steps: Sequence[Step]) -> None:
        other = type(self)()
        other.author = self.author  # who knows the names
        batches: list[tuple[int, list[Sequence[Request]]]] = []
        for wait_s, group in steps:
            if wait_s is not None or not batches:
                batches.append((wait_s or 0, []))
            batches[-1][1].append(group)
        for wait_s, groups in batches:
            other._batch(wait_s, groups)

    def _batch(self, wait_s: int, groups: Sequence[Sequence[Request]]) -> None:
        self.model.now += timedelta(seconds=wait_s)
        self.record.append(f"-- {wait_s} s later")
        book = self._new_book()
        expire_holds(book)
        for posted in book.posted:
            hold = posted.transfer.hold
            assert hold is not None
            self.record.append(f"-- {self.author.names[str(hold)]} expires")
            self.model.expire(hold, posted.transfer.id)
        self.check("holds that are over", [], self.model.over())
        for group in groups:
            answers = command_of(TENANT, group).run(book)
            expected = self.model.send(group)
            self.remember(group, expected)
            self.check("answers", expected, [heard(answer) for answer in answers])
        self._compare_accounts()
        self._compare_movements(book.posted)
        self._compare_events()

    def _new_book(self) -> Book:
        """A new batch: what was written by the ones before is all that it sees."""
        old = self.book
        self.kept_notes |= dict(old.new_notes)
        self.book = Book(
            shards=self.shards,
            now=self.model.now,
            accounts=old.accounts,
            transfers=old.transfers,
            holds=old.holds,
            reversed_amounts=old.reversed_amounts,
            answers=old.answers,
            notes=dict(self.kept_notes),
        )
        return self.book

    def _compare_accounts(self) -> None:
        for id_, terms in self.model.accounts.items():
            account = self.book.accounts[TENANT, id_]
            name = self.author.names[str(id_)]
            found = (
                account.version,
                account.debits_pending,
                account.debits_posted,
                account.credits_pending,
                account.credits_posted,
            )
            self.check(f"counters of {name}", tuple(self.model.counters(id_)), found)
            fields = ("status", "frozen_for", "credit_limit", "floor")
            self.check(f"terms of {name}", [terms[n] for n in fields], [getattr(account, n) for n in fields])

    def _compare_movements(self, posted: Sequence[Posted]) -> None:
        """In the order of the batch: what moved, and how it left both accounts."""
        moved = self.model.movements[len(self.model.movements) - len(posted) :] if posted else []
        for item, move in zip(posted, moved, strict=True):
            transfer = item.transfer
            expected = (move.id, move.debit, move.credit, move.amount, move.code, move.effective_on, move.at)
            found = (
                transfer.id,
                transfer.debit_account,
                transfer.credit_account,
                transfer.amount,
                transfer.code,
                transfer.effective_on,
                item.posted_at,
            )
            self.check("movement", expected, found)
            self.check("original", move.about, transfer.original)
            for account, standing in ((move.debit, item.debit), (move.credit, item.credit)):
                self._compare_standing(move.id, account, standing)

    def _compare_standing(self, movement: UUID, account: UUID, standing: Standing) -> None:
        entry = next(entry for entry in self.model.entries(account) if entry.movement.id == movement)
        found = (
            standing.version,
            standing.debits_pending,
            standing.debits_posted,
            standing.credits_pending,
            standing.credits_posted,
        )
        self.check("standing", tuple(entry.after), found)
        self.check("transfer before it", self.last.get(account), standing.previous)
        self.last[account] = movement

    def _compare_events(self) -> None:
        """One event for each movement, in their order, and no other with a movement's shape."""
        told = [draft.data.transfer for draft in self.book.drafts if not isinstance(draft.data, dict)]
        self.check("events", sorted(item.transfer.id for item in self.book.posted), sorted(told))


class ShardedHistory(PureHistory):
    """The same with ids that must fall in one of eight shards."""

    shards = 8


def test_the_domain_answers_like_the_model() -> None:
    run_state_machine_as_test(
        PureHistory, settings=settings(QUIETLY, max_examples=HISTORIES, stateful_step_count=STEPS)
    )


def test_the_domain_answers_like_the_model_in_eight_shards() -> None:
    run_state_machine_as_test(
        ShardedHistory, settings=settings(QUIETLY, max_examples=HISTORIES // 4, stateful_step_count=STEPS)
    )
