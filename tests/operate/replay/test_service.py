"""A replay from the audit service over HTTP: nothing is believed that the keys do not vouch for."""

from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.audit.exports import signer
from tests.operate.replay.conftest import QUIET, ReadingFrom, Replaying
from tests.operate.replay.test_under_way import kill
from tests.operate.replay.town import Town

from amana.infra.http import UpstreamUnavailable
from amana.infra.settings import Settings
from amana.operate.replay.options import CannotReplay, Options
from amana.operate.replay.run import replay, tell_story
from amana.operate.stack import Stack


@pytest.fixture
async def served(reading_from: ReadingFrom) -> dict[str, Any]:
    """The options that read from the site's audit service."""
    return await reading_from("service")


async def test_an_address_and_keys_are_enough(settings: Settings, served: dict[str, Any]) -> None:
    alone = Settings(internal_key=settings.internal_key, api_key=settings.api_key, ledger_shards=settings.ledger_shards)
    scratch = settings.owner_audit_database_url
    result = await replay(alone, Options(**served, scratch_url=scratch, compare=False), QUIET)
    assert result.ok
    assert result.rebuilt["loans"] > 0
    assert result.log == served["from_audit"]


async def test_a_log_that_was_altered_does_not_come_to_the_signed_root(
    replaying: Replaying, served: dict[str, Any], settings: Settings, town: Town
) -> None:
    flip = "UPDATE audit.leaves SET bytes = replace(convert_from(bytes, 'UTF8'), $1, $2)::bytea"
    flip += " WHERE stream = 'transactions' AND type = 'RepaymentReceived'"
    log = await asyncpg.connect(settings.owner_audit_database_url)
    await log.execute("ALTER TABLE audit.leaves DISABLE TRIGGER USER")
    await log.execute(flip, '"principal_part":50000', '"principal_part":50001')
    try:
        result = await replaying(**served, compare=False)
        for options in (Options(**served), Options()):
            with pytest.raises(CannotReplay, match="transactions: the log is not the one that was signed"):
                await tell_story(settings, options, town.loan, QUIET)
    finally:
        await log.execute(flip, '"principal_part":50001', '"principal_part":50000')
        await log.execute("ALTER TABLE audit.leaves ENABLE TRIGGER USER")
        await log.close()
    assert not result.ok
    assert "signed" in result.differences_of_roots["transactions"]


async def test_a_checkpoint_that_was_kept_holds_the_log(
    replaying: Replaying, reading_from: ReadingFrom, served: dict[str, Any], site: Stack, tmp_path: Path
) -> None:
    seen = (await reading_from("export"))["from_export"] / "transactions" / "checkpoint"
    assert (await replaying(**served, checkpoints=(seen,))).ok
    strange = tmp_path / "strange"
    strange.write_text(signer().sign(5, bytes(32)).replace("amana.test/audit", site.settings.audit_origin))
    with pytest.raises(CannotReplay, match="not signed by"):
        await replaying(**served, checkpoints=(strange,))
    other = tmp_path / "other"
    other.write_text(signer().sign(5, bytes(32)))
    with pytest.raises(CannotReplay, match=r"a checkpoint is of amana.test/audit/transactions, the keys are of"):
        await replaying(**served, checkpoints=(other,))
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(CannotReplay, match=r"--from-audit: .*empty holds no checkpoint"):
        await replaying(**served, checkpoints=(empty,))


async def test_another_key_opens_none_of_its_checkpoints(replaying: Replaying, served: dict[str, Any]) -> None:
    with pytest.raises(CannotReplay, match="not signed by"):
        await replaying(**served | {"keys": (str(signer().key),)})


@pytest.mark.parametrize("name", ["internal_key", "api_key"])
async def test_a_key_that_may_not_read_it_is_named(settings: Settings, served: dict[str, Any], name: str) -> None:
    for key, said in (("", "is not set"), ("amk_nobody", "is no key that may read it")):
        strange = msgspec.structs.replace(settings, **{name: key})
        with pytest.raises(CannotReplay, match=f"AMANA_{name.upper()} {said}"):
            await replay(strange, Options(**served), QUIET)


async def test_a_service_that_is_killed_is_away_and_then_answers_again(
    replaying: Replaying, served: dict[str, Any], site: Stack
) -> None:
    kill(site, "audit")
    try:
        with pytest.raises(UpstreamUnavailable):
            await replaying(**served)
    finally:
        await site.start_service("audit")
    assert (await replaying(**served)).ok


async def test_what_is_no_audit_service_is_said_to_be_none(
    replaying: Replaying, served: dict[str, Any], site: Stack
) -> None:
    with pytest.raises(CannotReplay, match="--from-audit"):
        await replaying(**served | {"from_audit": site.urls["eligibility"]})
