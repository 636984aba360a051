"""The OpenAPI description and the page that shows it.

Every page that Litestar can render loads its script from somewhere on the internet. Ours is one file without a single
outside reference, held to that by its Content-Security-Policy.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute

from amana.domain.reasons import Reason
from amana.gateway.rules import Rule, rule_of
from amana.infra import deadline
from amana.wire.problems import MEDIA_TYPE, Problem

DOCS_PATH = "/schema"

_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_REF = "#/components/schemas/{name}"


def package_version() -> str:
    """Amana's version, as installed; `0` when it runs from a tree that is not."""
    try:
        return version("amana")
    except PackageNotFoundError:
        return "0"


def openapi_config(service: str) -> OpenAPIConfig:
    """Serves the page at `/schema` and the description at `/schema/openapi.json`, both without a key."""
    page = files("amana.gateway").joinpath("docs.html").read_bytes()
    headers = {"content-security-policy": content_security_policy(page), "cache-control": "no-cache"}
    return OpenAPIConfig(
        title=f"Amana {service}",
        version=package_version(),
        description="Amounts are integers in minor units. The `id` of a mutation is its idempotency key.",
        openapi_router=Router(DOCS_PATH, route_handlers=[], include_in_schema=False, response_headers=headers),
        render_plugins=[_Page(page), _Description()],
        components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"key": []}],
        use_handler_docstrings=True,
    )


def content_security_policy(page: bytes) -> str:
    """Allows the page its own script, by hash, its styles and calls to the same origin; nothing else."""
    hashes = (b64encode(sha256(script).digest()).decode() for script in _SCRIPT.findall(page))
    scripts = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def describe(schema: dict[str, Any], rules: Mapping[tuple[str, str], Rule]) -> dict[str, Any]:
    """The description with what Litestar does not know of an operation or assumes: its errors are problems, `x-scope`
    lists the scopes of which a key needs one, and a client may say how long it waits. `rules` is by path and lower-case
    method."""
    _, components = msgspec.json.schema_components([Problem], ref_template=_REF)
    schemas = schema["components"].setdefault("schemas", {}) | components
    answer = {
        "description": "A problem (RFC 9457); `code` is the reason, from the table of refusals.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name=Problem.__name__)}}},
    }
    paths = {
        path: {
            method: _described(operation, answer, rules.get((path, method))) for method, operation in methods.items()
        }
        for path, methods in schema["paths"].items()
    }
    return schema | {"paths": paths, "components": schema["components"] | {"schemas": schemas}}


def rules_of(app: Litestar) -> dict[tuple[str, str], Rule]:
    """The rule of every operation, by path as OpenAPI writes it and lower-case method."""
    return {
        (route.path_format, method.lower()): rule_of(handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def _described(operation: Any, answer: dict[str, Any], rule: Rule | None) -> Any:
    if not isinstance(operation, dict) or rule is None:
        return operation
    responses = {status: r for status, r in operation["responses"].items() if not status.startswith(("4", "5"))}
    return operation | {
        "x-scope": sorted(rule.scopes),
        "parameters": [*operation.get("parameters", []), _timeout_parameter(rule)],
        "responses": responses | {"default": answer},
    }


def _timeout_parameter(rule: Rule) -> dict[str, Any]:
    return {
        "name": deadline.HEADER,
        "in": "header",
        "required": False,
        "description": f"For how many milliseconds you wait, {rule.timeout_max_s:g} s at the most. What can't be done "
        f"by then is not begun: 503 `{Reason.DEADLINE_EXCEEDED}`.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    }


class _Page(OpenAPIRenderPlugin):
    def __init__(self, page: bytes) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)
        self._page = page

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return self._page


class _Description(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=MediaType.JSON)
        self._bytes = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if not self._bytes:
            self._bytes = msgspec.json.encode(describe(openapi_schema, rules_of(request.app)))
        return self._bytes
