"""The audit service has its checkpoints cosigned; a verifier who trusts a witness requires that."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.audit.logs import STREAM, Log
from tests.audit.reading import lab, lenders
from tests.audit.test_service import serving, until
from tests.audit.test_witnessing import NAME
from tests.audit.trail import Trail
from typer.testing import CliRunner

from amana.audit import cosigning
from amana.audit.checkpoint import open_note
from amana.audit.cosignature import WitnessKey, cosign, cosigned, with_lines
from amana.audit.cosigning import AGAIN_S, ASK_EVERY_S, AWAY_PAUSE_S, AskedWitness, Cosigner, read_witnesses
from amana.audit.custody import Custody
from amana.audit.export import run_export
from amana.audit.findings import CannotVerify, Kind, VerifyReport
from amana.audit.leaf import LOGS
from amana.audit.offline import verify_export
from amana.audit.places import CustodyError
from amana.audit.verify import run_verify
from amana.audit.witnessing.adding import Witness
from amana.audit.witnessing.folder import WitnessFolder, make_folder
from amana.audit.witnessing.http import build
from amana.cli import app
from amana.infra.http import HttpClient

NOWHERE = "http://127.0.0.1:9"


class Asked:
    """A witness that runs, and knows all streams of a log."""

    def __init__(self, folder: Path, log: Log) -> None:
        self.key = make_folder(folder, NAME)
        keys = [log_key for stream in LOGS for log_key in Custody.of(log.settings).keys(stream).keys]
        (folder / "logs").write_text("".join(f"{key}\n" for key in keys))
        self.folder = WitnessFolder(folder)
        self.witness = Witness(self.folder)
        self.url = NOWHERE

    def line(self, note: str) -> str:
        """Its cosignature of a note, without a look."""
        return cosign(note.partition("\n\n")[0] + "\n", NAME, self.folder.private, 1_790_000_000)


@pytest.fixture
async def asked(log: Log, tmp_path: Path) -> AsyncIterator[Asked]:
    made = Asked(tmp_path / "witness", log)
    async with serving(build(made.witness)) as made.url:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient() as opened:
        yield opened


def cosigner(log: Log, asked: Asked, client: HttpClient) -> Cosigner:
    """As after a start of the service."""
    return Cosigner(AskedWitness(asked.key, asked.url), STREAM, log.store, Custody.of(log.settings), client)


def kept(log: Log) -> list[str]:
    return Custody.of(log.settings).cosigned(STREAM)


async def verify(log: Log, *witnesses: WitnessKey) -> VerifyReport:
    return await run_verify(log.settings, witnesses=[str(each) for each in witnesses])


def fault_of(report: VerifyReport) -> Kind | None:
    return report.first_bad.kind if report.first_bad else None


async def test_each_new_checkpoint_is_cosigned_and_a_verifier_may_require_it(
    log: Log, asked: Asked, client: HttpClient
) -> None:
    asking = cosigner(log, asked, client)
    assert await asking.step() == ASK_EVERY_S and kept(log) == []
    for size in (1, 256, 300):
        await log.sealed(size) if size == 1 else await seal(log, size)
        assert await asking.step() == ASK_EVERY_S
        [note] = kept(log)
        assert open_note(note, log.signer.key).size == size
        assert cosigned(note, asked.key) is not None
    await seal(log, 301)
    report = await verify(log, asked.key)
    assert report.ok, report.told()
    assert f"{STREAM}: {asked.key.label} vouches for 300 leaves at 20" in report.told()
    assert "vouches" not in (await verify(log)).told()


async def seal(log: Log, size: int) -> None:
    """The log grows to so many leaves."""
    start = await log.owner.fetchval("SELECT max(position) + 1 FROM audit.leaves WHERE stream = $1", STREAM)
    await log.receive(*range(start, size))
    assert await log.new_sealer().seal() == size - start


async def test_a_witness_that_has_seen_more_than_it_said_is_asked_from_there(
    log: Log, asked: Asked, client: HttpClient
) -> None:
    await log.sealed(100)
    async with log.store.rows() as rows:
        newest = await rows.newest_checkpoint(STREAM)
    assert newest is not None
    await asked.witness.add(f"old 0\n\n{newest.note}".encode())  # and the answer was lost
    await seal(log, 200)
    asking = cosigner(log, asked, client)
    assert [await asking.step(), await asking.step()] == [AGAIN_S, ASK_EVERY_S]
    assert open_note(kept(log)[0], log.signer.key).size == 200
    assert await cosigner(log, asked, client).step() == ASK_EVERY_S, "a service that starts again goes on from there"


async def test_a_witness_that_is_away_is_in_nobodys_way(log: Log, asked: Asked, client: HttpClient) -> None:
    url, asked.url = asked.url, NOWHERE
    asking = cosigner(log, asked, client)
    await log.sealed(100)
    assert await asking.step() == AWAY_PAUSE_S
    await seal(log, 200)
    assert fault_of(await verify(log)) is None
    assert fault_of(await verify(log, asked.key)) is Kind.COSIGNATURE
    asked.url = url
    assert await cosigner(log, asked, client).step() == ASK_EVERY_S
    assert fault_of(await verify(log, asked.key)) is None


async def test_a_log_that_was_rewritten_is_not_cosigned(log: Log, asked: Asked, client: HttpClient) -> None:
    await log.sealed(100)
    other = log.signer.sign(50, bytes(32))  # what the witness was shown before, signed with the log's own key
    assert (await asked.witness.add(f"old 0\n\n{other}".encode())).status == 200
    asking = cosigner(log, asked, client)
    assert [await asking.step(), await asking.step()] == [AGAIN_S, AWAY_PAUSE_S]
    assert kept(log) == []


async def test_a_log_that_was_cut_off_is_told_by_the_witness(log: Log, asked: Asked, client: HttpClient) -> None:
    await log.sealed(100)
    longer = log.signer.sign(150, bytes(32))
    assert (await asked.witness.add(f"old 0\n\n{longer}".encode())).status == 200
    asking = cosigner(log, asked, client)
    assert [await asking.step(), await asking.step()] == [AGAIN_S, AWAY_PAUSE_S]
    with_lines_of = with_lines(longer, [asked.line(longer)])
    Custody.of(log.settings).keep_cosigned(STREAM, asked.key.key_id(), with_lines_of)
    assert not (await verify(log, asked.key)).ok


async def test_a_split_view_is_found_by_what_the_witness_signed(log: Log, asked: Asked) -> None:
    await log.sealed(100)
    other = log.signer.sign(100, bytes(32))
    Custody.of(log.settings).keep_cosigned(STREAM, asked.key.key_id(), with_lines(other, [asked.line(other)]))
    report = await verify(log, asked.key)
    assert fault_of(report) is Kind.CHECKPOINT
    assert report.first_bad and "of another log" in report.first_bad.detail


async def test_what_no_trusted_witness_signed_does_not_count(log: Log, asked: Asked, tmp_path: Path) -> None:
    await log.sealed(100)
    async with log.store.rows() as rows:
        newest = await rows.newest_checkpoint(STREAM)
    assert newest is not None
    stranger = make_folder(tmp_path / "stranger", NAME)
    custody = Custody.of(log.settings)
    custody.keep_cosigned(STREAM, asked.key.key_id(), with_lines(newest.note, [asked.line(newest.note)]))
    assert fault_of(await verify(log, asked.key)) is None
    assert fault_of(await verify(log, stranger)) is Kind.COSIGNATURE
    assert fault_of(await verify(log, asked.key, stranger)) is Kind.COSIGNATURE
    line = asked.line(newest.note)
    for bad in (line.replace("A", "B", 1), line.replace(NAME, "witness.test/w2")):
        custody.keep_cosigned(STREAM, asked.key.key_id(), newest.note + bad)
        assert fault_of(await verify(log, asked.key)) is Kind.COSIGNATURE
    with pytest.raises(CannotVerify, match="not a key for Ed25519 cosignatures"):
        await run_verify(log.settings, witnesses=[str(log.signer.key)])


async def test_an_export_is_verified_offline_with_what_witnesses_signed(
    log: Log, asked: Asked, client: HttpClient, tmp_path: Path
) -> None:
    await log.sealed(100)
    assert await cosigner(log, asked, client).step() == ASK_EVERY_S
    await seal(log, 120)
    export = tmp_path / "export"
    await run_export(log.settings, export)

    async def offline(*checkpoints: Path) -> VerifyReport:
        return await verify_export(export, [str(log.signer.key)], checkpoints, witnesses=[str(asked.key)])

    report = await offline()
    assert report.ok and "vouches for 100 leaves" in report.told()
    words = ["audit", "verify", str(export), "--key", str(log.signer.key), "--witness-key", str(asked.key)]
    told = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert told.exit_code == 0 and "vouches for 100 leaves" in told.output
    file = export / STREAM / "cosigned"
    apart = tmp_path / "kept"
    apart.write_bytes(file.read_bytes())
    for content in (b"", b"\xff", file.read_bytes().replace(b"100", b"101")):
        file.write_bytes(content)
        assert fault_of(await offline()) is Kind.COSIGNATURE
    assert (await asyncio.to_thread(CliRunner().invoke, app, words)).exit_code == 1
    assert (await offline(apart)).ok, "somebody kept what the witness signed"


async def test_the_service_has_its_checkpoints_cosigned_and_shows_that(
    log: Log, asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cosigning, "ASK_EVERY_S", 0.1)
    file = tmp_path / "witnesses"
    file.write_text(f"# w1\n{asked.key} {asked.url}/\n")
    settings = msgspec.structs.replace(log.settings, audit_witness_file=str(file))
    async with lab(settings, await lenders(settings), Trail(5, {"eligibility": 40}).bodies) as served:
        reader = await served.reader()

        async def newest_is_cosigned() -> bool:
            newest = await reader.ok("checkpoints/latest?stream=eligibility")
            return bool(newest["cosigned"]) and newest["cosigned"][0].startswith(newest["note"])

        await until(newest_is_cosigned)
        note = (await reader.reply("log/eligibility/checkpoint")).body.decode()
        assert cosigned(note, asked.key) is not None
        reply = await served.client.request("GET", f"{served.url}/metrics", timeout_ms=5_000)
        assert f'amana_audit_cosigned_leaves{{stream="eligibility",witness="{NAME}"}} 40.0' in reply.body.decode()


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["{key}"], "no URL of a witness"),
        (["{key} ftp://witness.test"], "no URL of a witness"),
        (["{key}x http://witness.test"], "base64|not a key"),
        (["witness.test/w1 http://witness.test"], "a witness key is name"),
        (["{key} http://witness.test"] * 101, "more than 100"),
    ],
)
async def test_what_names_no_witness_is_refused_at_the_start(
    asked: Asked, tmp_path: Path, lines: Sequence[str], match: str
) -> None:
    file = tmp_path / "witnesses"
    file.write_text("\n".join(line.format(key=asked.key) for line in lines))
    with pytest.raises(CustodyError, match=match):
        list(read_witnesses(file))
    with pytest.raises(CustodyError, match="can't be read"):
        list(read_witnesses(tmp_path / "nothing"))
