"""A policy: one immutable, versioned JSON document that says who may borrow how much at what price.

Integers only: minor units, basis points, days, seconds. Ranges are `from` (included) to `to` (not included), either of
which may be left out for "without end". The canonical bytes of the document give its hash, its name for ever.

Every rule says what a missing input means. The default is to fail closed. Every list and text has its bound: a document
is checked, compiled and explained on the loop that answers everybody.
"""

from enum import StrEnum
from hashlib import sha256
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from amana.domain.money import MAX_AMOUNT, Currency

END = r"(?![\s\S])"
"""The end of a text in a pattern, in Python and in ECMA 262 (JSON Schema) alike: `$` allows a newline in Python."""

Code: TypeAlias = Annotated[str, Meta(pattern=rf"^[a-z][a-z0-9_]{{0,63}}{END}")]
"""A stable identifier: of a rule, an attribute, a band, a reason."""
ProductCode: TypeAlias = Annotated[str, Meta(pattern=rf"^[a-z][a-z0-9_-]{{0,39}}{END}")]
NetworkCode: TypeAlias = Annotated[str, Meta(pattern=rf"^[a-z0-9][a-z0-9_-]{{0,39}}{END}")]
"""A mobile network, or another channel that a lender lends over: mtn, airtel, glo, 9mobile."""
FactName: TypeAlias = Annotated[str, Meta(max_length=64)]
"""What a document calls a fact; whether there is such a fact is a check of its own."""
Word: TypeAlias = Annotated[str, Meta(max_length=64)]
"""A value of a text fact."""
Money: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_AMOUNT)]
Amount: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]
Bound: TypeAlias = Annotated[int, Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
Points: TypeAlias = Annotated[int, Meta(ge=-10_000, le=10_000)]
BasisPoints: TypeAlias = Annotated[int, Meta(ge=0, le=100_000)]
TermDays: TypeAlias = Annotated[int, Meta(ge=1, le=3_650)]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=500)]


class Outcome(StrEnum):
    """What a decision says. `refer` sends it to a person."""

    APPROVE = "approve"
    REFER = "refer"
    DECLINE = "decline"


class Op(StrEnum):
    """How a rule compares its fact with its value. The rule fails the customer when the comparison holds."""

    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"


class OnMissing(StrEnum):
    """What an unknown fact means to a rule. `skip` passes over it, and the explanation says so."""

    DECLINE = "decline"
    REFER = "refer"
    SKIP = "skip"


class Knockout(StrEnum):
    """What a failed rule leads to."""

    DECLINE = "decline"
    REFER = "refer"


class FeeMode(StrEnum):
    """`added`: the customer gets the amount and owes it and the fee. `deducted`: gets it less the fee, and owes it."""

    ADDED = "added"
    DEDUCTED = "deducted"


class Rounding(StrEnum):
    """How a fee that is no whole number of minor units is rounded."""

    FLOOR = "floor"
    HALF_EVEN = "half_even"


class OnRepaid(StrEnum):
    """What becomes of a booked loan on which something was paid, when its decision is reversed."""

    KEEP = "keep"
    RETURN = "return"


class PrincipalFrom(StrEnum):
    """Where the principal of a loan that is undone comes from.

    `funding`: it never left the lender, or came back (an airtime top-up that failed, a merchant's refund). `wallet`:
    the customer has it, and gives it back from their wallet.
    """

    FUNDING = "funding"
    WALLET = "wallet"


class SystemReason(StrEnum):
    """Reason codes that Amana itself gives, so that every policy that can give one must word it."""

    LENDING_OFF = "lending_off"
    MISSING_INFORMATION = "missing_information"
    AMOUNT_ABOVE_LIMIT = "amount_above_limit"
    AMOUNT_BELOW_MINIMUM = "amount_below_minimum"
    AMOUNT_NOT_OFFERED = "amount_not_offered"
    TERM_NOT_OFFERED = "term_not_offered"
    NETWORK_NOT_SERVED = "network_not_served"


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of a policy document: strict, immutable."""


class Rule(_Document, frozen=True, kw_only=True):
    """A knock-out: when `fact op value` holds, the customer fails it with `reason`. Lowest `precedence` comes first."""

    id: Code
    fact: FactName
    op: Op
    value: bool | Bound | Word | Annotated[tuple[Bound | Word, ...], Meta(max_length=200)]
    reason: Code
    precedence: Annotated[int, Meta(ge=0, le=1_000_000)]
    outcome: Knockout = Knockout.DECLINE
    on_missing: OnMissing = OnMissing.DECLINE
    missing_reason: Code = SystemReason.MISSING_INFORMATION.value


class Bin(_Document, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Points for a range of an integer fact (`from`, `to`) or for listed `values` of a text or boolean fact."""

    points: Points
    from_: Bound | None = None
    to: Bound | None = None
    values: Annotated[tuple[bool | Word, ...], Meta(max_length=64)] = ()


class Attribute(_Document, frozen=True, kw_only=True):
    """A scorecard attribute. `reason` is the factor's code where points were lost, `missing` the points of unknown."""

    id: Code
    fact: FactName
    reason: Code
    missing: Points
    bins: Annotated[tuple[Bin, ...], Meta(min_length=1, max_length=50)]


class Band(_Document, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A range of scores: the most exposure that it allows, and its outcome. Not to approve needs a `reason`."""

    id: Code
    cap: Money
    outcome: Outcome
    from_: Bound | None = None
    to: Bound | None = None
    reason: Code | None = None


class Scorecard(_Document, frozen=True, kw_only=True):
    """Points are `base` plus one bin of each attribute; the sum falls in one band."""

    base: Points
    attributes: Annotated[tuple[Attribute, ...], Meta(min_length=1, max_length=50)]
    bands: Annotated[tuple[Band, ...], Meta(min_length=1, max_length=20)]


class TierCap(_Document, frozen=True, kw_only=True):
    """The most exposure for a KYC tier."""

    tier: Annotated[int, Meta(ge=1, le=3)]
    cap: Money


class Affordability(_Document, frozen=True, kw_only=True):
    """The most exposure as a share of monthly income; `missing_cap` stands in where the income is unknown."""

    income_bps: BasisPoints
    missing_cap: Money


class RepeatStep(_Document, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The most exposure of a customer whose largest repaid principal is in the range."""

    cap: Money
    from_: Bound | None = None
    to: Bound | None = None


class Caps(_Document, frozen=True, kw_only=True):
    """Every cap bounds exposure: principal and fee owed, over all the customer's loans in the currency."""

    product: Money
    kyc: Annotated[tuple[TierCap, ...], Meta(max_length=3)]
    affordability: Affordability | None = None
    repeat: Annotated[tuple[RepeatStep, ...], Meta(max_length=50)] = ()


class Amounts(_Document, frozen=True, kw_only=True):
    """What may be asked for: multiples of `denomination`, or only what is `listed`."""

    minimum: Amount
    maximum: Amount
    denomination: Amount
    listed: Annotated[tuple[Amount, ...], Meta(max_length=200)] = ()


class PriceStep(_Document, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A flat fee for a range of amounts."""

    fee_bps: BasisPoints
    rounding: Rounding
    from_: Bound | None = None
    to: Bound | None = None


class Term(_Document, frozen=True, kw_only=True):
    """The prices of one term."""

    term_days: TermDays
    steps: Annotated[tuple[PriceStep, ...], Meta(min_length=1, max_length=50)]


class PriceTable(_Document, frozen=True, kw_only=True):
    """The price of every term; a check that names no term gets the default."""

    fee_mode: FeeMode
    default_term_days: TermDays
    terms: Annotated[tuple[Term, ...], Meta(min_length=1, max_length=20)]


class Network(_Document, frozen=True, kw_only=True):
    """A network that the product is lent over. `lending` false is its kill switch."""

    id: NetworkCode
    lending: bool


class LoanReversal(_Document, frozen=True, kw_only=True):
    """Until when a booked loan may be undone when its decision is reversed, and how.

    `within_days` counts business dates in Lagos from the loan's own: 0 is that day alone. With `repaid` `return` what
    was paid goes to the customer's wallet; with `keep` a loan on which anything was paid is kept.
    """

    within_days: Annotated[int, Meta(ge=0, le=3_650)]
    repaid: OnRepaid
    principal_from: PrincipalFrom


class Policy(_Document, frozen=True, kw_only=True, omit_defaults=True):
    """The whole document. `lending` false is the kill switch: every check is declined, old loans go on.

    Where `networks` are listed, every check names one of them; else a network means nothing. Without `loan_reversal` a
    booked loan is kept when its decision is reversed. These two have defaults, and are left out of the canonical bytes
    where they say nothing, so documents from before them keep their hash.
    """

    name: Code
    product: ProductCode
    currency: Currency
    lending: bool
    amounts: Amounts
    rules: Annotated[tuple[Rule, ...], Meta(max_length=100)]
    scorecard: Scorecard
    caps: Caps
    price: PriceTable
    offer_ttl_s: Annotated[int, Meta(ge=1, le=604_800)]
    reasons: Annotated[dict[Code, Text], Meta(max_length=500)]
    networks: Annotated[tuple[Network, ...], Meta(max_length=50)] = ()
    loan_reversal: LoanReversal | None = None

    def rules_in_order(self) -> list[Rule]:
        """The rules as they are tried and told: by precedence, then by id."""
        return sorted(self.rules, key=lambda rule: (rule.precedence, rule.id))


def policy_bytes(policy: Policy) -> bytes:
    """The canonical JSON (RFC 8785) of a policy, every default of its parts spelled out: what is stored and hashed."""
    return msgspec.json.encode(policy, order="sorted")


def policy_hash(document: bytes) -> str:
    """The name of a policy's canonical bytes: SHA-256 in lower-case hexadecimal."""
    return sha256(document).hexdigest()


def policy_from(document: bytes) -> Policy:
    """The policy in JSON bytes. Raises `msgspec.ValidationError` where they do not have the shape of one."""
    return msgspec.json.decode(document, type=Policy, strict=True)
