"""What `amana policy` asks of a running service, as a lender's program does; each function gives the lines to show.

Every step has an id. Where it is not known what came of one, the error names the id: sent again under it, the step has
one effect.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec

from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.settings import Settings
from amana.operate.policy_diff import differences
from amana.operate.policy_file import read_document

TIMEOUT_MS = 15_000
UNKNOWN = (503, 504)
"""Answers after which the same step may be sent again."""
LISTED_MAX = 100


class PolicyRefused(Exception):
    """The service said no. The message says why, a line for each fault."""


class PolicyUnanswered(Exception):
    """The service did not answer, or could not do it now. The message says how to go on."""


class PolicyApi:
    """The service, and the key with which it is asked."""

    def __init__(self, http: HttpClient, settings: Settings) -> None:
        self._http = http
        self._url = f"{settings.eligibility_url.rstrip('/')}/v1/policies"
        self._headers = {"Authorization": f"Bearer {settings.api_key}"}

    async def get(self, path: str) -> dict[str, Any]:
        """What stands at a path below `/v1/policies`."""
        return await self._send("GET", path, None, "try again")

    async def post(self, path: str, id_: UUID | None, body: dict[str, Any]) -> dict[str, Any]:
        """Takes a step under `id_`, or a new id."""
        id_ = id_ or uuid4()
        again = f"send it again with --id {id_}: it has one effect"
        return await self._send("POST", path, msgspec.json.encode({"id": id_, **body}), again)

    async def _send(self, method: str, path: str, body: bytes | None, again: str) -> dict[str, Any]:
        try:
            reply = await self._http.request(
                method, self._url + path, body=body, headers=self._headers, timeout_ms=TIMEOUT_MS
            )
        except UpstreamUnavailable as error:
            raise PolicyUnanswered(f"{error}; {again}") from error
        try:
            answer: dict[str, Any] = msgspec.json.decode(reply.body, type=dict)
        except msgspec.DecodeError as error:
            raise PolicyUnanswered(f"{self._url} answered {reply.status}, and not in JSON: is it Amana?") from error
        if reply.status in UNKNOWN:
            raise PolicyUnanswered(f"{answer['detail']} ({answer['code']}); {again}")
        if reply.status != 200:
            raise PolicyRefused("\n".join(_faults(answer)))
        return answer


async def asking(settings: Settings, work: Callable[[PolicyApi], Awaitable[list[str]]]) -> list[str]:
    """Runs `work` with the service of the settings."""
    async with HttpClient() as http:
        return await work(PolicyApi(http, settings))


async def draft(api: PolicyApi, file: str, id_: UUID | None) -> list[str]:
    """Drafts the document of a file. Raises OSError, too."""
    document = msgspec.Raw(read_document(file))
    return _step(await api.post("", id_, {"document": document}))


async def roll_back(api: PolicyApi, product: str, digest: str, id_: UUID | None) -> list[str]:
    """Drafts again what has the hash."""
    return _step(await api.post(f"/{_in_path(product)}/rollbacks", id_, {"hash": digest}))


async def approve(api: PolicyApi, product: str, version: int, start: str | None, id_: UUID | None) -> list[str]:
    """Approves a draft of another key, to decide at once or from an instant on."""
    body = {} if start is None else {"valid_from": start}
    return _step(await api.post(f"/{_in_path(product)}/versions/{version}/approvals", id_, body))


async def withdraw(api: PolicyApi, product: str, version: int, id_: UUID | None) -> list[str]:
    """Takes a draft or a scheduled version back."""
    return _step(await api.post(f"/{_in_path(product)}/versions/{version}/withdrawals", id_, {}))


async def versions(api: PolicyApi, product: str) -> list[str]:
    """A line for each of the newest versions."""
    found = await api.get(f"/{_in_path(product)}/versions?limit={LISTED_MAX}")
    return [_version(version) for version in found["versions"]]


async def show(api: PolicyApi, product: str, version: int | None) -> list[str]:
    """The document of a version, or of the live one."""
    asked = "" if version is None else f"?version={version}"
    found = await api.get(f"/{_in_path(product)}{asked}")
    return [msgspec.json.format(msgspec.json.encode(found["document"]), indent=2).decode()]


async def diff(api: PolicyApi, product: str, before: int, after: int) -> list[str]:
    """A line for each difference between two versions."""
    documents = [(await api.get(f"/{_in_path(product)}?version={version}"))["document"] for version in (before, after)]
    return list(differences(*documents)) or ["no difference"]


def _in_path(product: str) -> str:
    return quote(product, safe="")


def _step(answer: dict[str, Any]) -> list[str]:
    start = f" from {answer['valid_from']}" if answer["valid_from"] else ""
    restores = f" (restores version {answer['restores']})" if answer["restores"] else ""
    again = " (done before)" if answer["replayed"] else ""
    return [
        f"{answer['product']} version {answer['version']}{restores} is {answer['state']}{start}{again}",
        f"hash {answer['hash']}",
    ]


def _version(version: dict[str, Any]) -> str:
    steps = [f"drafted by {version['drafted_by']}"]
    if version["approved_by"]:
        steps.append(f"approved by {version['approved_by']} from {version['valid_from']}")
    if version["withdrawn_by"]:
        steps.append(f"withdrawn by {version['withdrawn_by']}")
    if version["restores"]:
        steps.append(f"restores {version['restores']}")
    return f"{version['version']:>4}  {version['state']:<9}  {version['hash'][:12]}  {', '.join(steps)}"


def _faults(problem: dict[str, Any]) -> list[str]:
    faults = [f"{fault['pointer']}  {fault['code']}  {fault['detail']}" for fault in problem["errors"]]
    return [f"{problem['detail']} ({problem['code']})", *faults]
