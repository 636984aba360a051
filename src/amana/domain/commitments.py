"""What an event may carry of free text: a digest that tells nothing without a salt, which is kept apart with the text.

Whoever has text and salt can show that this is what was said; who destroys both has erased it, and the log still holds.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec


def salted_digest(salt: bytes, said: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the salt and the one spelling in JSON of what was said."""
    return sha256(salt + msgspec.json.encode(said, order="deterministic")).hexdigest()


class Words(msgspec.Struct, frozen=True):
    """What a person wrote: who judged (None of an appeal, which is the customer's) and why. Never in events.

    `salt` is 16 random bytes.
    """

    reviewer: str | None
    reason: str
    salt: bytes

    def digest(self) -> str:
        """What events and rows that never change carry of it."""
        return salted_digest(self.salt, {"reason": self.reason, "reviewer": self.reviewer})


def differing_words(asked: Words, first: Words | None) -> str | None:
    """The field in which a second use of an id differs from the first; None where the first's were erased."""
    if first is None:
        return None
    return next((name for name in ("reason", "reviewer") if getattr(asked, name) != getattr(first, name)), None)
