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
