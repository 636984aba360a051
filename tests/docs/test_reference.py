"""The reference pages are what the code says, and nothing that the code has is missing from them."""

import ast
import json
import re
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from tests.domain.ledger import NOW, TENANT, after_s, asked, book_with, change, id_for, post, set_clock
from tests.domain.lender import Lender
from tests.domain.review_cases import case
from tests.golden import check_golden
from tests.style.source import ROOT, SRC, python_files, tree

from amana.domain.account import Account
from amana.domain.account_commands import open_account, set_credit_line
from amana.domain.book import Book, Draft, Kind
from amana.domain.decision import DecisionInputs, assess, compile_policy, decide
from amana.domain.decision_reversal import SagaState, Step, UndoTerms
from amana.domain.event_kinds import ABSENT
from amana.domain.event_types import CATALOGUE
from amana.domain.events import MAX_INTEGER
from amana.domain.facts import FACTS, CustomerStanding, Through, facts_of
from amana.domain.lending import Loan, LoanOrigin
from amana.domain.loan_commands import book_loan, repay_loan, reverse_repayment
from amana.domain.loan_reversal import Kept
from amana.domain.money import Currency
from amana.domain.policy import policy_from
from amana.domain.policy_life import PolicyLife
from amana.domain.privacy import ErasureReason
from amana.domain.record import CustomerRecord
from amana.domain.review import ReviewKind, Standing
from amana.domain.sources import Consent, Consents, Said
from amana.domain.transfer import Notes
from amana.domain.transfer_commands import expire_holds
from amana.eligibility.erasure_store import Erasure
from amana.eligibility.events import (
    customer_block_lifted,
    customer_blocked,
    customer_facts_recorded,
    decision_made,
)
from amana.eligibility.policy_events import Said as PolicySaid
from amana.eligibility.policy_events import approved, drafted, published, retired, withdrawn
from amana.eligibility.privacy_events import (
    customer_erased,
    customer_exported,
    customer_restricted,
    erasure_planned,
    legal_hold_told,
)
from amana.eligibility.records import Block, Check, Made
from amana.eligibility.reversal_records import Saga
from amana.eligibility.review_events import all_undone, reviewed, stuck
from amana.eligibility.review_records import Review
from amana.gateway.caller import INTERNAL, Caller
from amana.gateway.provision import ALL_SCOPES
from amana.gateway.read_log import Read, read_rows
from amana.gateway.settled import pruned_row
from amana.infra.outbox import OutboxRow
from amana.infra.settings import Settings
from amana.operate.fact_meanings import FACT_MEANINGS
from amana.operate.reference import SCOPES, SETTINGS, pages, routes
from amana.vault.legal_holds import LegalHold

READ = Read(
    Caller(tenant=TENANT, key_id="key", scopes=frozenset(), trace="", request_id=""),
    NOW,
    {"route": "/", "rows": 1} | {name: str(id_for(name)) for name in ("account", "decision_id", "loan", "transfer")},
    [str(id_for("ada"))],
)
EVENTS = CATALOGUE.types
FIELDS = {event.name: {field.encode_name for field in msgspec.structs.fields(event.data)} for event in EVENTS}
OPTIONAL = {
    event.name: {field.encode_name for field in msgspec.structs.fields(event.data) if field.default is ABSENT}
    for event in EVENTS
}
"""Fields that are there only where they are set."""


@pytest.mark.parametrize(("name", "text"), pages().items(), ids=pages())
def test_a_reference_page_says_what_the_code_says(name: str, text: str) -> None:
    check_golden(ROOT / "docs" / "reference" / name, text)


def test_every_setting_is_explained() -> None:
    assert set(SETTINGS) == set(Settings.__struct_fields__)


def test_every_scope_is_explained_and_used() -> None:
    assert set(SCOPES) == {*ALL_SCOPES, INTERNAL}
    beside_another = {"customers:identity", "tape:import"}
    assert {scope for *_, scopes in routes() for scope in scopes} == set(SCOPES) - beside_another


def test_every_fact_is_explained() -> None:
    assert set(FACT_MEANINGS) == set(FACTS)


def test_every_event_type_that_the_code_writes_is_declared_and_every_declared_one_written() -> None:
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


CHANGES = (("limit", " 800"), ("freeze", ""), ("unfreeze", ""), ("close", ""))
"""The life of an account, command by command."""


def history() -> Book:
    """A customer's credit line, loan, last repayment and its return; an account's life; what becomes of holds."""
    book, customer = book_with("account side\ntill debit\nshop debit"), id_for("ada")
    notes = Notes("order 7", None, b"salt")
    till = Account(TENANT, id_for("purse"), customer, "NGN", "general", "debit", 900, NOW)
    answers = [
        set_credit_line(book, asked("line", Kind.CREDIT_LINE), customer, "NGN", 20_000),
        book_loan(book, asked("loan", Kind.LOAN), loan_of(customer), MAX_INTEGER),
        repay_loan(book, asked("rep", Kind.REPAYMENT), id_for("loan"), 9_900, False, NOW),
        reverse_repayment(book, asked("rev", Kind.REPAYMENT_REVERSAL), id_for("loan"), id_for("rep"), NOW),
        open_account(book, asked("purse", Kind.ACCOUNT), till),
        *(change(book, f"{verb} purse{more}", verb) for verb, more in CHANGES),
        post(book, "till -> shop 100", "t", notes=notes),
        post(book, "reverse t", "r"),
        post(book, "hold till -> shop 100", "h1", notes=notes),
        post(book, "hold till -> shop 100 for 1h", "h2"),
        post(book, "capture h1 60", "c1"),
        post(book, "void h1", "v1", notes=notes),
    ]
    set_clock(book, after_s(3_600))
    assert expire_holds(book) == 1
    answers += [post(book, "force h2", "f2", notes=notes)]
    assert [answer.reason for answer in answers] == [None] * len(answers)
    return book


def undone() -> list[Draft]:
    """A loan that a reversed decision almost undid, and then did, with a hold; and an offer that it closed."""
    booked = Lender().run("""
        Mon 09:30  line    may owe 20000               => done
            09:31  loan    lend 10000 fee 1500         => owes 11500 open
            09:32  payout  hold bank -> shop 600       => moved 600
            09:33  ask     withdraw                    => reversing
            09:34  leave   abandon                     => done
            09:35  ask2    withdraw payout             => reversing
            09:36  undo    reverse to funding          => returned 0
    """)
    unbooked = Lender().run("""
        Mon 09:30  line    may owe 20000               => done
            09:33  ask     withdraw                    => unbooked
    """)
    return [*booked.book.drafts, *unbooked.book.drafts]


def test_the_events_of_the_ledger_have_the_fields_that_the_page_lists() -> None:
    drafts = [*history().drafts, *undone()]
    declared = {event.name for event in EVENTS if event.stream == "transactions"}
    assert {draft.type for draft in drafts} == declared - {"LedgerRecordRead"}
    seen: dict[str, set[str]] = {}
    for draft in drafts:
        fields = set(msgspec.to_builtins(draft.data))
        assert FIELDS[draft.type] - OPTIONAL[draft.type] <= fields <= FIELDS[draft.type], draft.type
        seen.setdefault(draft.type, set()).update(fields)
    assert {type_: seen[type_] >= OPTIONAL[type_] for type_ in seen} == dict.fromkeys(seen, True)


def test_the_event_of_a_read_of_the_ledger_has_the_fields_that_the_page_lists() -> None:
    (row,) = read_rows("LedgerRecordRead", READ)
    assert set(json.loads(row.body)["data"]) == FIELDS["LedgerRecordRead"]


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
        through=Through.PROJECTION,
    )
    facts = facts_of(CustomerRecord(kyc_tier=1).profile(), NOW, 1, standing, NOW)
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
            network="mtn",
        ),
        decision_id=id_for("decision"),
        policy=policy,
        inputs=inputs,
        assessment=assessment,
        decision=decide(policy, assessment, 1_000_000, None),
    )


BLOCK = Block(
    block_id=id_for("block"),
    customer=id_for("ada"),
    code="fraud_suspected",
    reason="Called twice from another's phone.",
    until=NOW,
    placed_by="key",
    placed_at=NOW,
    lift_id=None,
    lifted_by=None,
    lifted_at=None,
    lift_reason=None,
    in_force=True,
)


HOLD = LegalHold(
    tenant=TENANT,
    hold_id=id_for("legal hold"),
    customer=id_for("ada"),
    reason="dispute",
    placed_by="key",
    placed_for="ada",
    placed_at=NOW,
    release_reason=None,
    released_by=None,
    released_for=None,
    released_at=None,
    told=0,
    told_as=id_for("event"),
    told_after=0,
)
RELEASED = HOLD._replace(release_reason="order_lifted", released_by="key", released_for="obi", released_at=NOW)
ERASURE = Erasure(
    tenant=TENANT,
    erasure_id=id_for("erasure"),
    customer=id_for("ada"),
    reason=ErasureReason.CUSTOMER_REQUEST,
    requested_by="key",
    requested_at=NOW,
    version=1,
)


def reviews() -> list[Review]:
    """One of each kind."""
    asked = {
        ReviewKind.OVERRIDE: {"decision": str(id_for("decision"))},
        ReviewKind.APPEAL: {"decision": str(id_for("decision"))},
        ReviewKind.RESOLUTION: {"appeal": str(id_for("appeal"))},
        ReviewKind.REVERSAL: {"decision": str(id_for("decision"))},
        ReviewKind.RESUMPTION: {"reversal": str(id_for("reversal"))},
        ReviewKind.ABANDONMENT: {"reversal": str(id_for("reversal"))},
    }
    return [
        Review(
            tenant=TENANT,
            review_id=id_for(kind),
            decision_id=id_for("decision"),
            version=2,
            kind=kind,
            asked=asked[kind],
            standing=Standing.ACTIVE,
            outcome=None,
            terms=None,
            expires_at=None,
            offers=None,
            actor="key",
            words_digest="0" * 64,
            reviewed_at=NOW,
            words=None,
        )
        for kind in ReviewKind
    ]


def reversal() -> list[OutboxRow]:
    """A reversal with an offer to undo: begun, stuck, and over."""
    undo = UndoTerms(terms=None, kept=Kept.NOT_ASKED)
    saga = Saga(
        tenant=TENANT,
        reversal_id=id_for("reversal"),
        decision_id=id_for("decision"),
        customer=id_for("ada"),
        product="nano",
        currency=Currency.NGN,
        state=SagaState.RUNNING,
        undo=undo,
        attempts=1,
        begun_at=NOW,
        over_at=None,
        age=timedelta(0),
        steps=(Step(offer=id_for("offer")),),
    )
    [review] = [review for review in reviews() if review.kind is ReviewKind.REVERSAL]
    begun = msgspec.structs.replace(review, standing=Standing.REVERSING, offers=(id_for("offer"),))
    return [reviewed(begun, case(), "", undo), stuck(saga, 3, NOW), all_undone(saga, begun, 4, NOW)]


def test_the_events_of_eligibility_have_the_fields_that_the_page_lists() -> None:
    ada, record = id_for("ada"), CustomerRecord(kyc_tier=1)
    asked = Said(consents=Consents(terms=Consent(given=True, at=NOW)))
    rows = [
        decision_made(decision()),
        customer_facts_recorded(TENANT, ada, 1, record, NOW, "key", "", asked),
        customer_blocked(TENANT, BLOCK, 2, NOW, ""),
        customer_block_lifted(TENANT, ada, 3, "fraud_suspected", [BLOCK.block_id], NOW, "key", ""),
        *(reviewed(review, case(), "") for review in reviews()),
        *reversal(),
        customer_restricted(ERASURE, 4, NOW, ""),
        erasure_planned(ERASURE, NOW),
        customer_erased(ERASURE, 5, NOW),
        customer_exported((TENANT, ada), NOW, "key", ""),
        legal_hold_told(HOLD, ""),
        legal_hold_told(RELEASED, ""),
        *read_rows("CustomerRecordRead", READ),
        pruned_row("DeadLettersPruned", {"letters": 2, "settled_days": 90}),
    ]
    told = [(row.type, json.loads(row.body)["data"]) for row in rows] + policy_life()
    assert {type_ for type_, _ in told} == {event.name for event in EVENTS if event.stream == "eligibility"}
    for type_, data in told:
        assert set(data) == FIELDS[type_], type_


def policy_life() -> list[PolicySaid]:
    """What is told of a policy, from its draft to its end."""
    life = PolicyLife(product="nano", version=1, hash="0" * 64, restores=None, drafted_by="key", drafted_at=NOW)
    about = life.product, life.version, life.hash
    return [
        drafted(*about, None),
        approved(life, NOW),
        published(*about, NOW, None),
        retired(*about, 2),
        withdrawn(life),
    ]
