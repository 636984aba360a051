"""Every event that Amana writes: `docs/reference/events.md` is made from this, and tests hold it to the code."""

from typing import NamedTuple


class EventType(NamedTuple):
    """A fact that Amana writes down: what it is about, when it is written, and the fields of its `data`.

    A field with a question mark is there only where it is set.
    """

    name: str
    stream: str
    aggregate: str
    meaning: str
    data: str


MOVEMENT = "transfer amount currency code effective_on debit credit"
"""What is said of every movement."""
POLICY = "product policy_version hash"
"""What is said of every version of a policy."""

EVENTS = (
    EventType("AccountClosed", "transactions", "account", "An account was closed, for ever.", "account"),
    EventType(
        "AccountFrozen",
        "transactions",
        "account",
        "An account moves nothing, or is not debited, until it is opened again.",
        "account frozen_for",
    ),
    EventType(
        "AccountLimitChanged",
        "transactions",
        "account",
        "A credit line was set, or an account's own limit or floor. Nothing else ever changes them.",
        "account owner customer? currency from to floor_from floor_to drawn",
    ),
    EventType(
        "AccountOpened",
        "transactions",
        "account",
        "An account was opened: by a client, with a credit line, or with a loan.",
        "account owner currency code normal_side credit_limit floor",
    ),
    EventType("AccountUnfrozen", "transactions", "account", "A frozen account was opened again.", "account"),
    EventType(
        "AppealResolved",
        "eligibility",
        "decision",
        "A person answered an appeal: the decision is `upheld`, or `changed` by the review that is named.",
        "review customer product standing words appeal outcome changed_by",
    ),
    EventType(
        "CustomerBlockLifted",
        "eligibility",
        "customer",
        "Blocks on a customer were lifted: all that were in force under the code.",
        "customer facts_version code blocks",
    ),
    EventType(
        "CustomerBlocked",
        "eligibility",
        "customer",
        "A block was placed on a customer. When its time is over it binds no longer, without an event.",
        "customer facts_version block code until",
    ),
    EventType(
        "CustomerFactsRecorded",
        "eligibility",
        "customer",
        "What is known of a customer changed: the lender's record or another source's word. Which parts are known, not "
        "what they say; `blocked` is the record's own. A consent is said: given, or refused and withdrawn.",
        "customer facts_version kyc_tier blocked known consents?",
    ),
    EventType(
        "DecisionAppealed",
        "eligibility",
        "decision",
        "The customer contests a decision; it waits for a person.",
        "review customer product standing words",
    ),
    EventType(
        "DecisionMade",
        "eligibility",
        "decision",
        "A decision was computed: the question, the facts, every rule, the limit, the outcome.",
        "customer product currency amount term_days terms network? request_to_borrow offer_id as_of as_of_past facts "
        "facts_version policy rules points score band caps exposure_cap exposure headroom outcome limit price reasons",
    ),
    EventType(
        "DecisionOverridden",
        "eligibility",
        "decision",
        "A person decided otherwise. `terms` are what an approval offers, until `expires_at`, under the review's id, "
        "and the knock-outs that it overrules; null for a decline.",
        "review customer product standing words outcome supersedes terms expires_at",
    ),
    EventType(
        "DecisionReversalAbandoned",
        "eligibility",
        "decision",
        "A person gave up what a stuck reversal could not undo: the loan goes on.",
        "review customer product standing words reversal",
    ),
    EventType(
        "DecisionReversalResumed",
        "eligibility",
        "decision",
        "A person has a stuck reversal go on.",
        "review customer product standing words reversal",
    ),
    EventType(
        "DecisionReversalStarted",
        "eligibility",
        "decision",
        "A decision with offers is being reversed: none can be booked any more, and what followed is being undone. "
        "`loans`: what was asked about them; `terms`: how they go back, by the `policy` live then.",
        "review customer product standing words withdrawn loans kept_because policy terms",
    ),
    EventType(
        "DecisionReversalStuck",
        "eligibility",
        "decision",
        "The ledger refused a step of a reversal, or could not be reached for too long: a person is needed.",
        "reversal customer product standing offers",
    ),
    EventType(
        "DecisionReversed",
        "eligibility",
        "decision",
        "A decision was withdrawn for good, and with it the offers that are named, booked or not. `offers`: what "
        "became of each of them, and of the loan that it was booked as.",
        "review customer product standing words withdrawn offers",
    ),
    EventType(
        "HoldCaptured",
        "transactions",
        "hold",
        "All or part of a hold was posted. `released` is what it gave back of the pending amounts: nothing after an "
        "expiry, and then `reason` says why it was forced. `final`: it ended the hold.",
        f"{MOVEMENT} hold released? final? reason? notes?",
    ),
    EventType(
        "HoldExpired",
        "transactions",
        "hold",
        "A hold's time was over: what was left of it is no longer reserved.",
        f"{MOVEMENT} hold released",
    ),
    EventType(
        "HoldPlaced",
        "transactions",
        "hold",
        "An amount is reserved, until `expires_at` or for as long as it takes.",
        f"{MOVEMENT} expires_at? notes?",
    ),
    EventType(
        "HoldVoided",
        "transactions",
        "hold",
        "What was left of a hold was given back.",
        f"{MOVEMENT} hold released command? notes?",
    ),
    EventType(
        "LoanBooked",
        "transactions",
        "loan",
        "A loan was booked, from an offer or as imported; its transfers are named.",
        "loan customer outstanding product currency principal fee term_days origin decision_id effective_at "
        "effective_on due_on transfers",
    ),
    EventType(
        "LoanClosed",
        "transactions",
        "loan",
        "A repayment left nothing outstanding. A reversed repayment opens the loan again.",
        "loan customer outstanding effective_at",
    ),
    EventType(
        "LoanReversalAbandoned",
        "transactions",
        "loan",
        "A loan is not undone after all: it goes on. `reversal` is that of its decision.",
        "loan customer outstanding decision_id reversal",
    ),
    EventType(
        "LoanReversalStarted",
        "transactions",
        "loan",
        "The decision behind a loan is reversed, and the loan with it: it is `reversing` until its money has moved.",
        "loan customer outstanding decision_id reversal",
    ),
    EventType(
        "LoanReversed",
        "transactions",
        "loan",
        "A loan was undone by opposite transfers, in one group, under the command `reversed_by`. Its `repayments` went "
        "back with it, and what they had paid off, `returned`, to the customer's wallet.",
        "loan customer outstanding decision_id effective_at effective_on repayments returned reversal reversed_by "
        "transfers",
    ),
    EventType(
        "OfferWithdrawn",
        "transactions",
        "offer",
        "An offer that was never booked is closed, because its decision is reversed.",
        "customer offer reversal",
    ),
    EventType(
        "PolicyApproved",
        "eligibility",
        "policy",
        "A key approved a version that another key drafted. It decides from `valid_from` on, unless it is withdrawn.",
        f"{POLICY} drafted_by valid_from",
    ),
    EventType(
        "PolicyDrafted",
        "eligibility",
        "policy",
        "A version without fault was drafted. `restores`: the earlier version to whose document it rolls back.",
        f"{POLICY} restores",
    ),
    EventType(
        "PolicyPublished",
        "eligibility",
        "policy",
        "A version decides since `valid_from`, in place of the version `replaces`; the hash names its document.",
        f"{POLICY} valid_from replaces",
    ),
    EventType(
        "PolicyRetired",
        "eligibility",
        "policy",
        "A version decides no longer, since another was published.",
        f"{POLICY} replaced_by",
    ),
    EventType(
        "PolicyWithdrawn",
        "eligibility",
        "policy",
        "A draft, or a version that was to start later, was taken back. It never decides.",
        POLICY,
    ),
    EventType(
        "RepaymentReceived",
        "transactions",
        "loan",
        "Money came in for a loan, and how it was shared out. `inferred`: the book did not say the amount.",
        "loan customer outstanding repayment amount fee_part principal_part excess inferred effective_at effective_on",
    ),
    EventType(
        "RepaymentReversed",
        "transactions",
        "loan",
        "A repayment was taken back, every leg of it; the loan owes it again.",
        "loan customer outstanding repayment amount fee_part principal_part excess inferred effective_at effective_on "
        "reversal",
    ),
    EventType(
        "TransferPosted",
        "transactions",
        "transfer",
        "A transfer moved. `command` is the loan command that it is a leg of.",
        f"{MOVEMENT} reverses? command? notes?",
    ),
)
