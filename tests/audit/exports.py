"""Exports made without the system: plain files, as the standard says that they are."""

from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from amana.audit.checkpoint import Signer

ORIGIN = "amana.test/audit"
STREAM = "transactions"


def signer(seed: int = 1, stream: str = STREAM) -> Signer:
    return Signer(f"{ORIGIN}/{stream}", Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def leaf(body: bytes) -> bytes:
    return sha256(b"\x00" + body).digest()


def root(hashes: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, slowly."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + root(hashes[:k]) + root(hashes[k:])).digest()


def write_export(
    folder: Path, bodies: list[bytes], sizes: list[int], seed: int = 1, signers: dict[int, int] | None = None
) -> list[str]:
    """The export of a log that was signed at `sizes`; the notes. `signers` has other keys' seeds, by size."""
    stream = folder / STREAM
    (folder / "eligibility").mkdir(parents=True, exist_ok=True)
    hashes = [leaf(body) for body in bodies]
    level, row = 0, hashes
    while row:
        _tiles(stream / "tile" / str(level), row)
        row = [root(row[at : at + 256]) for at in range(0, len(row) - 255, 256)]
        level += 1
    _tiles(stream / "tile" / "entries", [len(body).to_bytes(2, "big") + body for body in bodies])
    notes = [signer((signers or {}).get(size, seed)).sign(size, root(hashes[:size])) for size in sizes]
    (stream / "checkpoints").write_text("".join(f"{note}\n" for note in notes), encoding="utf-8")
    (stream / "checkpoint").write_text(notes[-1], encoding="utf-8")
    return notes


def _tiles(folder: Path, parts: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-len(parts) // 256)):
        run = parts[number * 256 : (number + 1) * 256]
        file = folder / f"{number:03d}" if len(run) == 256 else folder / f"{number:03d}.p" / str(len(run))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"".join(run))
