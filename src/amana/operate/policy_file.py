"""A policy document in a file: what `amana policy validate` finds in it."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from amana.domain.policy import Policy, policy_bytes, policy_hash
from amana.domain.policy_checks import all_faults
from amana.domain.policy_fault import PolicyFault
from amana.gateway.strict import BODY_MAX_BYTES, BodyError, decode_strict


class Validated(NamedTuple):
    """A document's faults, in its order. Its product and hash are known where it has the shape of a policy."""

    faults: list[PolicyFault]
    product: str | None = None
    hash: str | None = None

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return {"ok": not self.faults, **self._asdict(), "faults": msgspec.to_builtins(self.faults)}


def validate(document: bytes) -> Validated:
    """Everything that is wrong with a document: at most the first 20 faults of its shape or, where it has none, all
    that checking finds.
    """
    if len(document) > BODY_MAX_BYTES:
        return Validated([PolicyFault("", "too_large", f"A document has at most {BODY_MAX_BYTES} bytes.")])
    try:
        policy = decode_strict(document, Policy)
    except BodyError as error:
        return Validated([PolicyFault(fault.pointer, fault.code, fault.detail) for fault in error.errors])
    return Validated(list(all_faults(policy)), policy.product, policy_hash(policy_bytes(policy)))


def read_document(path: str) -> bytes:
    """The bytes of a file, one byte more than a document may have at the most. Raises OSError."""
    with Path(path).open("rb") as file:
        return file.read(BODY_MAX_BYTES + 1)
