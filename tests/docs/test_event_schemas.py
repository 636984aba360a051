"""The published schemas of events: readers from before read what is written now, and readers of now what was written.

`docs/reference/events.schema.json` is both the page and the memory. Unlike other pages it is not written anew over a
change that breaks readers.
"""

import copy
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.docs.compatibility import breaks, reworded, versions
from tests.golden import REGENERATE, check_golden
from tests.style.source import ROOT

from amana.domain.event_schema import events_schema, events_schema_text
from amana.domain.event_types import CATALOGUE
from amana.operate.asyncapi import asyncapi
from amana.operate.reference import pages

FILE = ROOT / "docs" / "reference" / "events.schema.json"
ADVICE = """
What was written under a version is read under it for ever, so a change like this is a new version of the type. In
src/amana/domain/event_types*.py keep the old struct under a name of its own (as `LoanBookedV1`, with its row), declare
the new one with the next version, and put a function from the old to the new into UPCASTERS.
"""

Json = dict[str, Any]


def test_no_reader_of_events_is_broken() -> None:
    kept = json.loads(FILE.read_bytes())
    broken = breaks(kept, events_schema())
    assert not broken, "\n".join(["this breaks readers of events:", *broken, ADVICE])
    other = [] if os.environ.get(REGENERATE) else reworded(kept, events_schema())
    assert not other, f"{other}: other words for the same? {REGENERATE}=1 writes them. Another meaning?\n{ADVICE}"
    check_golden(FILE, events_schema_text())


def test_the_schema_is_one_and_each_version_is_in_it_once() -> None:
    schema = events_schema()
    Draft202012Validator.check_schema(schema)
    assert list(versions(schema)) == [type_.title for type_ in CATALOGUE.types]
    assert [one["$ref"] for one in schema["oneOf"]] == [f"#/$defs/{title}" for title in versions(schema)]


def test_the_asyncapi_document_has_a_message_for_each_version_in_the_channel_of_its_stream() -> None:
    document, schema = asyncapi(), events_schema()
    assert json.loads(pages()["asyncapi.json"]) == document
    messages = document["components"]["messages"]
    sent = [type_.title for type_ in CATALOGUE.types if type_.stream != "accesses"]  # who read the log is in it alone
    assert list(messages) == sent
    for title, message in messages.items():
        file, _, pointer = message["payload"]["$ref"].partition("#")
        assert (FILE.name, found(schema, pointer)) == (file, schema["$defs"][title])
        assert found(document, message["headers"]["$ref"][1:])["required"]
    carried: list[str] = []
    for stream, channel in document["channels"].items():
        assert channel["address"] == f"amana.{stream}.events"
        operation = document["operations"][f"publish_{stream}"]
        assert found(document, operation["channel"]["$ref"][1:]) is channel
        assert [found(document, one["$ref"][1:]) for one in operation["messages"]] == list(channel["messages"].values())
        assert [found(document, one["$ref"][1:])["title"] for one in channel["messages"].values()] == list(
            channel["messages"]
        )
        carried += channel["messages"]
    assert sorted(carried) == sorted(messages)


def found(document: Json, pointer: str) -> Any:
    """What a JSON pointer names."""
    for part in pointer.split("/")[1:]:
        document = document[part]
    return document


LOAN = ("$defs", "LoanBooked")


def changed(change: Callable[[Json], object], *path: str) -> list[str]:
    """What a change of the schema at `path` breaks."""
    made = copy.deepcopy(events_schema())
    place: Any = made
    for part in path:
        place = place[part]
    change(place)
    return breaks(events_schema(), made)


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        (lambda d: d.pop("LoanBooked.v1"), ("$defs",), "LoanBooked.v1: it is no longer declared"),
        (lambda p: p.pop("fee"), (*LOAN, "properties"), "LoanBooked.v1/data/fee: the field is gone"),
        (lambda r: r.remove("fee"), (*LOAN, "required"), "LoanBooked.v1/data/fee: it was always there, that changed"),
        (
            lambda p: p.update(fee={"type": "string"}),
            (*LOAN, "properties"),
            "LoanBooked.v1/data/fee: type was integer, it is string",
        ),
        (
            lambda f: f.update(maximum=9),
            (*LOAN, "properties", "fee"),
            "LoanBooked.v1/data/fee: maximum was 9007199254740991, it is 9",
        ),
        (
            lambda e: e["enum"].append("gifted"),
            ("$defs", "LoanOrigin"),
            "LoanBooked.v1/data/origin: enum was ['imported', 'offer'], it is ['imported', 'offer', 'gifted']",
        ),
        (
            lambda d: (d["properties"].update(risk={}), d["required"].append("risk")),
            LOAN,
            "LoanBooked.v1/data/risk: the field is new and always there, which it is not in events from before",
        ),
        (
            lambda r: r.append("notes"),
            ("$defs", "TransferPosted", "required"),
            "TransferPosted.v1/data/notes: it could be absent, that changed",
        ),
        (
            lambda p: p.pop("source"),
            ("$defs", "KnownFact", "properties"),
            "DecisionMade.v1/data/facts/source: the field is gone",
        ),
    ],
)
def test_a_change_that_breaks_readers_is_told_with_its_place(
    change: Callable[[Json], object], path: tuple[str, ...], told: str
) -> None:
    assert told in changed(change, *path)


def test_a_broken_envelope_breaks_every_version() -> None:
    assert len(changed(lambda p: p.pop("trace"), "$defs", "Envelope", "properties")) == len(CATALOGUE.types)


def test_new_fields_that_may_be_absent_new_types_and_other_words_break_nobody() -> None:
    assert changed(lambda p: p.update(risk={"type": "string"}), *LOAN, "properties") == []
    assert changed(lambda d: d.update({"LoanSold.v1": d["LoanBooked.v1"]}), "$defs") == []
    assert changed(lambda d: d.update(description="A loan was booked."), *LOAN) == []


def test_other_words_are_noticed() -> None:
    made = copy.deepcopy(events_schema())
    made["$defs"]["LoanBooked"]["description"] = "A loan was booked."
    assert reworded(events_schema(), made) == ["LoanBooked"]
    assert reworded(events_schema(), events_schema()) == []
