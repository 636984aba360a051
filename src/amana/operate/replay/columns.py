"""What of the live tables a replay does not rebuild, and why: every other column is compared.

A test holds this to the migrated schema: a new column or table is classified here or is rebuilt.
"""

from collections.abc import Mapping

PERSONAL = "identifies a person or is personal data: in no event; whether it is known is compared where events say it"
WORDS = "free text of a person or client: in no event, which only commits to it"
ASKED = "how a client put its request, kept to answer the same id again: nothing follows from it"
CLOCK = "the database's clock when the row was written; the event has its service's, microseconds to seconds apart"
FOLLOWS = "follows from columns that are compared"
SEALED = "sealed under the customer's own key: in no event, and gone once they are erased"
TURN = "when whoever works it off looks again, and how often the ledger could not be asked since it last answered"
EVIDENCE = "canonical bytes of the whole working; the event says the same in fields of its own"

NOT_REBUILT: Mapping[str, Mapping[str, str]] = {
    "transactions.transfers": {"dated": ASKED},
    "eligibility.customers": {
        **dict.fromkeys(("birth_date", "employment", "monthly_income", "bank_code", "phone"), PERSONAL),
        **dict.fromkeys(("bvn", "nin", "nuban"), PERSONAL),
        **dict.fromkeys(("bureau_as_of", "bureau_count", "bureau_score"), PERSONAL),
        **dict.fromkeys(("bureau_worst_days_past_due", "bureau_open_facilities"), PERSONAL),
        **dict.fromkeys(("topups_as_of", "topup_monthly"), PERSONAL),
        **dict.fromkeys(("consent_terms_at", "consent_bureau_at", "consent_recovery_at"), PERSONAL),
        **dict.fromkeys(("birth_sealed", "identity_sealed"), SEALED),
        **dict.fromkeys(("bank_known", "bvn_token", "nin_token"), "compared as parts of what is known"),
        "recorded_at": CLOCK,
    },
    "eligibility.customer_blocks": {
        "reason": WORDS,
        "lift_reason": WORDS,
        "words_sealed": SEALED,
        "lift_words_sealed": SEALED,
        "placed_at": CLOCK,
        "lifted_at": CLOCK,
        "lift_id": ASKED,
    },
    "eligibility.decisions": {
        "inputs": EVIDENCE,
        "assessment": EVIDENCE,
        "decided_at": CLOCK,
        "expires_at": "that it is an offer is compared; its end is by " + CLOCK,
    },
    "eligibility.reviews": {"asked": ASKED},
    "eligibility.reversals": dict.fromkeys(("attempts", "due_at"), TURN),
    "eligibility.reversal_steps": {"refusals": "numbers what is asked of the ledger; what it refused has no event"},
    "eligibility.policies": {"document": "compared by the hash, which a constraint holds it to"},
    "eligibility.policy_steps": {"id": ASKED, "asked_from": ASKED, "taken_at": CLOCK},
    "eligibility.policy_products": {"due_at": FOLLOWS},
}
"""By table and column."""

NOT_REBUILT_TABLES: Mapping[str, str] = {
    "transactions.notes": WORDS + "; " + SEALED,
    "eligibility.review_words": WORDS,
    "eligibility.erasures": "how a request to erase is worked off; the vault's database remembers whom",
    **{
        f"eligibility.{table}": "what the ledger said, kept until an event moves it: the validator compares it"
        for table in ("ledger_standings", "ledger_watermark", "consumer_progress", "consumer_taken", "consumer_letters")
    },
    "transactions.ids": ASKED + "; what was refused has no event",
    "transactions.commands": ASKED + "; what was refused has no event",
    **{
        f"{schema}.{table}": "the way of events to the log, not what they say: compared by `amana reconcile`"
        for schema in ("eligibility", "transactions")
        for table in ("outbox", "outbox_prunes", "positions", "stream")
    },
}
"""Whole tables."""
LIVE_NAMES: Mapping[str, str] = {"is_offer": "expires_at", "steps": "reversal_steps.offer"}
"""Columns that are compared under another name than the live one, or that are rows of another table."""
MADE_UP = frozenset({"exposures"})
"""Rebuilt tables that have no live one: compared with accounts and loans."""
