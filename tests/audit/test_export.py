"""Exports of a real log: what the standard says a log is, gone on with, added to, and verified without the database."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.audit.exports import write_export
from tests.audit.logs import STREAM, Log, body
from typer.testing import CliRunner

from amana.audit import ahead
from amana.audit.custody import Custody
from amana.audit.export import LeafMissing, NotAnExport, run_export
from amana.audit.findings import Kind, VerifyReport
from amana.audit.key_file import rotations_file
from amana.audit.offline import verify_export
from amana.audit.rotation import rotate_key
from amana.cli import app
from amana.infra.settings import to_environ

FORGED = "UPDATE audit.leaves SET bytes = replace(encode(bytes, 'escape'), '5000', '4000')::bytea WHERE position = 123"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def verify(log: Log, folder: Path) -> VerifyReport:
    return await verify_export(folder, [str(log.signer.key)], [log.kept.path])


async def test_an_export_is_the_log_as_the_standard_has_it(log: Log, tmp_path: Path) -> None:
    await log.sealed(1, 256, 300, 600)
    await log.receive(600, 601)  # which no checkpoint covers yet
    exported = await run_export(log.settings, tmp_path / "export")
    assert exported.leaves == {"eligibility": 0, STREAM: 600, "notifications": 0, "accesses": 0}
    write_export(tmp_path / "plain", [body(at) for at in range(600)], [1, 256, 300, 600])
    found, plain = files_in(tmp_path / "export" / STREAM), files_in(tmp_path / "plain" / STREAM)
    tiles = {path: content for path, content in plain.items() if path.startswith("tile/")}
    assert {path: content for path, content in found.items() if path.startswith("tile/")} == tiles
    assert found["checkpoints"].decode() == "".join(f"{note}\n" for note in log.kept.notes())
    assert found["checkpoint"].decode() == [*log.kept.notes()][-1]
    assert exported.bytes == sum(map(len, files_in(tmp_path / "export").values()))
    assert (await verify(log, tmp_path / "export")).ok


async def test_an_export_is_added_to_and_never_written_again(log: Log, tmp_path: Path) -> None:
    await log.sealed(300)
    first = await run_export(log.settings, tmp_path / "export")
    again = await run_export(log.settings, tmp_path / "export")
    assert (first.files, first.leaves) == (again.files, again.leaves)
    before = files_in(tmp_path / "export" / STREAM)
    await log.receive(*range(300, 900))
    await log.new_sealer().seal()
    await run_export(log.settings, tmp_path / "export")
    after = files_in(tmp_path / "export" / STREAM)
    whole = {path for path in before if path.startswith("tile/") and ".p/" not in path}
    assert {path: before[path] for path in whole} == {path: after[path] for path in whole}
    await run_export(log.settings, tmp_path / "whole")
    assert after == files_in(tmp_path / "whole" / STREAM)
    assert (await verify(log, tmp_path / "export")).ok


def broken_off(folder: Path) -> Iterator[Path]:
    """An export after each number of files that it had written, as if killed then."""
    whole = sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_mtime_ns)
    for count in range(2, len(whole)):
        copy = folder.with_name(f"after-{count}")
        for file in whole[:count]:
            place = copy / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
        yield copy


async def test_an_export_that_broke_off_anywhere_goes_on(log: Log, tmp_path: Path) -> None:
    await log.sealed(300, 520)
    await run_export(log.settings, tmp_path / "export")
    expected = files_in(tmp_path / "export")
    for copy in broken_off(tmp_path / "export"):
        await run_export(log.settings, copy)
        assert files_in(copy) == expected


@pytest.mark.parametrize(
    ("position", "kind", "tampering"),
    [
        (123, Kind.ALTERED, FORGED),
        (0, Kind.CHECKPOINT, "DELETE FROM audit.checkpoints WHERE size = 100"),
        (0, Kind.NODE, "UPDATE audit.nodes SET hash = sha256('other')"),
        (90, Kind.TRUNCATED, "DELETE FROM audit.checkpoints WHERE size > 90; DELETE FROM audit.leaves"),
    ],
)
async def test_an_export_of_a_log_that_was_tampered_with_shows_it(
    log: Log, tmp_path: Path, position: int, kind: Kind, tampering: str
) -> None:
    await log.sealed(90, 100, 300)
    await log.tamper(tampering)
    if kind is Kind.TRUNCATED:
        with pytest.raises(LeafMissing, match="leaf 0 is sealed and not there"):
            await run_export(log.settings, tmp_path / "export")
        return
    await run_export(log.settings, tmp_path / "export")
    bad = (await verify(log, tmp_path / "export")).first_bad
    assert bad and bad.kind in (kind, Kind.NODE)


async def test_an_export_of_a_log_that_lost_leaves_is_refused(log: Log, tmp_path: Path) -> None:
    await log.sealed(10, 20)
    await run_export(log.settings, tmp_path / "export")
    await log.tamper("DELETE FROM audit.leaves WHERE position > 9", "DELETE FROM audit.checkpoints WHERE size > 10")
    with pytest.raises(LeafMissing, match="20 leaves were exported, the log has only 10"):
        await run_export(log.settings, tmp_path / "export")


async def test_a_folder_with_something_else_in_it_is_left_alone(log: Log, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(NotAnExport, match="is not empty"):
        await run_export(log.settings, tmp_path / "mine")
    (tmp_path / "mine" / "keys").write_text("other+00000000+key\n")
    with pytest.raises(NotAnExport, match="another log"):
        await run_export(log.settings, tmp_path / "mine")


async def test_the_keys_before_and_after_a_rotation_both_verify_an_export(log: Log, tmp_path: Path) -> None:
    sealer = log.new_sealer()
    await log.receive(0, 1)
    await sealer.seal()
    new = rotate_key(Custody.of(log.settings), datetime(2026, 3, 1, tzinfo=UTC))
    await log.receive(2)
    await sealer.seal()
    await run_export(log.settings, tmp_path / "export")
    for key in (log.signer.key, new[0]):
        assert (await verify_export(tmp_path / "export", [str(key)], [log.kept.path])).ok
    (tmp_path / "export" / "rotations").unlink()
    assert not (await verify_export(tmp_path / "export", [str(log.signer.key)])).ok
    assert rotations_file(Path(log.settings.audit_key_file)).name == "rotations.log"


async def test_a_running_log_is_verified_by_processes_beside_this_one(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WORKERS_FROM_LEAVES", 1)
    monkeypatch.setattr(ahead, "RUN_LEAVES", 256)
    await log.sealed(100, 600, 900)
    report = await log.verify()
    assert report.ok and report.leaves == 900
    await log.tamper("UPDATE audit.leaves SET tenant = 2 WHERE position = 777")
    assert await log.first_bad() == (777, Kind.COLUMNS)
    await log.tamper("DELETE FROM audit.leaves WHERE position = 300")
    assert await log.first_bad() == (300, Kind.MISSING)


async def test_the_commands_export_and_verify_and_say_with_their_exit_code_what_came_of_it(
    log: Log, tmp_path: Path
) -> None:
    import asyncio

    await log.sealed(100, 300)
    folder, key, kept = str(tmp_path / "export"), str(log.signer.key), str(log.kept.path)

    async def command(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(
            CliRunner().invoke, app, ["audit", *arguments], env=to_environ(log.settings), catch_exceptions=False
        )
        return result.exit_code, result.output

    assert (await command("verify", folder, "--key", key))[0] == 2  # not there yet
    code, said = await command("export", folder)
    assert code == 0 and "transactions: 300 leaves" in said and "bytes" in said
    code, said = await command("verify", folder, "--key", key, "--checkpoints", kept)
    assert code == 0 and "held to 2 kept elsewhere" in said and "Nothing is wrong." in said
    assert (await command("verify", folder, "--keys", f"{folder}/keys"))[0] == 0
    code, said = await command("verify", folder)
    assert code == 2 and "a verifier key is needed" in said
    assert (await command("verify", "--key", key))[0] == 2
    assert (await command("verify"))[0] == 0
    code, said = await command("key", "rotate")
    assert code == 0 and said.count("amana.test/audit/") == 4
    code, said = await command("key", "show")
    assert code == 0 and key in said and said.count("amana.test/audit/") == 8
    await log.tamper(FORGED)
    code, said = await command("verify")
    assert code == 1 and "BAD: transactions, leaf 123, altered" in said
    (tmp_path / "export" / STREAM / "tile" / "entries" / "000").unlink()
    code, said = await command("verify", folder, "--key", key)
    assert code == 1 and "BAD: transactions, leaf 0, missing" in said
