"""The edge on a real server: who may call, what every response carries, what happens when something fails."""

import re
from typing import Any
from uuid import uuid4

import pytest
import structlog
from litestar import get

from amana.gateway import provision
from amana.gateway.edge import build_app
from amana.gateway.guard import accepts_json, enter_timeout
from amana.gateway.keyring import KeyRing
from amana.gateway.store import KeyStore
from amana.infra import deadline
from amana.infra.http import HttpClient
from amana.infra.settings import Settings

ID = "0190c7a2-1111-7000-8000-000000000001"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic {key}",
        "Bearer {key}x",
        "Bearer amana_aaaaaaaaaaaa_" + "0" * 43,
        "Bearer {other}",
    ],
)
async def test_without_a_good_key_nothing_is_read(client: Any, http: HttpClient, authorization: str) -> None:
    other = client.key[:-1] + ("a" if client.key[-1] != "a" else "b")
    sent = {"Authorization": authorization.format(key=client.key, other=other)}
    reply = await http.request("POST", client.url + "/v1/payments", body=b"{", headers=sent, timeout_ms=5_000)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer realm="amana"')
    assert b'"code":"unauthenticated"' in reply.body


async def test_a_key_without_the_scope_is_refused_before_the_body_is_looked_at(
    client: Any, settings: Settings, http: HttpClient
) -> None:
    key = await provision.create_key(settings.owner_database_url, client.tenant, ["tape:import"])
    sent = {"Authorization": f"bearer {key}"}
    one = await http.request("POST", client.url + "/v1/payments", body=b"{", headers=sent, timeout_ms=5_000)
    assert (one.status, b"scope_missing" in one.body) == (403, True)
    either = await http.request("POST", client.url + "/v1/payment-lists", body=b"{", headers=sent, timeout_ms=5_000)
    assert either.status == 400


@pytest.mark.parametrize("kind", ["%00", "bug%00", "%00bug"])
async def test_a_path_that_holds_a_nul_names_nothing(client: Any, kind: str) -> None:
    reply, problem = await client.send("GET", f"/v1/failures/{kind}")
    assert (reply.status, problem["code"]) == (404, "not_found")


async def test_only_an_internal_key_names_a_tenant_and_only_on_internal_routes(
    client: Any, settings: Settings, http: HttpClient
) -> None:
    foreign, _ = await client.send("GET", "/v1/whoami", headers={"Amana-Tenant": "0"})
    assert foreign.status == 403
    key = provision.new_internal_key()
    await provision.ensure_internal_key(settings.owner_database_url, key)
    await provision.ensure_internal_key(settings.owner_database_url, key)

    async def whoami(path: str = "/v1/whoami", **headers: str) -> tuple[int, bytes]:
        sent = {"Authorization": f"Bearer {key}"} | {name.replace("_", "-"): v for name, v in headers.items()}
        reply = await http.request("GET", client.url + path, headers=sent, timeout_ms=5_000)
        return reply.status, reply.body

    assert b'"tenant":0' in (await whoami())[1]
    assert b'"tenant":77' in (await whoami(Amana_Tenant="77"))[1]
    assert [(await whoami(Amana_Tenant=bad))[0] for bad in ("x", "-1", "1.5", "99999999999", "")] == [400] * 5
    assert (await whoami("/v1/slow"))[0] == 403


async def test_every_response_carries_its_request_id_trace_and_headers(client: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = {"X-Request-Id": "order-17", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    reply, receipt = await client.send(
        "POST", "/v1/payments", b'{"id":"%s","amount":1,"currency":"NGN"}' % ID.encode(), sent
    )
    assert (reply.status, receipt["trace"], reply.headers["x-request-id"]) == (200, trace, "order-17")
    assert re.fullmatch(f"00-{trace}-[0-9a-f]{{16}}-01", reply.headers["traceparent"])
    assert reply.headers["traceparent"] != sent["traceparent"]
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "server" not in reply.headers


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "{}"])
async def test_a_request_id_or_trace_that_can_not_be_trusted_is_made_anew(client: Any, bad: str) -> None:
    reply, _ = await client.send("GET", "/v1/whoami", headers={"X-Request-Id": bad, "traceparent": bad})
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", reply.headers["traceparent"])


PATHS = """
GET    /v1/nothing                                        | 404 | not_found
GET    /                                                  | 404 | not_found
GET    /v1/payments/not-a-uuid                            | 404 | not_found
GET    /v1/payments/0190c7a2-1111-7000-8000-000000000001  | 404 | not_found
GET    /v1/payments/%00                                   | 404 | not_found
GET    /v1/payments/%ff%fe                                | 404 | not_found
GET    /v1/../v1/nothing                                  | 404 | not_found
DELETE /v1/payments                                       | 405 | method_not_allowed
PUT    /v1/payments                                       | 405 | method_not_allowed
TRACE  /v1/payments                                       | 405 | method_not_allowed
GET    /v1/payments                                       | 400 | validation
GET    /v1/payments?owner=x                               | 400 | validation
GET    /v1/payments?owner={id}&limit=0                    | 400 | validation
GET    /v1/payments?owner={id}&limit=1001                 | 400 | validation
GET    /v1/payments?owner={id}&limit=ten                  | 400 | validation
GET    /v1/payments?owner={id}&limit=1&limit=2            | 400 | validation
GET    /v1/payments?owner={id}&sort=up                    | 400 | validation
GET    /v1/payments?owner={id}&after=%ff                  | 400 | validation
GET    /v1/payments?owner={id}&after=%00                  | 400 | validation
"""


@pytest.mark.parametrize("line", PATHS.strip().splitlines())
async def test_a_bad_path_method_or_query_is_a_problem(client: Any, line: str) -> None:
    request, status, reason = (part.strip() for part in line.split("|"))
    method, path = request.replace("{id}", ID).split()
    reply, problem = await client.send(method, path)
    assert (reply.status, problem["code"], problem["status"]) == (int(status), reason, int(status))
    assert status != "405" or set(reply.headers["allow"].split(", ")) >= {"GET", "POST"}


async def test_a_bad_id_and_a_foreign_id_look_the_same(client: Any) -> None:
    _, bad = await client.send("GET", "/v1/payments/not-a-uuid", headers={"X-Request-Id": "r"})
    _, foreign = await client.send("GET", f"/v1/payments/{uuid4()}", headers={"X-Request-Id": "r"})
    assert {**bad, "instance": ""} == {**foreign, "instance": ""}


async def test_a_query_error_names_its_parameter(client: Any) -> None:
    _, unknown = await client.send("GET", f"/v1/payments?owner={ID}&sort=up")
    _, several = await client.send("GET", "/v1/payments?owner=x&limit=0")
    _, missing = await client.send("GET", "/v1/payments")
    assert [(e["pointer"], e["code"]) for e in unknown["errors"]] == [("?sort", "unknown_parameter")]
    assert {e["pointer"] for e in several["errors"]} == {"?owner", "?limit"}
    assert [(e["pointer"], e["code"]) for e in missing["errors"]] == [("?owner", "missing")]


async def test_a_good_query_is_decoded(client: Any) -> None:
    reply, found = await client.send("GET", f"/v1/payments?owner={ID}&limit=7&after=%E2%82%A6")
    assert (reply.status, found) == (200, {"owner": ID, "limit": 7, "after": "₦"})


FAILED = """
bug      | 500 | internal       | false |
database | 503 | unavailable    | true  | 1
commit   | 504 | outcome_unknown | true | 1
overload | 503 | overloaded     | true  | 1
upstream | 503 | unavailable    | true  | 1
refusal  | 422 | limit_exceeded | false |
"""


@pytest.mark.parametrize("line", FAILED.strip().splitlines())
async def test_what_a_handler_raises_becomes_a_problem_and_leaks_nothing(client: Any, line: str) -> None:
    kind, status, reason, retryable, retry_after = (part.strip() for part in line.split("|"))
    reply, problem = await client.send("GET", f"/v1/failures/{kind}")
    assert (reply.status, problem["code"], problem["retryable"]) == (int(status), reason, retryable == "true")
    assert reply.headers.get("retry-after", "") == retry_after
    assert not re.search(rb"secret|refused|eligibility|Traceback", reply.body)


async def test_an_unknown_outcome_says_so_and_a_refusal_gives_its_figures(client: Any) -> None:
    _, unknown = await client.send("GET", "/v1/failures/commit")
    _, known = await client.send("GET", "/v1/failures/database")
    _, refused = await client.send("GET", "/v1/failures/refusal")
    assert "Send the same id again" in unknown["detail"]
    assert "Nothing was done" in known["detail"]
    assert refused["figures"] == {"limit": 5_000, "exposure": 4_900}


@pytest.mark.parametrize(
    ("accept", "good"),
    [
        ("", True),
        ("*/*", True),
        ("application/json", True),
        ("text/html, application/*;q=0.5", True),
        ("application/json;q=0", False),
        ("application/json; q=0.000, text/html", False),
        ("text/html", False),
    ],
)
def test_accept_is_honoured(accept: str, good: bool) -> None:
    assert accepts_json(accept) is good


async def test_an_accept_header_without_json_is_a_406(client: Any) -> None:
    reply, problem = await client.send("GET", "/v1/whoami", headers={"Accept": "text/html"})
    assert (reply.status, problem["code"]) == (406, "not_acceptable")


async def test_health_and_metrics_need_no_key_and_label_by_route(client: Any, http: HttpClient) -> None:
    await client.send("GET", f"/v1/payments/{uuid4()}")
    await client.send("GET", "/secret/path/nobody/knows")

    async def text(path: str) -> tuple[int, str]:
        reply = await http.request("GET", client.url + path, timeout_ms=5_000)
        return reply.status, reply.body.decode()

    assert await text("/livez") == (200, '{"status":"live"}')
    assert await text("/readyz") == (200, '{"status":"ready"}')
    status, metrics = await text("/metrics")
    labels = 'http_request_method="GET",http_response_status_code="404",http_route='
    assert status == 200
    assert f'http_server_request_duration_seconds_count{{{labels}"/v1/payments/{{payment_id}}"}}' in metrics
    assert f'{labels}"unmatched"' in metrics
    assert "nobody" not in metrics


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "5s", "soon", "1e3", "9999999999"])
async def test_a_timeout_that_is_no_number_of_milliseconds_is_refused_by_its_name(client: Any, given: str) -> None:
    reply, problem = await client.send("GET", "/v1/whoami", headers={"X-Request-Timeout": given})
    assert (reply.status, problem["code"]) == (400, "validation")
    assert [error["pointer"] for error in problem["errors"]] == ["X-Request-Timeout"]


async def test_a_stranger_is_told_nothing_but_that_the_key_is_not_good(client: Any) -> None:
    headers = {"X-Request-Timeout": "0", "Authorization": "Bearer x"}
    assert (await client.send("GET", "/v1/whoami", headers=headers))[0].status == 401


async def test_a_timeout_is_bounded_by_the_routes_own() -> None:
    for given, bounded_s in (("1000", 1.0), ("60000", 2.0)):
        enter_timeout(given, 2.0)
        left_s = deadline.left_s()
        assert left_s is not None and bounded_s - 0.5 < left_s <= bounded_s
    deadline.enter(None)


async def test_the_docs_load_nothing_from_anywhere_else(client: Any, http: HttpClient) -> None:
    page = await http.request("GET", client.url + "/schema", timeout_ms=5_000)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"//" not in re.sub(rb"(?m)^// .*$", b"", page.body).replace(b"http://", b"//")
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].split("style-src")[0]


async def test_the_description_is_openapi_3_1_with_problems_as_errors(client: Any) -> None:
    reply, api = await client.send("GET", "/schema/openapi.json")
    assert (reply.status, api["openapi"][:3]) == (200, "3.1")
    operation = api["paths"]["/v1/payments"]["post"]
    assert sorted(operation["responses"]) == ["200", "default"]
    assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]
    assert "Problem" in api["components"]["schemas"]
    assert operation["x-scope"] == ["transfers:write"]
    assert api["paths"]["/v1/payment-lists"]["post"]["x-scope"] == ["tape:import", "transfers:write"]
    assert api["paths"]["/v1/payments/{payment_id}"]["get"]["x-scope"] == ["accounts:read"]
    assert not [path for path in api["paths"] if not path.startswith("/v1/")]
    timeout = operation["parameters"][-1]
    assert (timeout["name"], timeout["in"], timeout["required"]) == ("X-Request-Timeout", "header", False)
    assert "15 s" in timeout["description"]


async def test_the_log_tells_of_calls_between_services_only_when_they_fail(
    settings: Settings, client: Any, http: HttpClient
) -> None:
    key = provision.new_internal_key()
    await provision.ensure_internal_key(settings.owner_database_url, key)
    internal = {"Authorization": f"Bearer {key}"}
    with structlog.testing.capture_logs() as lines:
        await http.request("GET", client.url + "/v1/whoami", headers=internal, timeout_ms=5_000)
        await http.request("GET", client.url + "/v1/payments", headers=internal, timeout_ms=5_000)
        await client.send("GET", "/v1/whoami")
    told = [(line["log_level"], line["http.response.status_code"]) for line in lines if line["event"] == "request"]
    assert told == [("debug", 200), ("info", 403), ("info", 200)]


async def test_a_route_without_a_scope_can_not_be_built(settings: Settings) -> None:
    @get("/v1/forgotten", sync_to_thread=False)
    def forgotten() -> None:
        return None

    keys = KeyRing(KeyStore(settings.eligibility_database_url))
    with pytest.raises(AssertionError, match="GET /v1/forgotten declares no scope"):
        build_app(service="example", routes=[forgotten], keys=keys)
    with pytest.raises(AssertionError, match="no route has the path /v1/x"):
        build_app(service="example", routes=[], keys=keys, body_max_by_path={"/v1/x": 1})
