"""Bad input on the routes that move money: a 4xx problem that names the pointer, never a 500, nothing written."""

from typing import Any
from uuid import uuid4

import pytest
from tests.e2e.lenders import Lender, new_lender
from tests.e2e.tills import Till
from tests.ids import near

from amana.domain.ids import derived_id
from amana.gateway import provision
from amana.infra.http import HttpClient
from amana.operate.stack import Stack

A, B = uuid4(), uuid4()
BIG = 2**53


def transfer(**more: Any) -> dict[str, Any]:
    return {"id": near(A), "debit_account": A, "credit_account": B, "amount": 5, "currency": "NGN"} | more


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"amount": 0}, "/transfers/0/amount"),
        ({"amount": -5}, "/transfers/0/amount"),
        ({"amount": BIG}, "/transfers/0/amount"),
        ({"amount": 10**400}, "/transfers/0/amount"),
        ({"amount": 1.0}, "/transfers/0/amount"),
        ({"amount": "100"}, "/transfers/0/amount"),
        ({"amount": True}, "/transfers/0/amount"),
        ({"amount": None}, "/transfers/0/amount"),
        ({"currency": "XXX"}, "/transfers/0/currency"),
        ({"currency": 566}, "/transfers/0/currency"),
        ({"debit_account": "not-an-id"}, "/transfers/0/debit_account"),
        ({"id": 7}, "/transfers/0/id"),
        ({"id": derived_id(A, "exposure/NGN")}, "/transfers/0/id"),
        ({"code": "Has Spaces"}, "/transfers/0/code"),
        ({"code": "a\x00b"}, "/transfers/0/code"),
        ({"effective_on": "2026-02-30"}, "/transfers/0/effective_on"),
        ({"linked": "yes"}, "/transfers/0/linked"),
        ({"amonut": 5}, "/transfers/0/amonut"),
        ({"linked": True}, "/transfers/0/linked"),
    ],
    ids=str,
)
async def test_a_field_that_is_wrong_is_named(clumsy: Lender, change: dict[str, Any], pointer: str) -> None:
    status, problem = await clumsy.post("transactions", "/v1/transfers", {"transfers": [transfer(**change)]})
    assert (status, problem["code"]) in {(400, "validation"), (400, "malformed_json")}
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert await clumsy.trial_difference() == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"transfers": []}', 400),
        (b'{"transfers": [{}]}', 400),
        (b'{"transfers": [], "transfers": []}', 400),
        (b'{"transfers": [{"amount": 1, "amount": 2}]}', 400),
        (b'\xef\xbb\xbf{"transfers": []}', 400),
        (b'{"transfers": "\xff"}', 400),
        (b'{"transfers": "\\ud800"}', 400),
        (b'{"transfers": NaN}', 400),
        (b'{"transfers": []} x', 400),
        (b"[" * 100_000, 400),
        (b'{"transfers": ' + b"9" * 5_000 + b"}", 400),
        (b'{"transfers": "' + b"x" * (5 << 20) + b'"}', 413),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_body_that_is_wrong_is_a_problem(clumsy: Lender, body: bytes, status: int) -> None:
    answered, problem = await clumsy.post("transactions", "/v1/transfers", body)
    assert answered == status
    assert problem["type"].startswith("https://")
    assert problem["request_id"]


async def test_nobody_can_take_the_id_of_an_account_that_amana_will_open(lender: Lender) -> None:
    customer = uuid4()
    id_ = derived_id(customer, "exposure/NGN")
    item = {"id": id_, "owner": customer, "currency": "NGN", "normal_side": "debit"}
    status, problem = await lender.post("transactions", "/v1/accounts", {"accounts": [item]})
    assert (status, problem["errors"][0]["pointer"]) == (400, "/accounts/0/id")


@pytest.mark.parametrize("when", ["0900-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"])
async def test_an_instant_outside_any_business_is_refused(platform: Stack, http: HttpClient, when: str) -> None:
    importer = await new_lender(platform, http, provision.ALL_SCOPES)
    customer = await importer.customer()
    terms = {"customer": customer, "product": "nano", "currency": "NGN", "principal": 5, "fee": 0, "term_days": 30}
    loan = {"id": near(customer), "imported": terms, "effective_at": when}
    status, problem = await importer.post("transactions", "/v1/loans", loan)
    assert (status, problem["errors"][0]["pointer"]) == (400, "/effective_at")
    check = {"customer": customer, "product": "nano", "amount": 1_000_000, "currency": "NGN", "as_of": when}
    status, problem = await importer.post("eligibility", "/v1/eligibility/checks", check)
    assert (status, problem["errors"][0]["pointer"]) == (400, "/as_of")


async def test_a_slip_of_the_finger_can_not_fill_a_shared_counter(lender: Lender) -> None:
    loan = await lender.loan(await lender.customer())
    slip = {"id": near(loan["id"]), "amount": BIG - 1}
    status, problem = await lender.post("transactions", f"/v1/loans/{loan['id']}/repayments", slip)
    assert (status, problem["errors"][0]["pointer"]) == (400, "/amount")


async def test_a_text_does_not_end_in_a_newline(clumsy: Lender) -> None:
    status, problem = await clumsy.post("transactions", "/v1/transfers", {"transfers": [transfer(code="abc\n")]})
    assert (status, problem["errors"][0]["pointer"]) == (400, "/transfers/0/code")


async def test_a_list_that_is_too_long_is_refused_whole(clumsy: Lender) -> None:
    status, problem = await clumsy.post("transactions", "/v1/transfers", {"transfers": [transfer()] * 5_001})
    assert status in {400, 413}
    assert problem["code"] in {"validation", "body_too_large"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": "Bearer amana_abcdefghijkl_" + "A" * 43}, 401),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Accept": "text/csv"}, 406),
        ({"Amana_Tenant": "1"}, 403),
        ({"Idempotency_Key": str(uuid4())}, 400),
    ],
    ids=str,
)
async def test_headers_that_are_wrong_are_problems(clumsy: Lender, headers: dict[str, str], status: int) -> None:
    line = {"id": uuid4(), "customer": uuid4(), "currency": "NGN", "credit_limit": 5}
    answered, problem = await clumsy.post("transactions", "/v1/credit-lines", line, **headers)
    assert (answered, problem["status"]) == (status, status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/loans/not-an-id", 404),
        ("GET", f"/v1/loans/{uuid4()}", 404),
        ("GET", f"/v1/accounts/{uuid4()}", 404),
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/transfers", 405),
        ("GET", f"/v1/accounts?owner={uuid4()}&limit=0", 400),
        ("GET", f"/v1/accounts?owner={uuid4()}&limit=100000", 400),
        ("GET", f"/v1/accounts?owner={uuid4()}&surprise=1", 400),
        ("GET", "/v1/accounts", 400),
        ("GET", "/v1/events", 403),
        ("POST", "/v1/standings", 403),
    ],
)
async def test_paths_that_are_wrong_are_problems(clumsy: Lender, method: str, path: str, status: int) -> None:
    answered, problem = await clumsy.send(method, "transactions", path)
    assert (answered, problem["status"]) == (status, status)


async def test_a_well_formed_item_that_can_not_be_done_is_a_refusal_in_its_own_result(till: Till) -> None:
    limited = await till.lender.account(credit_limit=10)
    results = await till.send(
        till.item(amount=5),
        till.item(credit_account=uuid4()),
        till.item(credit_account=till.debit),
        till.item(debit_account=limited, amount=11),
        till.item(currency="USD"),
        till.item(amount=5),
    )
    assert [(one["status"], one["reason"]) for one in results] == [
        ("posted", None),
        ("refused", "account_not_found"),
        ("refused", "same_account"),
        ("refused", "limit_exceeded"),
        ("refused", "currency_mismatch"),
        ("posted", None),
    ]
    assert results[3]["figures"] == {"headroom": 10, "requested": 11}
    assert await till.lender.balance(till.debit) == 10


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"amount": 0}, "/amount"),
        ({"amount": 1.5}, "/amount"),
        ({"amount": BIG}, "/amount"),
        ({"customer": "x"}, "/customer"),
        ({"product": "NANO"}, "/product"),
        ({"currency": "NAIRA"}, "/currency"),
        ({"as_of": "yesterday"}, "/as_of"),
        ({"unknown": 1}, "/unknown"),
    ],
    ids=str,
)
async def test_a_check_with_a_wrong_field_is_refused_by_its_name(
    clumsy: Lender, change: dict[str, Any], pointer: str
) -> None:
    check = {"customer": uuid4(), "product": "nano", "amount": 1_000_000, "currency": "NGN"} | change
    status, problem = await clumsy.post("eligibility", "/v1/eligibility/checks", check)
    assert (status, problem["code"]) == (400, "validation")
    assert pointer in [error["pointer"] for error in problem["errors"]]
