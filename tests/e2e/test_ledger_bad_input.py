"""What a lender's engineer can get wrong on the ledger's routes: each fault is named, and nothing of it is done."""

from uuid import uuid4

import pytest
from tests.e2e.lenders import new_lender
from tests.e2e.tills import LEDGER, NOBODY, Item, Till
from tests.ids import near

from amana.gateway import provision
from amana.infra.http import HttpClient
from amana.operate.stack import Stack

LISTED_MAX = 5_000

WRONG: list[tuple[Item, list[tuple[str, str]]]] = [
    ({"kind": "Post"}, [("kind", "invalid")]),
    ({"kind": None}, [("kind", "wrong_type")]),
    ({"kind": "hold", "ttl_s": 0}, [("ttl_s", "out_of_range")]),
    ({"kind": "hold", "ttl_s": 31_536_001}, [("ttl_s", "out_of_range")]),
    ({"kind": "hold", "ttl_s": "60"}, [("ttl_s", "wrong_type")]),
    ({"kind": "hold", "ttl_s": 1.5}, [("ttl_s", "wrong_type")]),
    ({"kind": "hold", "balancing": "debit"}, [("balancing", "unknown_field")]),
    ({"kind": "hold", "amount": 2**53}, [("amount", "out_of_range")]),
    ({"kind": "hold", "amount": None}, [("amount", "missing")]),
    ({"balancing": "all"}, [("balancing", "invalid")]),
    ({"ttl_s": 60}, [("ttl_s", "unknown_field")]),
    ({"final": True}, [("final", "unknown_field")]),
    ({"final": "no"}, [("final", "wrong_type")]),
    ({"hold": str(NOBODY), "reverses": str(NOBODY)}, [("hold", "unknown_field"), ("reverses", "unknown_field")]),
    ({"kind": "void", "hold": str(NOBODY)}, [(name, "unknown_field") for name in ("debit_account", "credit_account")]),
    ({"kind": "reverse"}, [("reverses", "missing")]),
    ({"kind": "capture"}, [("hold", "missing")]),
    ({"metadata": {f"k{n}": "v" for n in range(17)}}, [("metadata", "out_of_range")]),
    ({"metadata": {"1k": "v"}}, [("metadata", "invalid")]),
    ({"metadata": {"k" * 41: "v"}}, [("metadata", "out_of_range")]),
    ({"metadata": {"k": 5, "l": True}}, [("metadata/k", "wrong_type"), ("metadata/l", "wrong_type")]),
    ({"metadata": {"k": {"deep": "v"}}}, [("metadata/k", "wrong_type")]),
    ({"metadata": {"k": None}}, [("metadata/k", "wrong_type")]),
    ({"metadata": {"k": "v" * 201}}, [("metadata/k", "out_of_range")]),
    ({"metadata": {"k": "a\x00"}}, [("metadata/k", "nul")]),
    ({"metadata": ["k"]}, [("metadata", "wrong_type")]),
    ({"reference": ""}, [("reference", "out_of_range")]),
    ({"reference": "r" * 101}, [("reference", "out_of_range")]),
    ({"reference": 5}, [("reference", "wrong_type")]),
    ({"effective_on": "2999-01-01"}, [("effective_on", "future")]),
    ({"effective_on": "2020-01-01"}, [("effective_on", "scope_missing")]),
    ({"effective_on": "2020-01-01T00:00:00Z"}, [("effective_on", "invalid")]),
    ({"id": "00000000-0000-8000-8000-000000000000"}, [("id", "invalid")]),
]


async def test_what_is_wrong_with_an_item_is_named_and_nothing_of_its_list_is_done(till: Till) -> None:
    for change, expected in WRONG:
        found = await till.refused(*(till.item() for _ in range(3)), till.item(**change))
        assert found[: len(expected)] == [(f"/transfers/3/{name}", code) for name, code in expected], change
    assert (await till.account())["version"] == 0


async def test_a_linked_group_ends_in_its_list_names_an_id_once_and_is_bounded(till: Till) -> None:
    id_ = uuid4()
    linked = [till.item(linked=True) for _ in range(100)]
    assert await till.refused(till.item(id=id_, linked=True), till.item(id=id_)) == [("/transfers/1/id", "invalid")]
    assert await till.refused(till.item(), till.item(linked=True)) == [("/transfers/1/linked", "invalid")]
    assert await till.refused(*linked, till.item()) == [("/transfers/99/linked", "invalid")]
    assert len(await till.send(*linked[:99], till.item())) == 100
    assert await till.refused(*[till.item() for _ in range(LISTED_MAX + 1)]) == [("/transfers", "too_many_items")]


async def test_a_business_date_to_come_is_refused_even_where_its_id_stands_twice(
    platform: Stack, http: HttpClient
) -> None:
    importer = await new_lender(platform, http, provision.ALL_SCOPES)
    till = Till(importer, await importer.account(), await importer.account())
    id_ = near(till.debit)
    items = [till.item(id=id_, effective_on="2999-01-01"), till.item(id=id_, effective_on="2020-01-01")]
    assert await till.refused(*items) == [("/transfers/0/effective_on", "future")]
    assert await till.outcomes(items[1]) == [("posted", 100)]


async def test_every_item_that_names_a_business_date_beyond_its_key_is_named(till: Till) -> None:
    past = [till.item(effective_on=f"2020-01-0{n}") for n in range(1, 4)]
    assert await till.refused(past[0], till.item(), *past[1:]) == [
        (f"/transfers/{at}/effective_on", "scope_missing") for at in (0, 2, 3)
    ]


@pytest.mark.parametrize(
    ("what", "body", "pointer"),
    [
        ("limits", {}, "/credit_limit"),
        ("limits", {"credit_limit": -1}, "/credit_limit"),
        ("limits", {"floor": 2**53}, "/floor"),
        ("limits", {"floor": "5"}, "/floor"),
        ("limits", {"limit": 5}, "/limit"),
        ("freezes", {"frozen_for": "credits"}, "/frozen_for"),
        ("freezes", {"frozen_for": None}, "/frozen_for"),
        ("unfreezes", {"reason": "x"}, "/reason"),
        ("closures", {"id": None}, "/id"),
        ("closures", {"id": 5}, "/id"),
        ("captures", {"amount": 0}, "/amount"),
        ("captures", {"amount": 1.5}, "/amount"),
        ("captures", {"final": 1}, "/final"),
        ("voids", {"amount": 5}, "/amount"),
        ("reversals", {"amount": "5"}, "/amount"),
        ("reversals", {"id": "00000000-0000-8000-8000-000000000000"}, "/id"),
        ("forced-captures", {"reason": "Has Space"}, "/reason"),
        ("forced-captures", {"reason": "late\n"}, "/reason"),
    ],
    ids=str,
)
async def test_a_wrong_field_of_a_command_is_named(clumsy_till: Till, what: str, body: Item, pointer: str) -> None:
    status, problem = await clumsy_till.about(what, clumsy_till.debit, **body)
    assert (status, [error["pointer"] for error in problem["errors"]]) == (400, [pointer])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("balance", "?at"),
        ("balance?at=2026-01-01T00:00:00", "?at"),
        ("balance?at=2026-01-01", "?at"),
        ("balance?at=yesterday", "?at"),
        ("balance?at=1767225600", "?at"),
        ("balance?at=0001-01-01T00:00:00Z", "?at"),
        ("balance?at=2199-01-01T00:00:00Z", "?at"),
        ("balance?at=2026-01-01T00:00:00Z&on=1", "?on"),
        ("statement?first_on=2026-02-01&last_on=2026-01-01", "?last_on"),
        ("statement?first_on=2024-01-01&last_on=2026-01-01", "?last_on"),
        ("statement?first_on=1969-01-01&last_on=1969-01-02", "?last_on"),
        ("statement?first_on=2026-01-01", "?last_on"),
        ("statement?first_on=2026-02-30&last_on=2026-03-01", "?first_on"),
        ("statement?first_on=2026-01-01T00:00:00Z&last_on=2026-01-02", "?first_on"),
        ("entries?after=-1", "?after"),
        ("entries?after=9007199254740992", "?after"),
        ("entries?limit=1001", "?limit"),
    ],
)
async def test_a_wrong_query_of_an_account_is_named(clumsy_till: Till, query: str, pointer: str) -> None:
    status, problem = await clumsy_till.lender.get(LEDGER, f"/v1/accounts/{clumsy_till.debit}/{query}")
    assert (status, [error["pointer"] for error in problem["errors"]]) == (400, [pointer])


@pytest.mark.parametrize(
    "query", ["", "reference=", f"reference={'r' * 101}", "reference=a%00", "reference=a&reference=b"]
)
async def test_a_search_needs_one_reference(clumsy_till: Till, query: str) -> None:
    status, problem = await clumsy_till.lender.get(LEDGER, f"/v1/transfers?{query}")
    assert (status, problem["errors"][0]["pointer"]) == (400, "?reference")


async def test_accounts_are_refused_by_field(till: Till) -> None:
    item = {"id": uuid4(), "owner": uuid4(), "currency": "NGN", "normal_side": "debit"}
    wrong = {"normal_side": "left", "credit_limit": -1, "floor": 2**53, "owner": "me", "currency": "naira", "kind": "x"}
    status, problem = await till.lender.post(LEDGER, "/v1/accounts", {"accounts": [item, item | wrong]})
    assert status == 400
    assert {error["pointer"] for error in problem["errors"]} == {f"/accounts/1/{name}" for name in wrong}
    status, problem = await till.lender.post(LEDGER, "/v1/accounts", {"accounts": [item | {"code": "wallet"}]})
    assert (status, problem["errors"][0]["pointer"]) == (400, "/accounts/0/code")


@pytest.mark.parametrize(("code", "side"), [("capital", "debit"), ("settlement", "credit"), ("suspense", "debit")])
async def test_an_account_of_the_chart_has_its_normal_side(till: Till, code: str, side: str) -> None:
    item = {"id": uuid4(), "owner": uuid4(), "currency": "NGN", "normal_side": side, "code": code}
    other = item | {"id": uuid4(), "normal_side": "credit" if side == "debit" else "debit"}
    status, problem = await till.lender.post(LEDGER, "/v1/accounts", {"accounts": [other, item]})
    assert (status, problem["errors"][0]["pointer"]) == (400, "/accounts/1/normal_side")
    general = [item | {"id": uuid4(), "normal_side": one, "code": "general"} for one in ("debit", "credit")]
    answer = await till.lender.must("POST", LEDGER, "/v1/accounts", {"accounts": [other, *general]})
    assert [one["status"] for one in answer["results"]] == ["opened"] * 3
