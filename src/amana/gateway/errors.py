"""Turns whatever a request raised into a problem response; the status comes from the table of refusals."""

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from amana.domain.reasons import Reason
from amana.gateway.caller import visit_of
from amana.gateway.quota_exceeded import QuotaExceeded
from amana.gateway.request import ClientLeft
from amana.gateway.strict import BodyError
from amana.infra.collector import Overloaded
from amana.infra.deadline import DeadlineExceeded
from amana.infra.http import UpstreamUnavailable
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.telemetry import logger
from amana.wire.problems import MEDIA_TYPE, FieldError, Problem, Refused, problem

RETRY_AFTER_S = 1

_log = logger(__name__)


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The problem response for `error`. A bug is logged whole and told as nothing but `internal`."""
    status, headers, body = rendered(error, request.scope["path"], visit_of(request.scope).request_id)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def rendered(error: BaseException, path: str, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the problem for `error`, which is logged where it is not the client's doing."""
    found = problem_of(error)
    if found.code is Reason.INTERNAL:
        _log.error("unhandled exception", request_id=request_id, exc_info=error)
    elif found.status in (503, 504):
        _log.warning("unavailable", request_id=request_id, error=type(error).__name__, detail=str(error))
    body = msgspec.structs.replace(found, instance=path, request_id=request_id)
    return found.status, _headers(found, error), msgspec.json.encode(body)


def problem_of(error: BaseException) -> Problem:
    """The problem that `error` stands for, without the request's own members."""
    match error:
        case Refused():
            return problem(error.reason, error.detail, errors=error.errors, figures=error.figures)
        case BodyError():
            return problem(error.reason, errors=error.errors)
        case DatabaseUnavailable() | UpstreamUnavailable():
            return problem(Reason.UNAVAILABLE if error.outcome_known else Reason.OUTCOME_UNKNOWN)
        case Overloaded():
            return problem(Reason.OVERLOADED)
        case DeadlineExceeded():
            return problem(Reason.DEADLINE_EXCEEDED)
        case ClientLeft():
            return problem(Reason.REQUEST_TIMEOUT)
        case HTTPException():
            return _framework(error)
        case _:
            return problem(Reason.INTERNAL)


def _framework(error: HTTPException) -> Problem:
    """What Litestar itself refuses: no such path or method, parameters of the wrong type, a bad Host header."""
    match error:
        case NotFoundException():
            return problem(Reason.NOT_FOUND)
        case MethodNotAllowedException():
            return problem(Reason.METHOD_NOT_ALLOWED)
        case ValidationException():
            return problem(Reason.VALIDATION, errors=_parameters(error))
        case _ if 400 <= error.status_code < 500:
            return problem(Reason.VALIDATION, "The request's line or headers can't be understood.")
        case _:
            return problem(Reason.INTERNAL)


def _parameters(error: ValidationException) -> list[FieldError]:
    extra = error.extra if isinstance(error.extra, list) else []
    return [
        FieldError(_pointer(str(item.get("key", "")), str(item.get("source", ""))), "invalid", str(item["message"]))
        for item in extra
    ]


def _pointer(key: str, source: str) -> str:
    source = source.rpartition(".")[2].lower()
    return {"path": f"{{{key}}}", "header": key, "body": f"/{key}"}.get(source, f"?{key}")


def _headers(found: Problem, error: BaseException) -> dict[str, str]:
    headers = {}
    if found.code is Reason.UNAUTHENTICATED:
        headers["www-authenticate"] = 'Bearer realm="amana"'
    if found.status in (429, 503, 504):
        headers["retry-after"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    if found.status == 408:
        headers["connection"] = "close"
    if isinstance(error, QuotaExceeded):
        headers |= error.headers()
    if isinstance(error, MethodNotAllowedException):
        headers["allow"] = (error.headers or {}).get("allow", "")
    return headers
