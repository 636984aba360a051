"""What `amana audit` asks of a running service, as a lender's program does."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from amana.audit.telling import tell
from amana.infra.http import HttpClient, Reply
from amana.infra.settings import Settings

TIMEOUT_MS = 30_000
PAGE_MAX = 1_000

Say = Callable[[str], None]


class AuditRefused(Exception):
    """The service said no, or did not answer like Amana. The message says why, a line for each fault."""


class AuditApi:
    """The service, and the key with which it is asked."""

    def __init__(self, http: HttpClient, settings: Settings) -> None:
        self._http = http
        self._url = f"{settings.audit_url.rstrip('/')}/v1/audit/"
        self._headers = {"Authorization": f"Bearer {settings.api_key}"}

    @classmethod
    async def asked(cls, settings: Settings, work: Callable[[Self], Awaitable[None]]) -> None:
        """Runs `work` with the service of the settings."""
        async with HttpClient() as http:
            await work(cls(http, settings))

    async def get(self, path: str, asked: Mapping[str, Any] | None = None) -> Any:
        """What stands at a path below `/v1/audit`; parameters that are None are left out. Raises `AuditRefused`."""
        given = {name: value for name, value in (asked or {}).items() if value is not None}
        query = f"?{urlencode(given, doseq=True)}" if given else ""
        url = f"{self._url}{path}{query}"
        reply = await self._http.request("GET", url, headers=self._headers, timeout_ms=TIMEOUT_MS)
        _check(reply)
        return msgspec.json.decode(reply.body)

    async def save(self, path: str, out: Path) -> None:
        """Writes what stands at a path to a file, as it comes; the file is there only when all of it came."""
        part = out.with_name(f"{out.name}.part")
        try:
            with part.open("wb") as file:
                reply = await self._http.download(
                    f"{self._url}{path}", headers=self._headers, timeout_ms=TIMEOUT_MS, take=file.write
                )
            _check(reply)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)


async def search(api: AuditApi, asked: Mapping[str, Any], limit: int, as_json: bool, say: Say) -> None:
    """Says the events that are found, at most `limit`."""
    async for event in _pages(api, "events", asked, limit):
        if as_json:
            say(msgspec.json.encode(event).decode())
            continue
        body = msgspec.json.decode(event["body"])
        sealed = "" if event["sealed"] else " (not sealed yet)"
        place = f"{event['stream']} {event['position']}{sealed}"
        say(f"{body['occurred_at']}  {place}  {body['type']}  {tell(body['type'], body['data'])}  by {body['actor']}")
        say(f"    event {event['event_id']}, {body['aggregate']['type']} {body['aggregate']['id']}")


async def accesses(api: AuditApi, asked: Mapping[str, Any], limit: int, as_json: bool, say: Say) -> None:
    """Says who read what, at most `limit` reads."""
    async for access in _pages(api, "accesses", asked, limit):
        if as_json:
            say(msgspec.json.encode(access).decode())
            continue
        wanted = ", ".join(f"{name} {value}" for name, value in access["asked"].items()) or "everything"
        shown = "streamed" if access["rows"] is None else f"{access['rows']} shown"
        say(f"{access['read_at']}  {access['actor']}  {access['stream']}  {access['route']}  {wanted}  {shown}")


async def report(api: AuditApi, customer: UUID, out: Path, page: bool, say: Say) -> None:
    """Writes the report on a customer."""
    await api.save(f"customers/{customer}/report{'.html' if page else ''}", out)
    say(f"Report: {out}")


async def register(api: AuditApi, month: str, out: Path, form: str, say: Say) -> None:
    """Writes the register of a month, and says its totals."""
    await api.save(f"register/{month}?{urlencode({'format': form})}", out)
    totals = await api.get(f"register/{month}", {"format": "totals"})
    say(f"Register: {out}, {totals['events']:,} rows")
    for name, table in totals.items():
        if isinstance(table, dict) and table:
            said = ", ".join(f"{value} {count:,}" for value, count in table.items())
            say(f"{name.replace('_', ' ')}: {said}")


async def _pages(api: AuditApi, path: str, asked: Mapping[str, Any], limit: int) -> Any:
    after, left = None, limit
    while left > 0:
        page = await api.get(path, {**asked, "limit": min(left, PAGE_MAX), "after": after})
        for item in page[path]:
            yield item
        left -= len(page[path])
        after = page["next"]
        if after is None:
            return


def _check(reply: Reply) -> None:
    if reply.status == 200:
        return
    try:
        problem = msgspec.json.decode(reply.body, type=dict)
        faults = [f"{fault['pointer']}  {fault['code']}  {fault['detail']}" for fault in problem["errors"]]
        raise AuditRefused("\n".join([f"{problem['detail']} ({problem['code']})", *faults]))
    except (msgspec.DecodeError, KeyError) as error:
        raise AuditRefused(f"audit answered {reply.status}, and not like Amana") from error
