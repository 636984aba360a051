"""The reference pages are what the code says, and nothing that the code has is missing from them."""

import ast
import json
import re
from uuid import UUID

import pytest
from tests.domain.ledger import NOW, TENANT, asked, id_for
from tests.golden import check_golden
from tests.style.source import ROOT, SRC, python_files, tree

from amana.domain.book import Book, Kind
from amana.domain.commands import set_credit_line
from amana.domain.decision import DecisionInputs, assess, compile_policy, decide
from amana.domain.events import MAX_INTEGER
from amana.domain.facts import CustomerRecord, CustomerStanding, facts_of
from amana.domain.lending import Loan, LoanOrigin
from amana.domain.loan_commands import book_loan, repay_loan, reverse_repayment
from amana.domain.money import Currency
from amana.domain.policy import policy_from
from amana.eligibility.events import customer_facts_recorded, decision_made, policy_published
from amana.eligibility.records import Check, Made
from amana.gateway.caller import INTERNAL
from amana.gateway.provision import ALL_SCOPES
from amana.infra.settings import Settings
from amana.operate.reference import EVENTS, SCOPES, SETTINGS, pages, routes

OPTIONAL = {"reverses", "command"}
"""Fields of `TransferPosted` that are there only where they are set."""
FIELDS = {event.name: set(event.data.split()) for event in EVENTS}


@pytest.mark.parametrize(("name", "text"), pages().items(), ids=pages())
def test_a_reference_page_says_what_the_code_says(name: str, text: str) -> None:
    check_golden(ROOT / "docs" / "reference" / name, text)


def test_every_setting_is_explained() -> None:
    assert set(SETTINGS) == set(Settings.__struct_fields__)


def test_every_scope_is_explained_and_used() -> None:
    assert set(SCOPES) == {*ALL_SCOPES, INTERNAL}
    assert {scope for *_, scopes in routes() for scope in scopes} == set(SCOPES) - {"tape:import"}


def test_every_event_type_that_the_code_writes_is_explained() -> None:
    camel_case = re.compile(r"(?:[A-Z][a-z]+){2,}")
    written = {
        node.value
        for folder in ("domain", "transactions", "eligibility", "audit")
        for file in python_files(f"src/amana/{folder}")
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and camel_case.fullmatch(node.value)
    }
    assert written == set(FIELDS)


def loan_of(customer: UUID) -> Loan:
    return Loan(
        TENANT, id_for("loan"), customer, "nano", "NGN", 9_000, 900, 30, LoanOrigin.OFFER, id_for("offer"), NOW, NOW
    )


def history() -> Book:
    """One customer's credit line, loan, last repayment and its return."""
    book, customer = Book(shards=1, now=NOW), id_for("ada")
    answers = [
        set_credit_line(book, asked("line", Kind.CREDIT_LINE), customer, "NGN", 20_000),
        book_loan(book, asked("loan", Kind.LOAN), loan_of(customer), MAX_INTEGER),
        repay_loan(book, asked("rep", Kind.REPAYMENT), id_for("loan"), 9_900, False, NOW),
        reverse_repayment(book, asked("rev", Kind.REPAYMENT_REVERSAL), id_for("loan"), id_for("rep"), NOW),
    ]
    assert [answer.reason for answer in answers] == [None] * 4
    return book


def test_the_events_of_the_ledger_have_the_fields_that_the_page_lists() -> None:
    drafts = history().drafts
    assert {draft.type for draft in drafts} == {event.name for event in EVENTS if event.stream == "transactions"}
    for draft in drafts:
        assert FIELDS[draft.type] - OPTIONAL <= set(draft.data) <= FIELDS[draft.type], draft.type
    seen = {name for draft in drafts for name in draft.data}
    assert seen >= OPTIONAL


def decision() -> Made:
    """A decision of the shipped nano policy on somebody who is not known to the ledger."""
    document = policy_from((SRC / "policies" / "nano.json").read_bytes())
    policy = compile_policy(document, 1, "0" * 64)
    standing = CustomerStanding(
        customer=id_for("ada"),
        exposure=0,
        loans_total=0,
        loans_open=0,
        loans_closed=0,
        worst_days_past_due=0,
        current_days_past_due=0,
        largest_principal_repaid=0,
        repaid_total=0,
        first_loan_on=None,
        last_closed_on=None,
        as_of=NOW,
    )
    facts = facts_of(CustomerRecord(kyc_tier=1), NOW, 1, standing, NOW)
    assessment = assess(policy, facts, NOW)
    inputs = DecisionInputs(
        facts=facts,
        now=NOW,
        amount=1_000_000,
        term_days=None,
        terms=None,
        policy_hash=policy.hash,
        policy_version=policy.version,
    )
    return Made(
        check=Check(
            tenant=TENANT,
            actor="key",
            trace="",
            id=None,
            customer=id_for("ada"),
            product="nano",
            amount=1_000_000,
            currency=Currency.NGN,
        ),
        decision_id=id_for("decision"),
        policy=policy,
        inputs=inputs,
        assessment=assessment,
        decision=decide(policy, assessment, 1_000_000, None),
    )


def test_the_events_of_eligibility_have_the_fields_that_the_page_lists() -> None:
    rows = [
        decision_made(decision()),
        customer_facts_recorded(TENANT, id_for("ada"), 1, CustomerRecord(kyc_tier=1), NOW, "key", ""),
        policy_published(TENANT, "nano", 1, "nano", "0" * 64, NOW, "key", ""),
    ]
    assert {row.type for row in rows} == {event.name for event in EVENTS if event.stream == "eligibility"}
    for row in rows:
        assert set(json.loads(row.body)["data"]) == FIELDS[row.type], row.type
