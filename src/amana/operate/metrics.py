"""What `amana metrics` does: asks the audit service and lays its answer out; has the database forget the trail."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from amana.gateway.caller import TENANT_HEADER
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.postgres import open_pool, reading
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

TIMEOUT_MS = 15_000
FORGET_TIMEOUT_MS = 600_000
PAGES_MAX = 50
"""Answers that one table is made of."""
NONE = "-"

SQL = load_queries("amana.operate", "metrics.sql")

Row = dict[str, Any]
Columns = Sequence[tuple[str, Callable[[Row], str]]]


async def table(settings: Settings, what: str, tenant: int | None, asked: Mapping[str, str | None]) -> list[str]:
    """The lines of a table of `what`: `decisions`, `transfers` or `latencies`. ValueError says what is wrong.

    Without a `tenant` the lender of `settings.api_key` asks; else the platform does, for that tenant.
    """
    if tenant is None and not settings.api_key:
        raise ValueError("which lender? Give --tenant NUMBER (`amana tenant list`), or its key in AMANA_API_KEY")
    key = settings.api_key if tenant is None else settings.internal_key
    headers = {"Authorization": f"Bearer {key}"} | ({TENANT_HEADER: str(tenant)} if tenant else {})
    query = {name: value for name, value in asked.items() if value is not None}
    rows: list[Row] = []
    async with HttpClient() as http:
        for _ in range(PAGES_MAX):
            answer = await _ask(http, f"{settings.audit_url.rstrip('/')}/v1/metrics/{what}", query, headers)
            rows += answer["rows"]
            if answer["next"] is None:
                return _laid_out(rows, COLUMNS[what])
            query["from"] = answer["next"]
    return [*_laid_out(rows, COLUMNS[what]), f"There is more, from {query['from']} on."]


async def rebuild(owner_dsn: str) -> list[str]:
    """Forgets the trail. ValueError without a metrics database; raises `DatabaseUnavailable`."""
    if not owner_dsn:
        raise ValueError("no metrics database is set: AMANA_OWNER_METRICS_DATABASE_URL")
    pool = await open_pool(owner_dsn, "timescale", 1, FORGET_TIMEOUT_MS)
    try:
        async with reading(pool) as connection:
            since = await connection.fetchval(SQL["forget"])
    finally:
        await pool.close()
    return [
        f"Forgotten: the trail and its counts since {since:%Y-%m-%d %H:%M} UTC. Latencies stay.",
        "The audit service makes them again from its log, now or when it next runs.",
    ]


async def _ask(http: HttpClient, url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Row:
    try:
        reply = await http.request("GET", f"{url}?{urlencode(query)}", headers=dict(headers), timeout_ms=TIMEOUT_MS)
        answer: Row = msgspec.json.decode(reply.body, type=dict)
    except UpstreamUnavailable as error:
        raise ValueError(f"{error}; try again") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{url} answered {reply.status}, and not in JSON: is it Amana?") from error
    if reply.status != 200:
        faults = "; ".join(f"{one['pointer']}: {one['detail']}" for one in answer.get("errors", []))
        raise ValueError(f"{answer.get('detail', reply.status)} {faults}".strip())
    return answer


def _laid_out(rows: Sequence[Row], columns: Columns) -> list[str]:
    """A line of names, and one for each row, in columns as wide as they must be; figures stand to the right."""
    lines = [[name for name, _ in columns], *([show(row) for _, show in columns] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    figures = [bool(rows) and all(_is_figure(line[at]) for line in lines[1:]) for at in range(len(columns))]
    return [
        "  ".join(
            text.rjust(width) if figure else text.ljust(width)
            for text, width, figure in zip(line, widths, figures, strict=True)
        ).rstrip()
        for line in lines
    ]


def _is_figure(text: str) -> bool:
    return text == NONE or text.replace(",", "").replace(".", "").removeprefix(">").isdigit()


def _at(row: Row) -> str:
    return str(row["bucket"])[:16].replace("T", " ")


def _of(name: str) -> Callable[[Row], str]:
    return lambda row: NONE if row[name] is None else str(row[name])


def _count(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:,}"


def _major(name: str) -> Callable[[Row], str]:
    """Minor units as naira and kobo, without a float."""
    return lambda row: f"{int(row[name]) // 100:,}.{int(row[name]) % 100:02}"


def _ms(name: str) -> Callable[[Row], str]:
    return lambda row: ">10000" if row[name] is None else f"{row[name] // 1_000}.{row[name] % 1_000 // 10:02}"


COLUMNS: dict[str, Columns] = {
    "decisions": (
        ("bucket (UTC)", _at),
        ("product", _of("product")),
        ("policy", _of("policy")),
        ("version", _of("policy_version")),
        ("kind", _of("kind")),
        ("outcome", _of("outcome")),
        ("decisions", _count("decisions")),
    ),
    "transfers": (
        ("bucket (UTC)", _at),
        ("product", _of("product")),
        ("kind", _of("kind")),
        ("code", _of("code")),
        ("currency", _of("currency")),
        ("from", _major("amount_from")),
        ("transfers", _count("transfers")),
        ("amount", _major("amount")),
    ),
    "latencies": (
        ("bucket (UTC)", _at),
        ("service", _of("service")),
        ("method", _of("method")),
        ("route", _of("route")),
        ("requests", _count("requests")),
        ("failed", _count("failed")),
        ("mean ms", _ms("mean_us")),
        ("p50", _ms("p50_us")),
        ("p90", _ms("p90_us")),
        ("p95", _ms("p95_us")),
        ("p99", _ms("p99_us")),
        ("p99.9", _ms("p999_us")),
    ),
}
