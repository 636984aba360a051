"""The independent witness: it cosigns only a log that grows, whoever asks, how often, and whenever it is killed."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.audit.test_service import serving
from typer.testing import CliRunner

from amana.audit.checkpoint import Signer, encode_base64
from amana.audit.cosignature import cosigned
from amana.audit.merkle import Tree, consistency_ranges
from amana.audit.places import CustodyError
from amana.audit.witnessing.adding import Answer, Witness
from amana.audit.witnessing.folder import WitnessFolder, make_folder
from amana.audit.witnessing.http import BODY_MAX_BYTES, build
from amana.cli import app
from amana.infra.http import HttpClient, UpstreamUnavailable

NAME = "witness.test/w1"
SIGNER = Signer("amana.test/audit/transactions", Ed25519PrivateKey.from_private_bytes(bytes(32)))
THIEF = Signer("amana.test/audit/transactions", Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)))
STRANGER = Signer("amana.test/other", Ed25519PrivateKey.from_private_bytes(bytes(32)))
LEAVES = [sha256(b"leaf %d" % at).digest() for at in range(400)]
OTHERS = [*LEAVES[:50], *(sha256(b"other %d" % at).digest() for at in range(350))]


def root(leaves: Sequence[bytes]) -> bytes:
    tree = Tree()
    tree.append(leaves)
    return tree.root()


def proof(old: int, new: int, leaves: Sequence[bytes] = LEAVES) -> list[bytes]:
    return [root(leaves[start:stop]) for start, stop in consistency_ranges(old, new)] if 0 < old < new else []


def asked(old: int, new: int, leaves: Sequence[bytes] = LEAVES, signer: Signer = SIGNER) -> bytes:
    """A request to cosign the first `new` leaves, with the proof from `old` on."""
    return put_together(old, proof(old, new, leaves), signer.sign(new, root(leaves[:new])))


def put_together(old: object, hashes: Sequence[bytes], note: str) -> bytes:
    return "\n".join([f"old {old}", *map(encode_base64, hashes), "", note]).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A witness's folder that knows the log."""
    made = tmp_path / "witness"
    make_folder(made, NAME)
    (made / "logs").write_text(f"# ours\n\n{SIGNER.key}\n")
    return made


def witness(folder: Path) -> Witness:
    """The witness as it is after a start."""
    return Witness(WitnessFolder(folder))


def is_cosigned(folder: Path, answer: Answer, note: str) -> bool:
    return answer.status == 200 and cosigned(note + answer.body, WitnessFolder(folder).key) is not None


async def test_a_log_that_grows_is_cosigned(folder: Path) -> None:
    one, old = witness(folder), 0
    for size in (0, 1, 5, 8, 255, 256, 400):
        note = SIGNER.sign(size, root(LEAVES[:size]))
        answer = await one.add(put_together(old, proof(old, size), note))
        assert is_cosigned(folder, answer, note), (size, answer)
        old = size
    newest = WitnessFolder(folder).newest(SIGNER.key.name)
    assert newest is not None and newest.size == 400


# Checkpoints and a proof that implementations of witnesses test themselves with.
MONKEYS = "monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT"
FIVE = (
    "monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n"
    "— monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=\n"
)
EIGHT = (
    "monkeys\n8\nV8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=\n\n"
    "— monkeys 202ffoUEboiQYpHzICeaFmoy3RNviHTpAxYrq/eO4QQVQMvu9UebKBMX2MJC76NLthZaKsnKbCA8GxrjePZhvDCH7Ag=\n"
)
FROM_FIVE = [
    bytes.fromhex("b9e1d62618f7fee8034e4c5010f727ab24d8e4705cb296c374bf2025a87a10d2"),
    bytes.fromhex("aac66cd7a79ce4012d80762fe8eec3a77f22d1ca4145c3f4cee022e7efcd599d"),
    bytes.fromhex("89d0f753f66a290c483b39cd5e9eafb12021293395fad3d4a2ad053cfbcfdc9e"),
    bytes.fromhex("29e40bb79c966f4c6fe96aff6f30acfce5f3e8d84c02215175d6e018a5dee833"),
]


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        (FIVE, put_together(5, FROM_FIVE, EIGHT), 200),
        (FIVE, put_together(5, [], FIVE), 200),
        (FIVE, put_together(2, FROM_FIVE, EIGHT), 409),
        (FIVE, put_together(0, [], EIGHT), 409),
        (EIGHT, put_together(8, FROM_FIVE, FIVE), 400),
        (EIGHT, put_together(5, FROM_FIVE, EIGHT), 409),
        (FIVE, put_together(5, [], EIGHT), 422),
        (FIVE, put_together(5, FROM_FIVE[:3], EIGHT), 422),
        (FIVE, put_together(5, [*FROM_FIVE, FROM_FIVE[0]], EIGHT), 422),
        (FIVE, put_together(5, FROM_FIVE[::-1], EIGHT), 422),
        (FIVE, put_together(5, [bytes(2)] * 4, EIGHT), 400),
        (None, put_together(0, FROM_FIVE, FIVE), 422),
        (None, put_together(0, [bytes(2)], FIVE), 400),
    ],
)
async def test_the_published_cases_are_answered_as_the_specification_says(
    folder: Path, first: str | None, then: bytes, status: int
) -> None:
    (folder / "logs").write_text(f"{MONKEYS}\n")
    one = witness(folder)
    if first:
        assert (await one.add(put_together(0, [], first))).status == 200
    assert (await one.add(then)).status == status


async def test_another_history_is_refused_and_the_first_one_goes_on(folder: Path) -> None:
    one = witness(folder)
    await one.add(asked(0, 100))
    assert (await one.add(asked(100, 200, OTHERS))).status == 422
    assert (await one.add(put_together(100, [], SIGNER.sign(100, root(OTHERS[:100]))))).status == 422
    assert (await one.add(asked(100, 200))).status == 200
    empty = put_together(0, [], SIGNER.sign(0, bytes(32)))
    assert (await witness_of_nothing(folder).add(empty)).status == 422


def witness_of_nothing(folder: Path) -> Witness:
    for file in (folder / "state").iterdir():
        file.unlink()
    return witness(folder)


async def test_a_smaller_log_is_told_what_was_seen(folder: Path) -> None:
    one = witness(folder)
    await one.add(asked(0, 200))
    for request in (asked(0, 100), asked(50, 100), asked(0, 300), asked(199, 300)):
        assert await one.add(request) == Answer(409, "200\n", "text/x.tlog.size")
    assert (await one.add(put_together(200, [], SIGNER.sign(100, root(LEAVES[:100]))))).status == 400


async def test_whom_it_does_not_know_it_does_not_sign(folder: Path) -> None:
    one = witness(folder)
    assert (await one.add(asked(0, 5, signer=STRANGER))).status == 404
    assert (await one.add(asked(0, 5, signer=THIEF))).status == 403
    ours, theirs = (SIGNER.sign(size, root(LEAVES[:size])) for size in (5, 6))
    forged = ours.partition("\n\n")[0] + "\n\n" + theirs.partition("\n\n")[2]
    assert (await one.add(put_together(0, [], forged))).status == 403
    assert (await one.add(put_together(0, [], ours + THIEF.sign(5, root(LEAVES[:5])).split("\n\n")[1]))).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        b"old 0",
        b"old 0\n\n",
        b"old 0\n\nhello\n",
        asked(0, 5)[4:],
        asked(0, 5).replace(b"old 0", b"old -1"),
        asked(0, 5).replace(b"old 0", b"old 00"),
        asked(0, 5).replace(b"old 0", b"old 0 "),
        asked(0, 5).replace(b"old 0", b"old 99999999999999999999"),
        asked(0, 5).replace(b"old 0", b"OLD 0"),
        asked(0, 5)[:-1],
        asked(0, 5).replace(b"\n", b"\r\n"),
        put_together(1, [bytes(32)] * 64, SIGNER.sign(5, root(LEAVES[:5]))),
        put_together(1, [bytes(31)], SIGNER.sign(5, root(LEAVES[:5]))),
        asked(1, 5).replace(b"=\n", b"\n", 1),
    ],
)
async def test_what_is_no_request_is_refused(folder: Path, body: bytes) -> None:
    assert (await witness(folder).add(body)).status == 400
    assert WitnessFolder(folder).newest(SIGNER.key.name) is None


async def test_many_who_ask_at_once_are_one_history(folder: Path) -> None:
    one = witness(folder)
    await one.add(asked(0, 10))
    answers = await asyncio.gather(*(one.add(asked(10, size)) for size in range(11, 31)))
    assert [answer.status for answer in answers].count(200) == 1
    newest = WitnessFolder(folder).newest(SIGNER.key.name)
    assert newest is not None and newest.size == 11 + [answer.status for answer in answers].index(200)
    assert {answer.body for answer in answers if answer.status == 409} == {f"{newest.size}\n"}


async def test_two_histories_at_once_are_never_both_signed(folder: Path) -> None:
    for _ in range(5):
        one = witness_of_nothing(folder)
        both = await asyncio.gather(one.add(asked(0, 100)), one.add(asked(0, 100, OTHERS)))
        assert sorted(answer.status for answer in both) == [200, 409]


async def test_killed_before_it_answered_it_says_what_it_has_seen_and_signs_that_again(folder: Path) -> None:
    await witness(folder).add(asked(0, 100))  # and nobody got the answer
    after = witness(folder)
    assert await after.add(asked(0, 100)) == Answer(409, "100\n", "text/x.tlog.size")
    note = SIGNER.sign(100, root(LEAVES[:100]))
    assert is_cosigned(folder, await after.add(put_together(100, [], note)), note)
    assert (await after.add(put_together(100, [], SIGNER.sign(100, root(OTHERS[:100]))))).status == 422


async def test_a_state_that_was_cut_short_was_never_in_force(folder: Path) -> None:
    await witness(folder).add(asked(0, 100))
    file = next((folder / "state").iterdir())
    file.with_suffix(".new").write_text("amana.test/audit/transactions\n2")
    assert (await witness(folder).add(asked(100, 200))).status == 200


async def test_without_its_state_it_signs_nothing(folder: Path) -> None:
    await witness(folder).add(asked(0, 100))
    file = next((folder / "state").iterdir())
    file.write_text("rubbish")
    async with serving(build(witness(folder))) as url, HttpClient() as client:
        reply = await client.request("POST", f"{url}/add-checkpoint", body=asked(0, 5), timeout_ms=5_000)
        assert reply.status == 500
    file.unlink()
    file.parent.rmdir()
    with pytest.raises(CustodyError, match="must not go on under its name"):
        WitnessFolder(folder)


def test_a_folder_is_one_witness_in_one_process(folder: Path, tmp_path: Path) -> None:
    held, again = WitnessFolder(folder).held(), WitnessFolder(folder).held()
    with held, pytest.raises(CustodyError, match="another witness works on"), again:
        raise AssertionError("held twice")
    with pytest.raises(CustodyError, match="is not empty"):
        make_folder(folder, NAME)
    with pytest.raises(CustodyError, match="not a name for a witness"):
        make_folder(tmp_path / "other", "a witness")
    assert (folder / "witness.key").stat().st_mode & 0o777 == 0o600
    (folder / "logs").write_text(f"{WitnessFolder(folder).key}\n")
    with pytest.raises(CustodyError, match="not an Ed25519 verifier key"):
        WitnessFolder(folder)


async def test_over_http_it_answers_as_the_specification_says(folder: Path) -> None:
    async with serving(build(witness(folder))) as url, HttpClient() as client:

        async def post(body: bytes) -> tuple[int, str, str]:
            reply = await client.request("POST", f"{url}/add-checkpoint", body=body, timeout_ms=5_000)
            return reply.status, reply.headers["content-type"].partition(";")[0], reply.body.decode()

        status, kind, line = await post(asked(0, 100))
        assert (status, kind) == (200, "text/plain") and line.startswith(f"— {NAME} ") and line.endswith("\n")
        assert await post(asked(0, 200)) == (409, "text/x.tlog.size", "100\n")
        assert (await post(asked(100, 200, OTHERS)))[0] == 422
        assert (await post(b"x" * (BODY_MAX_BYTES + 1)))[0] == 413
        reply = await client.request("GET", f"{url}/add-checkpoint", timeout_ms=5_000)
        assert reply.status == 405


def test_the_command_line_makes_a_witness_and_shows_its_key(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["audit", "witness", "init", str(tmp_path / "w"), NAME])
    assert made.exit_code == 0 and made.stdout.startswith(f"{NAME}+")
    again = CliRunner().invoke(app, ["audit", "witness", "init", str(tmp_path / "w"), NAME])
    assert again.exit_code == 2 and "is not empty" in again.output
    nothing = CliRunner().invoke(app, ["audit", "witness", "serve", str(tmp_path / "nothing")])
    assert nothing.exit_code == 2


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """The witness as a process: its URL and its process id."""
    command = "from amana.cli import app; app()"
    words = ("audit", "witness", "serve", str(folder), "--port", "0")
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", command, *words, stdout=PIPE, stderr=PIPE)
    assert started.stdout is not None
    try:
        said = await started.stdout.readline()
        while b"listens at" not in said:
            assert said, "the witness did not start"
            said = await started.stdout.readline()
        yield said.decode().split()[-1], started.pid
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def test_killed_while_it_is_asked_it_never_goes_back(folder: Path) -> None:
    """Whatever was answered before is known after, and no other history is signed."""
    answered = 1
    for _ in range(2):
        async with process(folder) as (url, pid), HttpClient() as client:

            async def post(body: bytes, url: str = url, client: HttpClient = client) -> tuple[int, str]:
                reply = await client.request("POST", f"{url}/add-checkpoint", body=body, timeout_ms=5_000)
                return reply.status, reply.body.decode()

            status, said = await post(asked(0, 1))
            known = 1 if status == 200 else int(said)
            assert known >= answered
            assert (await post(asked(known, known + 60, OTHERS[50:])))[0] == 422
            for size in range(known + 1, known + 20):
                assert (await post(asked(size - 1, size)))[0] == 200
            answered = known + 19
            under_way = [asyncio.create_task(post(asked(answered, answered + more))) for more in (1, 2, 3)]
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGKILL)
            for ended in await asyncio.gather(*under_way, return_exceptions=True):
                assert ended[0] in (200, 409) if isinstance(ended, tuple) else isinstance(ended, UpstreamUnavailable)
    newest = WitnessFolder(folder).newest(SIGNER.key.name)
    assert newest is not None and newest.size >= answered
    assert newest.root == root(LEAVES[: newest.size])
