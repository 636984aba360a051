"""The routes with which operators look after a service's consumer; the application puts it into `state.consumer`.

Letters hold events of every tenant, so only the platform's own key may see them.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from litestar import get, post
from litestar.datastructures import State
from litestar.params import Parameter, QueryParameter
from litestar.types import ControllerRouterHandler

from amana.domain.reasons import Reason
from amana.infra.consuming.letters import Redriven, Refusal
from amana.infra.consuming.planning import State as LetterState
from amana.infra.consuming.runtime import Runtime
from amana.infra.consuming.store import KeptLetter
from amana.infra.postgres import reading
from amana.wire.common import PAGE_SIZE_DEFAULT
from amana.wire.consuming import (
    ConsumedStream,
    ConsumerStatus,
    FailedLetter,
    LetterCount,
    LetterPage,
    LetterView,
    RedriveRequest,
    RedriveResult,
)
from amana.wire.problems import FieldError, Refused

LETTERS_PAGE_MAX = 200
OneState = Literal["dead", "parked", "waiting", "done", "discarded"]


@get("/v1/consumers", opt={"scope": "internal"}, tags=["Internal"])
async def get_consumer(state: State) -> ConsumerStatus:
    """How far the service's consumer is in each stream, and what it could not handle."""
    runtime: Runtime = state.consumer
    async with reading(runtime.taker.pool) as connection:
        progress = await runtime.taker.store.progress(connection)
        counts = await runtime.taker.store.count_letters(connection)
    return ConsumerStatus(
        consumer=runtime.name,
        streams=[
            ConsumedStream(stream=row.stream, below=row.below, ahead=row.ahead, advanced_at=row.advanced_at)
            for row in progress
        ],
        letters=[LetterCount(state=key, letters=letters, keys=keys) for key, (letters, keys) in sorted(counts.items())],
    )


@get("/v1/dead-letters", opt={"scope": "internal"}, tags=["Internal"])
async def list_letters(
    state: State,
    letter_state: Annotated[OneState | None, QueryParameter(name="state", description="Of which state.")] = None,
    key: Annotated[str | None, Parameter(max_length=200, description="Of which key: an aggregate's id.")] = None,
    after: Annotated[int, Parameter(ge=0, le=2**53 - 1)] = 0,
    limit: Annotated[int, Parameter(ge=1, le=LETTERS_PAGE_MAX)] = PAGE_SIZE_DEFAULT,
) -> LetterPage:
    """Messages that the consumer keeps: dead, parked behind a dead one, waiting for a gap, done, discarded."""
    runtime: Runtime = state.consumer
    wanted = None if letter_state is None else LetterState(letter_state)
    async with reading(runtime.taker.pool) as connection:
        found = await runtime.taker.store.letters(
            connection, after, wanted, None if key is None else key.encode(), limit
        )
    return LetterPage(letters=[_view(kept) for kept in found], next=found[-1].letter if len(found) == limit else None)


@post("/v1/dead-letters:redrive", opt={"scope": "internal"}, status_code=200, tags=["Internal"])
async def redrive(state: State, data: RedriveRequest) -> RedriveResult:
    """Handle letters again, in order, or give one up. A letter behind another of its key is refused: `behind`."""
    runtime: Runtime = state.consumer
    if [data.letter is not None, data.key is not None, data.all].count(True) != 1:
        raise _invalid("", "one_of", "Exactly one of letter, key and all.")
    if data.discard and data.letter is None:
        raise _invalid("/discard", "needs_letter", "Only a single letter is given up.")
    letters = runtime.letters
    if data.letter is not None:
        outcome = await (letters.discard if data.discard else letters.redrive)(data.letter)
        return _result(outcome)
    if data.key is not None:
        return _result(await letters.redrive_key(data.key.encode()))
    return _result(await letters.redrive_all(data.after))


CONSUMER_ROUTES: Sequence[ControllerRouterHandler] = (get_consumer, list_letters, redrive)


def _invalid(pointer: str, code: str, detail: str) -> Refused:
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, code, detail)])


def _result(outcome: Redriven | Refusal) -> RedriveResult:
    if isinstance(outcome, Redriven):
        failed = [FailedLetter(letter=one.letter, reason=one.reason, error=one.error) for one in outcome.failed]
        return RedriveResult(done=outcome.done, failed=failed, more=outcome.more, after=outcome.last)
    if outcome.reason == "settled":
        return RedriveResult(done=0, failed=[], more=False, after=0, replayed=True)
    if outcome.behind is None:
        raise Refused(Reason.NOT_FOUND, "No such letter.")
    raise Refused(
        Reason.LETTER_BEHIND, f"It stands behind letter {outcome.behind}.", figures={"letter": outcome.behind}
    )


def _view(kept: KeptLetter) -> LetterView:
    assert kept.kept_at is not None, "a listed letter has its time"
    message = kept.message
    named = message.headers.get("type")
    return LetterView(
        letter=kept.letter,
        state=kept.state,
        reason=kept.reason,
        error=kept.error,
        attempts=kept.attempts,
        key=message.key.decode("utf-8", "replace"),
        stream=kept.place.stream if kept.place else None,
        position=kept.place.position if kept.place else None,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        type=None if named is None else named.decode("ascii", "replace"),
        kept_at=kept.kept_at,
        settled_at=kept.settled_at,
        value=message.value,
    )
