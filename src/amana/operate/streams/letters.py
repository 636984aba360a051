"""`amana events dead` and `redrive`: what could not be handled, and handling it again."""

from collections.abc import Mapping
from typing import Any

import msgspec

from amana.operate.streams.client import Services
from amana.wire.consuming import LetterView, RedriveResult

PAGE = 200
REDRIVES_MAX = 1_000
"""Requests of one command; each takes some hundred letters."""


async def listed(services: Services, limit: int, wanted: Mapping[str, str | None]) -> list[LetterView]:
    """Letters by number, at most `limit`; `wanted` are `state` and `key`, where they are not None."""
    given = {name: value for name, value in wanted.items() if value is not None}
    found: list[LetterView] = []
    after: int | None = 0
    while after is not None and len(found) < limit:
        page = await services.letters(after, min(PAGE, limit - len(found)), given)
        found += page.letters
        after = page.next
    return found


async def one(services: Services, letter: int) -> LetterView | None:
    """A letter by its number."""
    page = await services.letters(letter - 1, 1, {})
    return page.letters[0] if page.letters and page.letters[0].letter == letter else None


async def redriven(services: Services, asked: dict[str, Any]) -> RedriveResult:
    """Redrives until there is no more to do; what came of it in all."""
    result = await services.redrive(asked)
    done, failed = result.done, list(result.failed)
    for _ in range(REDRIVES_MAX):
        if not result.more:
            break
        again = {"key": asked["key"]} if "key" in asked else {"all": True, "after": result.after}
        if "letter" in asked:
            break
        result = await services.redrive(again)
        done += result.done
        failed += result.failed
    return RedriveResult(done=done, failed=failed, more=result.more, after=result.after, replayed=result.replayed)


def row(letter: LetterView) -> str:
    """One line."""
    place = f"{letter.stream} {letter.position}" if letter.stream else f"{letter.topic} offset {letter.offset}"
    what = letter.type or "?"
    return (
        f"{letter.letter:>7}  {letter.state:<9} {letter.reason:<20} {what:<21} {place:<24} "
        f"key {letter.key or '-'}  tried {letter.attempts}  {letter.error}"
    ).rstrip()


def whole(letter: LetterView) -> list[str]:
    """Everything about one letter; its bytes last, as text where they are text."""
    told = msgspec.to_builtins(letter, builtin_types=(bytes,))
    value = told.pop("value")
    lines = [f"{name:<11} {'' if shown is None else shown}".rstrip() for name, shown in told.items()]
    return [*lines, f"{'value':<11} {len(value)} bytes:", value.decode("utf-8", "backslashreplace")]


def told(result: RedriveResult, *, discarded: bool) -> list[str]:
    """What a redrive says of itself."""
    if result.replayed:
        return ["it was done or discarded before: nothing happened"]
    head = "the letter was given up; " if discarded else ""
    lines = [f"{head}{result.done} letter{'' if result.done == 1 else 's'} done, {len(result.failed)} failed again"]
    lines += [f"letter {one.letter} failed again: {one.reason}: {one.error}" for one in result.failed]
    if result.more:
        lines.append("there is more: redrive again")
    return lines
