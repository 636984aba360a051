"""The one table of refusals: code, HTTP status, whether it may be retried, meaning.

Problem responses, per-item results, metric labels and the reference page all come from it. A refusal is an expected
"no" and a value; it is final for its id. Whatever could not be tried at all (`retryable`) is not stored, and the same
id may be sent again.

Eligibility's reason codes (why a customer may not borrow) are policy data, not refusals, and live in the policy.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Stable public codes. Never renamed, never reused."""

    # The request itself
    MALFORMED_JSON = "malformed_json"
    VALIDATION = "validation"
    UNAUTHENTICATED = "unauthenticated"
    SCOPE_MISSING = "scope_missing"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    QUOTA_EXCEEDED = "quota_exceeded"
    TENANT_QUOTA_EXCEEDED = "tenant_quota_exceeded"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OUTCOME_UNKNOWN = "outcome_unknown"
    # Ids and replays
    ID_CONFLICT = "id_conflict"
    ID_SHARD_MISMATCH = "id_shard_mismatch"
    # Transfers
    LINKED_FAILED = "linked_failed"
    ACCOUNT_NOT_FOUND = "account_not_found"
    ACCOUNT_RESERVED = "account_reserved"
    SAME_ACCOUNT = "same_account"
    CURRENCY_MISMATCH = "currency_mismatch"
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_FROZEN = "account_frozen"
    ORIGINAL_NOT_FOUND = "original_not_found"
    ORIGINAL_IS_REVERSAL = "original_is_reversal"
    ORIGINAL_RESERVED = "original_reserved"
    ORIGINAL_NOT_POSTED = "original_not_posted"
    EXCEEDS_ORIGINAL = "exceeds_original"
    HOLD_NOT_FOUND = "hold_not_found"
    HOLD_CAPTURED = "hold_captured"
    HOLD_VOIDED = "hold_voided"
    HOLD_EXPIRED = "hold_expired"
    EXCEEDS_HOLD = "exceeds_hold"
    NOTHING_AVAILABLE = "nothing_available"
    BALANCE_OVERFLOW = "balance_overflow"
    LIMIT_EXCEEDED = "limit_exceeded"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    # Accounts
    BALANCE_NOT_ZERO = "balance_not_zero"
    # Loans
    CREDIT_LINE_NOT_FOUND = "credit_line_not_found"
    OFFER_NOT_FOUND = "offer_not_found"
    OFFER_EXPIRED = "offer_expired"
    OFFER_USED = "offer_used"
    DECISION_CHANGED = "decision_changed"
    LOAN_NOT_FOUND = "loan_not_found"
    REPAYMENT_NOT_FOUND = "repayment_not_found"
    ALREADY_REVERSED = "already_reversed"
    LOAN_NOT_REVERSING = "loan_not_reversing"
    TOO_MANY_REPAYMENTS = "too_many_repayments"
    EFFECTIVE_IN_FUTURE = "effective_in_future"
    EFFECTIVE_BEFORE_LOAN = "effective_before_loan"
    # Eligibility
    CUSTOMER_NOT_FOUND = "customer_not_found"
    CUSTOMER_RESTRICTED = "customer_restricted"
    CUSTOMER_ERASED = "customer_erased"
    PERSON_AMBIGUOUS = "person_ambiguous"
    VERSION_CONFLICT = "version_conflict"
    FACTS_OLDER = "facts_older"
    BLOCK_NOT_FOUND = "block_not_found"
    PRODUCT_NOT_FOUND = "product_not_found"
    APPROVER_IS_AUTHOR = "approver_is_author"
    POLICY_APPROVED = "policy_approved"
    POLICY_WITHDRAWN = "policy_withdrawn"
    POLICY_STARTED = "policy_started"
    # Reviews of a decision, in the order in which they are tried
    APPEAL_NOT_FOUND = "appeal_not_found"
    DECISION_CONFIRMS_OFFER = "decision_confirms_offer"
    FOUR_EYES_NEEDED = "four_eyes_needed"
    DECISION_REVERSED = "decision_reversed"
    DECISION_OVERRIDDEN = "decision_overridden"
    OVERRIDE_NOT_FOUND = "override_not_found"
    APPEAL_OPEN = "appeal_open"
    APPEAL_RESOLVED = "appeal_resolved"
    CHANGE_NOT_FOUND = "change_not_found"
    NOTHING_TO_DECLINE = "nothing_to_decline"
    REVERSAL_NOT_FOUND = "reversal_not_found"
    REVERSAL_NOT_STUCK = "reversal_not_stuck"
    NOT_OVERRIDABLE = "not_overridable"
    EXCEEDS_PRODUCT_CAP = "exceeds_product_cap"
    TERMS_NOT_OFFERED = "terms_not_offered"
    EXCEEDS_EXPOSURE_CAP = "exceeds_exposure_cap"
    # Audit
    NOT_SEALED = "not_sealed"
    DROPPED_BY_RETENTION = "dropped_by_retention"
    # Events and notifications
    EVENTS_PRUNED = "events_pruned"
    LETTER_BEHIND = "letter_behind"
    LEASE_LOST = "lease_lost"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of the table. `status` is the HTTP status where the refusal is the whole answer."""

    reason: Reason
    status: int
    retryable: bool
    meaning: str


REFUSALS: dict[Reason, Refusal] = {
    row.reason: row
    for row in (
        Refusal(Reason.MALFORMED_JSON, 400, False, "The body is not one well-formed JSON value in UTF-8."),
        Refusal(Reason.VALIDATION, 400, False, "A field is missing, unknown or out of range; pointers name each."),
        Refusal(Reason.UNAUTHENTICATED, 401, False, "No API key, or one that is unknown or revoked."),
        Refusal(Reason.SCOPE_MISSING, 403, False, "The API key lacks the scope that this route needs."),
        Refusal(Reason.NOT_FOUND, 404, False, "No such thing, or it belongs to somebody else."),
        Refusal(Reason.METHOD_NOT_ALLOWED, 405, False, "The path exists; this method on it does not."),
        Refusal(Reason.NOT_ACCEPTABLE, 406, False, "The Accept header allows nothing that this route can answer."),
        Refusal(Reason.REQUEST_TIMEOUT, 408, True, "The request did not arrive in time."),
        Refusal(Reason.BODY_TOO_LARGE, 413, False, "The body or the list in it is over its bound."),
        Refusal(Reason.UNSUPPORTED_MEDIA_TYPE, 415, False, "The body must be application/json, not encoded."),
        Refusal(Reason.QUOTA_EXCEEDED, 429, True, "The client's quota is used up for now."),
        Refusal(Reason.TENANT_QUOTA_EXCEEDED, 429, True, "The quota that all the tenant's keys share is used up."),
        Refusal(Reason.INTERNAL, 500, False, "A bug in Amana. Nothing was acknowledged."),
        Refusal(Reason.UNAVAILABLE, 503, True, "A server that this needs does not answer. Nothing was done."),
        Refusal(Reason.OVERLOADED, 503, True, "Too much is queued already. Nothing was done."),
        Refusal(Reason.DEADLINE_EXCEEDED, 503, True, "The time that the client gave was too short. Nothing was done."),
        Refusal(Reason.OUTCOME_UNKNOWN, 504, True, "It may have been done. Send the same id again: one effect."),
        Refusal(Reason.ID_CONFLICT, 409, False, "The id was used before with another value of the named field."),
        Refusal(Reason.ID_SHARD_MISMATCH, 422, False, "The id does not fall in the shard of what it moves."),
        Refusal(Reason.LINKED_FAILED, 422, False, "Another member of its linked group was refused."),
        Refusal(Reason.ACCOUNT_NOT_FOUND, 422, False, "An account does not exist."),
        Refusal(Reason.ACCOUNT_RESERVED, 422, False, "The account moves only with its loan or credit line."),
        Refusal(Reason.SAME_ACCOUNT, 422, False, "Debit and credit account are the same."),
        Refusal(Reason.CURRENCY_MISMATCH, 422, False, "The transfer's currency is not the account's."),
        Refusal(Reason.ACCOUNT_CLOSED, 422, False, "An account is closed."),
        Refusal(Reason.ACCOUNT_FROZEN, 422, False, "An account is frozen."),
        Refusal(Reason.ORIGINAL_NOT_FOUND, 404, False, "The transfer to reverse does not exist."),
        Refusal(Reason.ORIGINAL_IS_REVERSAL, 422, False, "A reversal can't itself be reversed."),
        Refusal(Reason.ORIGINAL_RESERVED, 422, False, "The transfer is a leg of a loan: reverse its repayment."),
        Refusal(Reason.ORIGINAL_NOT_POSTED, 422, False, "Only what was posted is reversed; a hold is voided."),
        Refusal(Reason.EXCEEDS_ORIGINAL, 422, False, "The reversals together would exceed the original."),
        Refusal(Reason.HOLD_NOT_FOUND, 404, False, "The hold does not exist."),
        Refusal(Reason.HOLD_CAPTURED, 409, False, "The hold was captured to its end."),
        Refusal(Reason.HOLD_VOIDED, 409, False, "The hold was voided."),
        Refusal(Reason.HOLD_EXPIRED, 409, False, "The hold's time is over; only a forced capture may follow."),
        Refusal(Reason.EXCEEDS_HOLD, 422, False, "The captures together would exceed the hold."),
        Refusal(Reason.NOTHING_AVAILABLE, 422, False, "A balancing transfer found nothing to move."),
        Refusal(Reason.BALANCE_OVERFLOW, 422, False, "A counter would pass 2^53 - 1."),
        Refusal(Reason.LIMIT_EXCEEDED, 422, False, "The exposure would pass the credit limit."),
        Refusal(Reason.INSUFFICIENT_FUNDS, 422, False, "The account's balance would fall below its floor."),
        Refusal(Reason.BALANCE_NOT_ZERO, 422, False, "An account is closed only when nothing stands or is held on it."),
        Refusal(Reason.CREDIT_LINE_NOT_FOUND, 422, False, "The customer has no credit line in this currency."),
        Refusal(Reason.OFFER_NOT_FOUND, 404, False, "No approved offer with this id."),
        Refusal(Reason.OFFER_EXPIRED, 409, False, "The offer's time is over."),
        Refusal(Reason.OFFER_USED, 409, False, "The offer was booked before, under another loan id."),
        Refusal(Reason.DECISION_CHANGED, 409, False, "A fresh decision no longer approves these terms."),
        Refusal(Reason.LOAN_NOT_FOUND, 404, False, "The loan does not exist."),
        Refusal(Reason.REPAYMENT_NOT_FOUND, 404, False, "The repayment does not exist on this loan."),
        Refusal(Reason.ALREADY_REVERSED, 409, False, "The repayment or loan was reversed before."),
        Refusal(Reason.LOAN_NOT_REVERSING, 409, False, "The loan is not being reversed by this reversal."),
        Refusal(Reason.TOO_MANY_REPAYMENTS, 422, False, "More repayments stand than are taken back with a loan."),
        Refusal(Reason.EFFECTIVE_IN_FUTURE, 422, False, "The business time is later than now."),
        Refusal(Reason.EFFECTIVE_BEFORE_LOAN, 422, False, "The business time is before the loan's."),
        Refusal(Reason.CUSTOMER_NOT_FOUND, 404, False, "The customer has no record."),
        Refusal(Reason.CUSTOMER_RESTRICTED, 409, False, "The customer is to be erased: their data is used no more."),
        Refusal(Reason.CUSTOMER_ERASED, 409, False, "The customer was erased. Nothing personal is left of them."),
        Refusal(Reason.PERSON_AMBIGUOUS, 422, False, "More customers share a BVN or NIN than one person can have."),
        Refusal(Reason.VERSION_CONFLICT, 409, False, "The facts are not of the version that `if_version` names."),
        Refusal(Reason.FACTS_OLDER, 409, False, "What is known of this source speaks of a later instant."),
        Refusal(Reason.BLOCK_NOT_FOUND, 404, False, "No block of this code is in force on the customer."),
        Refusal(Reason.PRODUCT_NOT_FOUND, 404, False, "No live policy for this product."),
        Refusal(
            Reason.APPROVER_IS_AUTHOR, 422, False, "A policy is approved by another key than the one that drafted it."
        ),
        Refusal(Reason.POLICY_APPROVED, 409, False, "The version of the policy was approved before."),
        Refusal(Reason.POLICY_WITHDRAWN, 409, False, "The version of the policy was withdrawn."),
        Refusal(
            Reason.POLICY_STARTED, 409, False, "The version is or was live, or starts within 5 s: too late to withdraw."
        ),
        Refusal(Reason.APPEAL_NOT_FOUND, 404, False, "The appeal does not exist."),
        Refusal(Reason.DECISION_CONFIRMS_OFFER, 422, False, "It looked at an offer again: review the one named."),
        Refusal(Reason.FOUR_EYES_NEEDED, 403, False, "The key that asked for a decision may not judge it."),
        Refusal(Reason.DECISION_REVERSED, 409, False, "The decision was withdrawn: nothing may follow from it."),
        Refusal(Reason.DECISION_OVERRIDDEN, 409, False, "A person decided otherwise since; that override is named."),
        Refusal(Reason.OVERRIDE_NOT_FOUND, 422, False, "The decision has no override that could be superseded."),
        Refusal(Reason.APPEAL_OPEN, 409, False, "An appeal against the decision is open already."),
        Refusal(Reason.APPEAL_RESOLVED, 409, False, "The appeal was resolved before."),
        Refusal(Reason.CHANGE_NOT_FOUND, 422, False, "No override or reversal of the decision since the appeal."),
        Refusal(Reason.NOTHING_TO_DECLINE, 422, False, "It is a decline already."),
        Refusal(Reason.REVERSAL_NOT_FOUND, 404, False, "The reversal does not exist, or had nothing to undo."),
        Refusal(Reason.REVERSAL_NOT_STUCK, 409, False, "The reversal goes on by itself, or is over."),
        Refusal(Reason.NOT_OVERRIDABLE, 422, False, "The product or network is switched off; nobody overrules that."),
        Refusal(Reason.EXCEEDS_PRODUCT_CAP, 422, False, "The exposure cap is above the product's."),
        Refusal(Reason.TERMS_NOT_OFFERED, 422, False, "The policy does not lend this amount for this term."),
        Refusal(Reason.EXCEEDS_EXPOSURE_CAP, 422, False, "Principal and fee together are above the exposure cap."),
        Refusal(Reason.NOT_SEALED, 409, True, "The event is stored; the checkpoint that covers it comes in a second."),
        Refusal(Reason.DROPPED_BY_RETENTION, 410, False, "Its time of retention was over; its hash is kept."),
        Refusal(Reason.EVENTS_PRUNED, 410, False, "The service has pruned these events; the audit log has them."),
        Refusal(Reason.LETTER_BEHIND, 409, False, "Another letter of its key stands before it: redrive that one."),
        Refusal(
            Reason.LEASE_LOST, 409, False, "The notification is not leased to this claim, or was settled otherwise."
        ),
    )
}
