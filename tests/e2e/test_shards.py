"""What only several ledger shards show, over HTTP: transfers between them, ids in the wrong one, sums over all."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.e2e.lenders import Lender
from tests.e2e.tills import LEDGER, Item, Till, about
from tests.ids import far, in_bucket, near

from amana.domain.account import SYSTEM_CODES
from amana.domain.ids import first_bucket
from amana.domain.lending import business_date
from amana.operate.reconcile import reconcile
from amana.operate.stack import Stack


@pytest.fixture
def shards(platform: Stack) -> int:
    """How many there are."""
    count = platform.settings.ledger_shards
    if count == 1:
        pytest.skip("needs AMANA_TEST_LEDGER_SHARDS")
    return count


@pytest.fixture
async def apart(shards: int, lender: Lender) -> Till:
    """A till whose two accounts are in different shards."""
    debit = await lender.account()
    return Till(lender, debit, await lender.account(far(debit), normal_side="credit"))


async def history(till: Till, account: UUID) -> tuple[list[str], list[int]]:
    """The transfers in an account's entries and its balance after each, read in short pages."""
    transfers, balances, after = [], [], 0
    while after is not None:
        page = await till.lender.must("GET", LEDGER, f"/v1/accounts/{account}/entries?limit=2&after={after}")
        transfers += [one["transfer"] for one in page["entries"]]
        balances += [abs(one["debits_posted"] - one["credits_posted"]) for one in page["entries"]]
        after = page["next"]
    return transfers, balances


async def test_transfers_between_two_shards_stand_in_the_history_of_both_accounts(apart: Till) -> None:
    back = {"debit_account": apart.credit, "credit_account": apart.debit}
    hold, there = apart.hold(amount=30), apart.item(amount=50)
    items = [there, apart.item(**back, amount=20), hold, about("capture", hold, amount=10, final=True)]
    items += [about("reverse", there, amount=5), apart.item(amount=7)]
    assert [one["reason"] for one in await apart.send(*items)] == [None] * len(items)

    today = business_date(datetime.now(UTC))
    for account in (apart.debit, apart.credit):
        assert await history(apart, account) == ([str(one["id"]) for one in items], [50, 30, 30, 40, 35, 42])
        after = await apart.account(account)
        assert (after["balance"], after["debits_pending"], after["credits_pending"]) == (42, 0, 0)
        path = f"/v1/accounts/{account}/statement?first_on={today}&last_on={today}"
        statement = await apart.lender.must("GET", LEDGER, path)
        assert (statement["opening_balance"], statement["closing_balance"]) == (0, 42)
    assert await apart.lender.trial_difference() == {"NGN": 0}


async def test_an_id_in_the_shard_of_the_credit_account_does_nothing_and_stays_free(apart: Till) -> None:
    strayed = apart.item(id=near(apart.credit))
    for _ in range(2):
        (refused,) = await apart.send(strayed)
        assert (refused["reason"], refused["replayed"]) == ("id_shard_mismatch", False)
        assert refused["figures"] == {"id": str(strayed["id"]), "beside": str(apart.debit)}
    assert (await apart.lender.get(LEDGER, f"/v1/transfers/{strayed['id']}"))[0] == 404
    group = [apart.item(linked=True), apart.item(id=near(apart.credit))]
    assert await apart.outcomes(*group) == ["linked_failed", "id_shard_mismatch"]
    assert [(await apart.account(one))["version"] for one in (apart.debit, apart.credit)] == [0, 0]

    turned = strayed | {"debit_account": apart.credit, "credit_account": apart.debit}
    assert await apart.outcomes(turned) == [("posted", 100)]
    assert (await apart.account(apart.credit))["balance"] == -100


async def test_every_other_command_is_refused_beside_the_wrong_thing_too(apart: Till) -> None:
    lender, hold, item = apart.lender, apart.hold(), apart.item()
    await apart.send(hold, item)
    borrower, asker = await lender.customer(), await lender.customer()
    loan, offer = await lender.loan(borrower), await lender.offer(asker)
    asked: list[tuple[str, UUID, Item]] = [
        (f"transfers/{hold['id']}/captures", hold["id"], {}),
        (f"transfers/{hold['id']}/voids", hold["id"], {}),
        (f"transfers/{item['id']}/reversals", item["id"], {}),
        (f"accounts/{apart.debit}/freezes", apart.debit, {}),
        ("credit-lines", borrower, {"customer": borrower, "currency": "NGN", "credit_limit": 1}),
        ("loans", asker, {"offer_id": offer["decision_id"]}),
        (f"loans/{loan['id']}/repayments", borrower, {"amount": 5}),
    ]
    for path, place, body in asked:
        status, problem = await lender.post(LEDGER, f"/v1/{path}", {"id": far(place)} | body)
        assert (status, problem["code"]) == (422, "id_shard_mismatch"), path
    account = await apart.account()
    assert (account["version"], account["status"]) == (2, "open")
    assert (await lender.must("GET", LEDGER, f"/v1/loans/{loan['id']}"))["outstanding"] == loan["outstanding"]
    assert (await lender.must("GET", LEDGER, f"/v1/loans?customer={asker}"))["loans"] == []


async def test_a_loan_book_in_every_shard_sums_up_and_reconciles(shards: int, lender: Lender, platform: Stack) -> None:
    loans = []
    for shard in range(shards):
        customer = await lender.customer(id_=in_bucket(first_bucket(shard, shards)))
        loan = await lender.loan(customer)
        payment = {"id": near(customer), "amount": loan["fee"] + 1_000}
        await lender.must("POST", LEDGER, f"/v1/loans/{loan['id']}/repayments", payment)
        loans.append(loan)
    lent, fees = (sum(loan[name] for loan in loans) for name in ("principal", "fee"))

    trial = await lender.must("GET", LEDGER, "/v1/trial-balance")
    lines: dict[str, Any] = {line["code"]: line for line in trial["lines"]}
    assert {code: lines[code]["accounts"] for code in SYSTEM_CODES} == dict.fromkeys(SYSTEM_CODES, shards)
    assert lines["funding"]["credits_posted"] == lent
    assert lines["funding"]["debits_posted"] == fees + 1_000 * shards
    assert lines["fee_income"]["credits_posted"] == fees
    assert trial["difference"] == {"NGN": 0}
    result = await reconcile(platform.settings)
    assert result.ok, result.differences
