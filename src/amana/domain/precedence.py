"""The order in which causes of refusal are tried: whatever two meet, the earlier one is the answer.

The one public table of precedence for everything that moves money. `docs/reference/precedence.md` is made from it, and
a test holds `transfer_commands`, `resolving` and `posting` of this package to it, pair by pair.
"""

from typing import NamedTuple

from amana.domain.reasons import Reason

KINDS = ("post", "hold", "capture", "forced capture", "void", "reverse")
EVERY = frozenset(KINDS)
_ON_ACCOUNTS = frozenset({"post", "hold"})
_ON_HOLDS = frozenset({"capture", "forced capture", "void"})
_CAPTURES = frozenset({"capture", "forced capture"})
_REVERSE = frozenset({"reverse"})
_FREE = frozenset({"post", "hold", "reverse"})
"""What no hold has reserved for: limits and floors are held against it."""
_LATE = _FREE | {"forced capture"}
"""What adds to counters and was not reserved before."""


class Cause(NamedTuple):
    """One cause: the kinds of orders that it may refuse, the account it looks at, and the figures that it gives."""

    reason: Reason
    kinds: frozenset[str]
    side: str
    """`debit`, `credit`, or empty where it is about neither account alone."""
    figures: str
    when: str


def _of_account(side: str) -> tuple[Cause, ...]:
    """Whatever is wrong with the debit account is said before anything of the credit account."""
    stops = "It is frozen." if side == "debit" else "It is frozen for everything, not for debits alone."
    return (
        Cause(Reason.ACCOUNT_RESERVED, _ON_ACCOUNTS, side, "account", "It moves only with its loan or credit line."),
        Cause(Reason.CURRENCY_MISMATCH, _ON_ACCOUNTS, side, "account account_currency", "It has another currency."),
        Cause(Reason.ACCOUNT_CLOSED, _LATE, side, "account", "It is closed."),
        Cause(Reason.ACCOUNT_FROZEN, _LATE | _CAPTURES, side, "account frozen_for", stops),
    )


PRECEDENCE: tuple[Cause, ...] = (
    Cause(Reason.ID_CONFLICT, EVERY, "", "field", "The id was used before, with another value of the named field."),
    Cause(
        Reason.ID_SHARD_MISMATCH,
        EVERY,
        "",
        "id beside",
        "The id is not in the ledger shard of its debit account, its hold or its original.",
    ),
    Cause(Reason.HOLD_NOT_FOUND, _ON_HOLDS, "", "hold", "There is no such hold."),
    Cause(Reason.HOLD_CAPTURED, _ON_HOLDS, "", "hold captured", "It was captured to its end."),
    Cause(Reason.HOLD_VOIDED, _ON_HOLDS, "", "hold", "It was voided."),
    Cause(Reason.HOLD_EXPIRED, frozenset({"capture", "void"}), "", "hold expires_at", "Its time is over."),
    Cause(Reason.EXCEEDS_HOLD, _CAPTURES, "", "remaining requested", "More than what was not captured yet."),
    Cause(Reason.ORIGINAL_NOT_FOUND, _REVERSE, "", "original", "There is no such transfer."),
    Cause(Reason.SAME_ACCOUNT, _ON_ACCOUNTS, "", "account", "Debit and credit account are one."),
    Cause(Reason.ORIGINAL_NOT_POSTED, _REVERSE, "", "original kind", "It is a hold, a void or an expiry."),
    Cause(Reason.ORIGINAL_IS_REVERSAL, _REVERSE, "", "original", "It is a reversal itself."),
    Cause(Reason.ORIGINAL_RESERVED, _REVERSE, "", "command", "It is a leg of a loan or repayment."),
    Cause(Reason.ACCOUNT_NOT_FOUND, _ON_ACCOUNTS, "debit", "account", "There is no such account."),
    Cause(Reason.ACCOUNT_NOT_FOUND, _ON_ACCOUNTS, "credit", "account", "There is no such account."),
    *_of_account("debit"),
    *_of_account("credit"),
    Cause(Reason.EXCEEDS_ORIGINAL, _REVERSE, "", "remaining requested", "More than what was not reversed yet."),
    Cause(Reason.BALANCE_OVERFLOW, _LATE, "debit", "account headroom requested", "Its debits would pass 2^53 - 1."),
    Cause(Reason.BALANCE_OVERFLOW, _LATE, "credit", "account headroom requested", "Its credits would pass 2^53 - 1."),
    Cause(
        Reason.NOTHING_AVAILABLE,
        frozenset({"post"}),
        "",
        "available requested",
        "It is `balancing`, and a side that bounds it leaves nothing.",
    ),
    Cause(
        Reason.LIMIT_EXCEEDED,
        _FREE,
        "debit",
        "headroom requested",
        "Its debits less credits, holds included, would pass its credit limit.",
    ),
    Cause(
        Reason.INSUFFICIENT_FUNDS,
        _FREE,
        "debit",
        "account available requested",
        "It stands on the credit side, and its balance, holds included, would fall below its floor.",
    ),
    Cause(
        Reason.INSUFFICIENT_FUNDS,
        _FREE,
        "credit",
        "account available requested",
        "It stands on the debit side, and its balance, holds included, would fall below its floor.",
    ),
    Cause(
        Reason.LINKED_FAILED,
        EVERY,
        "",
        "cause failed",
        "Another member of its linked group was refused: the first of them names its cause, all others say this.",
    ),
)
