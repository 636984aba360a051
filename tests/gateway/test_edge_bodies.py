"""Bad bodies against the real server: each is a 4xx problem that names the place, and none is a 500."""

import json
from typing import Any
from uuid import uuid4

import pytest

ID = "0190c7a2-1111-7000-8000-000000000001"
GOOD = {"id": ID, "amount": 100, "currency": "NGN"}

# One line each: the body, the reason, and `pointer code` of every error in order.
BODIES = r"""
                                                               | malformed_json | - not_json
nonsense                                                       | malformed_json | - not_json
{"id":                                                         | malformed_json | - not_json
{} {}                                                          | malformed_json | - not_json
{"id":"%s","amount":1,"currency":"NGN",}                       | malformed_json | - not_json
{"id":"%s","amount":01,"currency":"NGN"}                       | malformed_json | - not_json
{"id":"%s","amount":1,"amount":2,"currency":"NGN"}             | malformed_json | /amount duplicate_field
{"id":"%s","amount":1,"currency":"\u0000"}                     | malformed_json | /currency nul
{"id":"%s","amount":1,"currency":"\ud800"}                     | malformed_json | /currency lone_surrogate
{"id":"%s","amount":1,"currency":"N","\ud800":1}               | malformed_json | /? lone_surrogate
null                                                           | validation | - wrong_type
[]                                                             | validation | - wrong_type
"text"                                                         | validation | - wrong_type
{"id":"%s","amount":NaN,"currency":"NGN"}                      | validation | /amount not_a_number
{"id":"%s","amount":-Infinity,"currency":"NGN"}                | validation | /amount not_a_number
{"id":"%s","amount":1e400,"currency":"NGN"}                    | validation | /amount not_a_number
{"id":"%s","amount":1.0,"currency":"NGN"}                      | validation | /amount wrong_type
{"id":"%s","amount":1e2,"currency":"NGN"}                      | validation | /amount wrong_type
{"id":"%s","amount":"100","currency":"NGN"}                    | validation | /amount wrong_type
{"id":"%s","amount":true,"currency":"NGN"}                     | validation | /amount wrong_type
{"id":"%s","amount":null,"currency":"NGN"}                     | validation | /amount wrong_type
{"id":"%s","amount":0,"currency":"NGN"}                        | validation | /amount out_of_range
{"id":"%s","amount":-5,"currency":"NGN"}                       | validation | /amount out_of_range
{"id":"%s","amount":9007199254740992,"currency":"NGN"}         | validation | /amount out_of_range
{"id":"%s","amount":99999999999999999999,"currency":"NGN"}     | validation | /amount integer_too_large
{"id":"nope","amount":1,"currency":"NGN"}                      | validation | /id invalid
{"id":"%s","amount":1,"currency":"NGN","on":"2026-02-30"}      | validation | /on invalid
{"id":"%s","amount":1,"currency":"NGN","extra":1}              | validation | /extra unknown_field
{"id":"%s","amount":1,"currency":"NGN","__proto__":{}}         | validation | /__proto__ unknown_field
{"id":"%s","amount":1,"currency":"NGN","a/b~c":1}              | validation | /a~1b~0c unknown_field
{}                                         | validation | /id missing, /amount missing, /currency missing
{"id":1,"amount":0,"x":2,"currency":"N"}   | validation | /id wrong_type, /amount out_of_range, /x unknown_field
"""


def rows() -> list[tuple[bytes, str, list[str]]]:
    found = []
    for line in BODIES.strip("\n").splitlines():
        body, reason, errors = (part.strip() for part in line.split(" | "))
        found.append((body.replace("%s", ID).encode(), reason, errors.split(", ")))
    return found


def told(problem: Any) -> list[str]:
    return [f"{error['pointer'] or '-'} {error['code']}" for error in problem["errors"]]


@pytest.mark.parametrize(("body", "reason", "errors"), rows(), ids=lambda value: repr(value)[:60])
async def test_a_bad_body_is_a_400_that_names_every_fault(
    client: Any, body: bytes, reason: str, errors: list[str]
) -> None:
    reply, problem = await client.send("POST", "/v1/payments", body)
    assert (reply.status, problem["code"], told(problem)) == (400, reason, errors)
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"https://amana.dev/problems/{reason}"
    assert problem["instance"] == "/v1/payments"
    assert problem["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"id":1}',
        b'{"id":"\xff"}',
        b'{"id":"\xed\xa0\x80"}',
        b'{"id":"\x00"}',
        b"\xff\xfe{\x00}\x00",
        b"[" * 1_900,
        b'{"a":' * 380,
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_bytes_that_are_no_utf_8_json_are_malformed(client: Any, body: bytes) -> None:
    reply, problem = await client.send("POST", "/v1/payments", body)
    assert (reply.status, problem["code"]) == (400, "malformed_json")


async def test_a_pointer_reaches_into_a_list_and_faults_are_bounded(client: Any) -> None:
    items = [GOOD, GOOD | {"amount": 0}, {**GOOD, "id": 7}]
    reply, problem = await client.send("POST", "/v1/payment-lists", json.dumps({"payments": items}).encode())
    assert (reply.status, told(problem)) == (400, ["/payments/1/amount out_of_range", "/payments/2/id wrong_type"])
    many = {"payments": [{f"x{n}": 1 for n in range(100)}]}
    _, problem = await client.send("POST", "/v1/payment-lists", json.dumps(many).encode())
    assert len(problem["errors"]) == 20


async def test_a_list_over_its_bound_is_too_large(client: Any) -> None:
    reply, problem = await client.send("POST", "/v1/payment-lists", json.dumps({"payments": [GOOD] * 4}).encode())
    assert (reply.status, problem["code"], told(problem)) == (413, "body_too_large", ["/payments too_many_items"])


async def test_an_open_document_may_nest_but_not_without_bound(client: Any) -> None:
    ok, _ = await client.send("PUT", "/v1/documents", b'{"a":' * 30 + b"1" + b"}" * 30)
    deep, problem = await client.send("PUT", "/v1/documents", b'{"a":' * 34 + b"1" + b"}" * 34)
    assert (ok.status, deep.status) == (200, 400)
    assert [error["code"] for error in problem["errors"]] == ["too_deep"]


async def test_a_good_body_with_unusual_spelling_is_accepted(client: Any) -> None:
    body = b' {"currency" : "N\\u0047N", "amount":9007199254740991,\n"id":"%s",'
    body += b'"memo":"\\ud83d\\ude00 \xe2\x82\xa6:\\":"} '
    reply, receipt = await client.send("POST", "/v1/payments", body % ID.encode())
    assert (reply.status, receipt["amount"], receipt["tenant"]) == (200, 2**53 - 1, client.tenant)


async def test_an_optional_body_may_be_left_out_but_not_be_nonsense(client: Any) -> None:
    none, said = await client.send("POST", "/v1/notes")
    some, text = await client.send("POST", "/v1/notes", b'{"text":"a"}')
    bad, _ = await client.send("POST", "/v1/notes", b"{")
    assert (none.status, said, some.status, text, bad.status) == (200, {"text": "(none)"}, 200, {"text": "a"}, 400)


MEDIA = """
application/json                     | 200
application/json; charset=utf-8      | 200
Application/JSON;charset="UTF-8"     | 200
application/json; charset=latin-1    | 415
text/plain                           | 415
application/x-www-form-urlencoded    | 415
application/json, text/plain         | 415
"""


@pytest.mark.parametrize("line", MEDIA.strip().splitlines())
async def test_only_json_is_taken(client: Any, line: str) -> None:
    media, status = (part.strip() for part in line.split("|"))
    body = json.dumps(GOOD | {"id": str(uuid4())}).encode()
    reply, _ = await client.send("POST", "/v1/payments", body, {"Content-Type": media})
    assert reply.status == int(status)


async def test_an_encoded_body_is_not_inflated(client: Any) -> None:
    reply, problem = await client.send("POST", "/v1/payments", b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert (reply.status, problem["code"]) == (415, "unsupported_media_type")


async def test_a_body_over_its_bound_is_refused_by_route(client: Any) -> None:
    body = json.dumps(GOOD | {"memo": "x" * 3_000}).encode()
    reply, problem = await client.send("POST", "/v1/payments", body)
    assert (reply.status, problem["code"]) == (413, "body_too_large")
    listed = json.dumps({"payments": [GOOD | {"memo": "x" * 3_000}]}).encode()
    reply, _ = await client.send("POST", "/v1/payment-lists", listed)
    assert reply.status == 200


IDEMPOTENCY = f"""
{ID}                                   | 200
"{ID}"                                 | 200
{ID.upper()}                           | 200
0190c7a2-1111-7000-8000-000000000002   | 400
nonsense                               | 400
"""


@pytest.mark.parametrize("line", IDEMPOTENCY.strip().splitlines())
async def test_an_idempotency_key_must_be_the_bodys_id(client: Any, line: str) -> None:
    sent, status = (part.strip() for part in line.split("|"))
    reply, problem = await client.send("POST", "/v1/payments", json.dumps(GOOD).encode(), {"Idempotency-Key": sent})
    assert reply.status == int(status)
    assert status == "200" or told(problem) == ["Idempotency-Key invalid"]
