"""What compliance asks for: one customer's decisions with everything that followed, and the register of a month."""

import csv
import io
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from tests.audit.conftest import settings_of_log
from tests.audit.dossier import NANO, Story, named, whole_story
from tests.audit.reading import Lab, Reader, lab, lenders

from amana.audit.checkpoint import open_note, parse_verifier_key
from amana.audit.register import COLUMNS, csv_line, month_bounds, register_row
from amana.audit.store import StoredEvent
from amana.audit.telling import tell
from amana.domain.event_types import CATALOGUE
from amana.domain.events import Aggregate
from amana.infra.settings import Settings
from amana.wire.problems import Refused

CUSTOMER = named("customer")


@pytest.fixture(scope="module")
async def log_settings(
    settings: Settings, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Settings]:
    """Of a log that is only read here, so one does for all."""
    async with settings_of_log(settings, template, tmp_path_factory.mktemp("reports")) as made:
        yield made


@pytest.fixture(scope="module")
async def served(log_settings: Settings) -> AsyncIterator[Lab]:
    tenants = await lenders(log_settings)
    story = whole_story(tenants[0], CUSTOMER)
    early, late = Story(tenants[0], named("edge")), Story(tenants[0], named("edge"))
    early.now = datetime(2026, 10, 31, 22, 58, 30, tzinfo=UTC)  # one more minute: 23:59:30 in Lagos, October
    late.now = datetime(2026, 10, 31, 22, 59, tzinfo=UTC)  # 00:00:00 in Lagos, November
    for name, edge in (("october", early), ("november", late)):
        edge.decision(named(name), "refer")
        told = edge.bodies["eligibility"][0]
        story.bodies["eligibility"].append(
            told.replace(str(named("eligibility 0")).encode(), str(named(f"event of {name}")).encode())
        )
    async with lab(log_settings, tenants, story.bodies) as made:
        yield made


@pytest.fixture
async def reader(served: Lab) -> Reader:
    return await served.reader()


async def test_a_report_says_what_was_decided_why_and_what_changed_it(reader: Reader) -> None:
    report = await reader.ok(f"customers/{CUSTOMER}/report")
    assert (report["complete"], report["events"]) == (True, 10)
    first, second = report["decisions"]
    assert (first["decision"], first["outcome"], first["standing"]) == (
        str(named("first")),
        "decline",
        "overridden: approve",
    )
    assert first["reasons"] == [{"code": "loan_overdue", "words": "You have a loan that is past its due date."}]
    assert [change["type"] for change in first["changes"]] == [
        "DecisionAppealed",
        "DecisionOverridden",
        "AppealResolved",
    ]
    assert first["loans"] == [str(named("loan"))]
    for decision in (first, second):  # whether its event says each fact's source, as version 1 does, or not
        told = [(fact["name"], fact["value"], fact["source"]) for fact in decision["facts"]]
        assert told == [("blocked", True, "customer"), ("current_days_past_due", 12, "ledger")]
        assert all(fact["as_of"] < decision["decided_at"] for fact in decision["facts"])
    assert (first["policy"]["hash"], [step["type"] for step in first["policy"]["steps"]]) == (NANO, ["PolicyPublished"])
    assert (second["standing"], second["loans"]) == ("reversed", [])
    (loan,) = report["loans"]
    assert (loan["decision"], loan["outstanding"]) == (str(named("override")), 700_000)
    assert [step["type"] for step in loan["history"]] == ["LoanBooked", "RepaymentReceived"]
    assert [step["type"] for step in report["facts"]] == ["CustomerFactsRecorded", "CustomerBlocked"]
    assert report["other"] == []
    for log in report["log"]:
        assert open_note(log["note"], parse_verifier_key(log["verifier_key"])).size == log["size"] == log["received"]


async def test_each_place_in_a_report_can_be_proved(reader: Reader) -> None:
    report = await reader.ok(f"customers/{CUSTOMER}/report")
    for place in [report["decisions"][0]["place"], report["loans"][0]["history"][1]["place"]]:
        assert place["sealed"]
        proof = await reader.ok(f"events/{place['event_id']}/proof")
        assert (proof["stream"], proof["position"]) == (place["stream"], place["position"])


class Page(HTMLParser):
    """What a browser would load or run, which tags are open, and the text."""

    VOID = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.tags: Counter[str] = Counter()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.outside += [value or "" for name, value in attrs if name in ("src", "href", "action") or name[:2] == "on"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("path", "accept"),
    [("report", "text/html"), ("report", "text/html,application/json;q=0.9,*/*;q=0.8"), ("report.html", "*/*")],
)
async def test_the_page_is_whole_escaped_and_loads_nothing(reader: Reader, path: str, accept: str) -> None:
    reply = await reader.reply(f"customers/{CUSTOMER}/{path}", accept)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    page = Page()
    page.feed(reply.body.decode())
    assert (page.open, page.outside, page.tags["script"]) == ([], [], 0)
    assert page.tags["main"] == page.tags["h1"] == page.tags["title"] == 1
    assert '<script>alert("x")</script>' in page.text
    assert "You have a loan that is past its due date." in page.text
    assert "₦10,000.00" in page.text and "Reversed" in page.text
    assert "url(" not in page.text and "@import" not in page.text


async def test_json_is_what_comes_without_a_wish_and_what_can_not_be_had_is_refused(reader: Reader) -> None:
    for accept in ("application/json", "*/*", "application/json, text/html"):
        reply = await reader.reply(f"customers/{CUSTOMER}/report", accept)
        assert reply.headers["content-type"] == "application/json"
    for path, accept in ((f"customers/{CUSTOMER}/report", "image/png"), ("events", "text/html")):
        assert (await reader.reply(path, accept)).status == 406


async def test_of_a_customer_whom_the_log_does_not_know_there_is_no_report(served: Lab, reader: Reader) -> None:
    assert (await reader.get(f"customers/{UUID(int=9)}/report"))[0] == 404
    stranger = await served.reader(tenant=1)
    assert (await stranger.get(f"customers/{CUSTOMER}/report"))[0] == 404
    assert (await reader.get("customers/me/report"))[0] == 404


async def test_the_register_of_a_month_is_lagoss_month_and_adds_up(reader: Reader) -> None:
    reply = await reader.reply("register/2026-11", "application/jsonl")
    *rows, last = [msgspec.json.decode(line) for line in reply.body.splitlines()]
    assert len(rows) == last["totals"]["events"] == 8
    assert [row["decision"] for row in rows if row["outcome"] == "refer"] == [str(named("november"))]
    assert rows[-1]["at"] == "2026-11-01T00:00:00.000000+01:00"
    assert last["totals"] == await reader.ok("register/2026-11?format=totals")
    assert last["totals"]["by_type"] == Counter(row["type"] for row in rows)
    assert last["totals"]["by_outcome"] == {"approve": 2, "decline": 1, "refer": 1}
    assert last["totals"]["by_reason"] == {"loan_overdue": 1}
    assert last["totals"]["by_policy"] == {"nano 1": 4}
    found = await reader.ok(
        "events?stream=eligibility&from=2026-10-31T23:00:00Z&to=2026-11-30T23:00:00Z&limit=1000"
        + "".join(f"&type={type_}" for type_ in last["totals"]["by_type"])
    )
    assert [event["event_id"] for event in found["events"]] == [row["event_id"] for row in rows]
    october = await reader.ok("register/2026-10?format=totals")
    assert (october["events"], october["by_outcome"]) == (1, {"refer": 1})


async def test_the_register_comes_as_csv_with_the_same_rows(reader: Reader) -> None:
    reply = await reader.reply("register/2026-11?format=csv", "text/csv")
    assert reply.headers["content-type"].startswith("text/csv")
    header, *rows = csv.reader(io.StringIO(reply.body.decode()))
    assert tuple(header) == COLUMNS
    lines = (await reader.reply("register/2026-11")).body.splitlines()[:-1]
    assert [row[1] for row in rows] == [msgspec.json.decode(line)["event_id"] for line in lines]


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-00", "26-11", "2026-11-01", "november", "0001-01", "9999-12", "２０２６-11"]
)
async def test_what_is_no_month_is_named(reader: Reader, month: str) -> None:
    status, problem = await reader.get(f"register/{month}")
    assert (status, problem["errors"][0]["pointer"]) == (400, "{month}")


def test_months_meet_without_a_gap() -> None:
    months = [f"{year}-{month:02d}" for year in (2025, 2026) for month in range(1, 13)]
    bounds = [month_bounds(month) for month in months]
    assert all(end == start for (_, end), (start, _) in pairwise(bounds))
    with pytest.raises(Refused):
        month_bounds("2026-1")


def test_a_cell_that_would_be_a_formula_is_a_text() -> None:
    assert csv_line(["=1+1", "@x", "plain", True, None, 5, 'a "b", c']) == b'\'=1+1,\'@x,plain,true,,5,"a ""b"", c"\r\n'


def test_a_register_row_has_the_columns_and_takes_an_event_of_any_shape() -> None:
    story = Story(1, CUSTOMER)
    story.say("eligibility", "DecisionMade", Aggregate("decision", named("odd"), 1), {})
    event = StoredEvent("eligibility", 4, named("e"), story.now, story.now, story.bodies["eligibility"][0])
    row = register_row(event)
    assert tuple(row) == COLUMNS
    assert (row["position"], row["outcome"], row["reasons"]) == (4, None, "")


@pytest.mark.parametrize("type_", [*sorted({event.name for event in CATALOGUE.types}), "SomethingNew"])
def test_every_event_is_told_in_a_sentence_even_one_that_lacks_its_fields(type_: str) -> None:
    assert re.fullmatch(r"[A-Z].*\.", tell(type_, {}))
