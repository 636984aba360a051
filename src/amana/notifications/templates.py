"""What a borrower is told: templates by code, and the versions of their wording.

A wording that was used once is never edited: a better one is the next version, and a request keeps the one that it was
made with, so that anybody can say later what a borrower was told. Wordings name no person; a sender adds what it knows.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from amana.domain.money import format_minor

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Template(NamedTuple):
    """`useful` is how long after the event it is still worth telling; `wordings` are the versions, from 1.

    `amounts` are the figures that are minor units of the figure `currency`.
    """

    code: str
    meaning: str
    useful: timedelta
    amounts: tuple[str, ...]
    wordings: tuple[str, ...]


TEMPLATES: dict[str, Template] = {
    template.code: template
    for template in (
        Template(
            "loan_disbursed",
            "A loan was booked from an offer and paid out.",
            3 * DAY,
            ("principal", "total_due"),
            ("Your loan of {principal} has been paid out. Please repay {total_due} by {due_on}.",),
        ),
        Template(
            "repayment_received",
            "Money came in for a loan.",
            3 * DAY,
            ("amount", "outstanding"),
            ("We received your payment of {amount}. You still owe {outstanding}.",),
        ),
        Template(
            "repayment_returned",
            "A payment was taken back.",
            3 * DAY,
            ("amount", "outstanding"),
            ("Your payment of {amount} was returned by your bank or wallet. You now owe {outstanding}.",),
        ),
        Template(
            "loan_closed",
            "A loan is repaid.",
            3 * DAY,
            (),
            ("Your loan is fully repaid. Thank you.",),
        ),
        Template(
            "offer_made",
            "A request to borrow was approved; the offer stands for minutes.",
            HOUR // 4,
            ("principal", "total_due"),
            ("You can borrow {principal} now and repay {total_due} in {term_days} days. This offer ends soon.",),
        ),
        Template(
            "request_declined",
            "A request to borrow was declined. `reasons` are the policy's codes, for the sender's own words.",
            DAY,
            (),
            ("We can't lend to you now. You may ask us why, and contest the decision.",),
        ),
        Template(
            "request_referred",
            "A request to borrow waits for a person.",
            DAY,
            (),
            ("A person is looking at your request. We will tell you what was decided.",),
        ),
        Template(
            "decision_changed_to_approve",
            "A person approved what the policy did not; the offer stands until `expires_at`.",
            DAY,
            ("principal", "total_due"),
            ("We looked again: you can borrow {principal} and repay {total_due} in {term_days} days.",),
        ),
        Template(
            "decision_changed_to_decline",
            "A person declined.",
            DAY,
            (),
            ("We looked again and can't lend to you now. You may contest the decision.",),
        ),
        Template(
            "offer_withdrawn",
            "A decision was reversed, and its offers with it.",
            DAY,
            (),
            ("The offer that we made you no longer stands.",),
        ),
        Template(
            "appeal_received",
            "The customer contested a decision.",
            DAY,
            (),
            ("We received your objection. A person will look at the decision.",),
        ),
        Template(
            "appeal_upheld",
            "The decision stands after the appeal.",
            3 * DAY,
            (),
            ("A person looked at your objection. The decision stands.",),
        ),
        Template(
            "appeal_changed",
            "The decision was changed after the appeal.",
            3 * DAY,
            (),
            ("A person looked at your objection, and the decision was changed.",),
        ),
    )
}


def newest_wording(code: str) -> int:
    """The version that new requests get."""
    return len(TEMPLATES[code].wordings)


def text_of(code: str, wording: int, figures: Mapping[str, object]) -> str:
    """The wording with its figures, amounts as people write them; without a sign where no currency is known."""
    template = TEMPLATES[code]
    currency = str(figures.get("currency", ""))
    shown = {
        name: format_minor(value, currency).strip() if name in template.amounts and isinstance(value, int) else value
        for name, value in figures.items()
    }
    return template.wordings[wording - 1].format_map(shown)
