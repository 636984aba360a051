"""The reference pages under `docs/reference/`, made from the code: a test holds the pages to it.

Refusals, settings, scopes and routes are read from where they are declared. What an event or a setting means is said
here, once; a test fails when one is missing.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from amana.audit.http import ROUTES as AUDIT_ROUTES
from amana.audit.metrics.http import ROUTES as METRICS_ROUTES
from amana.audit.tile_routes import TILE_ROUTES
from amana.domain.event_kinds import ABSENT, EventType
from amana.domain.event_types import CATALOGUE
from amana.domain.facts import FACTS
from amana.domain.policy_schema import policy_schema
from amana.domain.precedence import KINDS, PRECEDENCE
from amana.domain.reasons import REFUSALS
from amana.eligibility.http import ROUTES as ELIGIBILITY_ROUTES
from amana.gateway.caller import INTERNAL
from amana.gateway.provision import ALL_SCOPES
from amana.infra.settings import Settings
from amana.notifications.http import ROUTES as NOTIFICATIONS_ROUTES
from amana.operate.asyncapi import asyncapi_text
from amana.operate.fact_meanings import FACT_MEANINGS
from amana.transactions.http import ROUTES as TRANSACTIONS_ROUTES

MADE = "<!-- Made from the code; `AMANA_TEST_REGENERATE=1 .venv/bin/python -m pytest tests/docs` writes it anew. -->"


SETTINGS = {
    "owner_database_url": "Main database, as the role that owns it: `migrate`, keys, tenants, `reconcile`, `replay`.",
    "owner_audit_database_url": "Audit's database, as the role that owns it.",
    "owner_keys_database_url": "Database of customers' keys, as the role that owns it. In no backup of the main one.",
    "owner_metrics_database_url": "Metrics database, as the role that owns it. Empty: no metrics are stored.",
    "eligibility_database_url": "Main database as `amana_eligibility`.",
    "transactions_database_url": "Main database as `amana_transactions`.",
    "audit_database_url": "Audit's database as `amana_audit`.",
    "metrics_database_url": "Metrics database as `amana_metrics`, with TimescaleDB or without. Empty: none.",
    "relay_database_url": "Main database as `amana_relay`.",
    "notifications_database_url": "Main database as `amana_notifications`.",
    "gateway_database_url": "Main database as any service role: where a service looks up API keys.",
    "keys_database_url": "The database of customers' keys as `amana_eligibility`.",
    "transactions_keys_database_url": "The database of customers' keys as `amana_transactions`.",
    "redis_url": "Redis or Valkey for cached assessments and quotas. Empty: nothing is cached, quotas are local.",
    "quota_default_rate": "Requests a second of a key without a quota of its own, and as many at once; 0: any number.",
    "quota_replicas": "How many processes share a key's quota while Redis is away: each then grants its part.",
    "kafka_bootstrap": "Kafka brokers, `host:port` with commas.",
    "kafka_security_protocol": "How brokers are spoken to: `plaintext`, `ssl` (TLS), `sasl_plaintext`, `sasl_ssl`.",
    "kafka_sasl_mechanism": "How we sign in with `sasl_…`: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.",
    "kafka_username": "The user with `sasl_…`. It creates and describes topics, and reads and writes them.",
    "kafka_password": "That user's password.",
    "kafka_ca_file": "The certificates, in PEM, that vouch for brokers with `…ssl`. Empty: those of the system.",
    "kafka_partitions": "Partitions of a topic that we create, 1 to 10000; 1 where members of a group share none.",
    "relay_events_per_s": "The most events a second that the relay publishes of a stream, 100 to 1000000.",
    "eligibility_url": "Where other services reach eligibility.",
    "transactions_url": "Where other services reach transactions.",
    "audit_url": "Where tools reach audit.",
    "notifications_url": "Where tools reach notifications.",
    "listen_host": "The address that a service listens on.",
    "listen_port": "The port that a service listens on; 0 is any free one.",
    "listen_shared": "Not 0: other processes of the service listen at the port too, each with its own `metrics_port`.",
    "metrics_port": "A port of this process alone where it shows its metrics too; 0 for none.",
    "internal_key": "The API key with scope `internal` with which services call each other.",
    "api_key": "A lender's API key, for commands that act as its program: `transfers import`, `policy`.",
    "audit_key_file": "The Ed25519 private key that signs checkpoints, in PEM. Signed checkpoints are kept beside it.",
    "privacy_key_file": "The keys that wrap customers' keys. Kept away from every database and its backups.",
    "retention_days": "How long personal data is kept by law after the last decision and loan, and what the audit log "
    "has (five years at least); at most 36525. 5 years.",
    "legal_hold": "Why nothing may be destroyed now, neither a customer nor a body of the audit log, and nothing be "
    "pruned; empty for no such legal hold on everything.",
    "settled_days": "After how many days settled notification requests and dead letters are deleted, 7 to 36525; 0 for "
    "never. Nothing is while `AMANA_LEGAL_HOLD` stands.",
    "audit_origin": "The name of the log in its checkpoints; `/<stream>` is added.",
    "audit_archive_dir": "A folder, best a write-once mount, for a checkpoint of each stream a minute; empty for none.",
    "audit_witness_file": "Who cosigns checkpoints: a witness's verifier key and URL on each line; empty for nobody.",
    "ledger_shards": "How many ledger shards ids are spread over, 1 to 4096. Fixed once there is data.",
    "assessment_ttl_ms": "How old a cached assessment may get and still answer a plain question; at most 60000.",
    "assessments_in_memory": "How many cached assessments one eligibility process holds itself, at most 10000000.",
    "assessments_validated_per_s": "Cached answers that a process compares with their source each second, 0 to 10000.",
    "pool_connections": "Database connections of one service process.",
    "drain_pause_ms": "How long `/readyz` says 503 after SIGTERM before connections are refused; for load balancers.",
    "log_level": "`debug`, `info`, `warning` or `error`.",
}

SCOPES = {
    "accounts:read": "Accounts, entries, transfers, the trial balance.",
    "accounts:write": "Open, bound, freeze and close accounts, set credit lines.",
    "audit:accesses": "Who read what of the tenant's audit log.",
    "audit:read": "The tenant's own events and what is made of them, their proofs, checkpoints, the log's public keys.",
    "customers:identity": "See BVN, NIN, account and phone whole where customers are read; without it they are masked.",
    "customers:write": "Record and read customers, block them and lift blocks.",
    "decisions:appeal": "Contest a decision for its customer, see the appeals.",
    "decisions:override": "Judge: override and reverse decisions, resolve appeals, read what people wrote.",
    "eligibility:check": "Ask for decisions and have them explained.",
    "internal": "Calls between services, for the tenant named in `Amana-Tenant`. Only the platform's own key has it.",
    "loans:read": "Loans and repayments.",
    "loans:write": "Book loans, record and reverse repayments.",
    "metrics:read": "The tenant's own decisions and transfers, counted over time.",
    "notifications:read": "What borrowers are and were to be told.",
    "notifications:send": "Claim notification requests and report what came of them: a sender's key.",
    "policies:approve": "Approve policies that another key drafted, withdraw and read them.",
    "policies:write": "Draft, withdraw and read policies.",
    "privacy:hold": "Place and release legal holds, which keep customers from being erased.",
    "privacy:read": "Read a customer who is to be erased, take a copy of all that is known of one, see erasures and "
    "legal holds.",
    "privacy:write": "Ask for a customer to be erased: it restricts them at once, and nothing undoes it.",
    "tape:import": "Act at a past time: `as_of`, `terms`, `effective_at`, `effective_on`, `imported`.",
    "transfers:force": "Capture a hold after its expiry, limit or no limit, for a reason that the audit log keeps.",
    "transfers:write": "Post, hold, capture, void and reverse transfers.",
}

ROUTES: tuple[tuple[str, Sequence[ControllerRouterHandler]], ...] = (
    ("eligibility", ELIGIBILITY_ROUTES),
    ("transactions", TRANSACTIONS_ROUTES),
    ("audit", (*AUDIT_ROUTES, *TILE_ROUTES, *METRICS_ROUTES)),
    ("notifications", NOTIFICATIONS_ROUTES),
)


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {
        "asyncapi.json": asyncapi_text(),
        "events.md": _events(),
        "policy.schema.json": policy_schema(),
        "facts.md": _facts(),
        "precedence.md": _precedence(),
        "reasons.md": _reasons(),
        "scopes.md": _scopes(),
        "settings.md": _settings(),
    }


def _events() -> str:
    intro = (
        "Past-tense facts, written in the transaction of the change they tell of. The envelope is `event_id`, "
        "`tenant`, `type`, `version`, `occurred_at`, `aggregate` (`type`, `id`, `version`), `actor`, `trace`, `data`; "
        "the bytes are canonical JSON (RFC 8785). Personal data is in none of them. A field with a question mark is "
        "there only where it is set. `debit` and `credit` are an account with its version and its four counters just "
        "after the movement; `notes` is a salted SHA-256 of the client's reference and metadata. The kinds of all "
        "fields are in the [JSON Schema](events.schema.json), topics and headers in the [AsyncAPI "
        "document](asyncapi.json)."
    )
    rows = (
        (f"`{type_.name}`", str(type_.version), type_.stream, type_.aggregate, type_.meaning, _fields(type_))
        for type_ in CATALOGUE.types
    )
    return _page("Events", intro, _table(("Type", "Version", "Stream", "Aggregate", "When", "Fields of `data`"), rows))


def _facts() -> str:
    intro = (
        "What a policy may ask about. A fact that may be unknown is null then, and every rule says what that means. "
        "Each source has its own `as_of`: `customer` the lender's record, `ledger` the instant of the standing, "
        "`bureau` and `topups` the report's own date, `consents` the newest answer. What a source said of a time after "
        "the decision's own is unknown to it. What identifies a person is no fact."
    )
    rows = (
        (f"`{fact.name}`", str(fact.kind), str(fact.source), "yes" if fact.nullable else "no", FACT_MEANINGS[fact.name])
        for fact in FACTS.values()
    )
    return _page("Facts", intro, _table(("Fact", "Kind", "Source", "May be unknown", "Meaning"), rows))


def _fields(type_: EventType) -> str:
    fields = msgspec.structs.fields(type_.data)
    return " ".join(f"`{field.encode_name}`{'?' if field.default is ABSENT else ''}" for field in fields)


def _precedence() -> str:
    intro = (
        "In this order causes of refusal are tried for one item of `POST /v1/transfers` and its kin: where two meet, "
        "the one further up is the answer, with the figures of the last column. None may be retried under the same "
        "id. Whatever is wrong with the debit account is said before anything of the credit account."
    )
    rows = (
        (
            f"`{cause.reason}`",
            "all" if len(cause.kinds) == len(KINDS) else ", ".join(kind for kind in KINDS if kind in cause.kinds),
            cause.side,
            cause.when,
            " ".join(f"`{name}`" for name in cause.figures.split()),
        )
        for cause in PRECEDENCE
    )
    return _page("Precedence of refusals", intro, _table(("Code", "Of", "Account", "When", "Figures"), rows))


def _reasons() -> str:
    intro = (
        "Every refusal that Amana knows. As a whole answer it is a problem (RFC 9457) with `code` and the HTTP status "
        "below; as the result of one item of a list the code is its `reason`. Of what may be retried, of what is "
        "malformed or not allowed, and of a conflict over the id itself nothing is stored: the id may be sent again. A "
        "transfer or loan command that was refused for what it asks stays refused under its id. The reasons of a "
        "decision (why a customer may not borrow) are part of the policy, not of this table. Which of two causes is "
        "the answer to an order for money: [precedence](precedence.md)."
    )
    rows = (
        (f"`{row.reason}`", str(row.status), "yes" if row.retryable else "no", row.meaning) for row in REFUSALS.values()
    )
    return _page("Refusals", intro, _table(("Code", "HTTP", "Retry", "Meaning"), rows))


def _scopes() -> str:
    intro = (
        "What an API key may do. A key carries one or more scopes; a route names the one that it needs. `/livez`, "
        "`/readyz`, `/metrics` and `/schema` need no key."
    )
    by_scope = {scope: list(_routes_with(scope)) for scope in (*ALL_SCOPES, INTERNAL)}
    rows = (
        (f"`{scope}`", SCOPES[scope], "<br>".join(routes) or "beside another scope")
        for scope, routes in sorted(by_scope.items())
    )
    return _page("Scopes", intro, _table(("Scope", "Allows", "Routes"), rows))


def _settings() -> str:
    intro = (
        "Settings come from environment variables only and are read once, at start. A malformed or unknown `AMANA_` "
        "variable stops the process, naming it (those beginning `AMANA_TEST_` belong to the tests). `amana up`, "
        "`amana demo` and the tests set them for the servers that they start. URLs of databases are "
        "`postgresql://role:password@host:port/database`."
    )
    defaults = Settings()
    rows = (
        (f"`AMANA_{name.upper()}`", f"`{value}`" if (value := getattr(defaults, name)) != "" else "", SETTINGS[name])
        for name in Settings.__struct_fields__
    )
    return _page("Settings", intro, _table(("Variable", "Default", "Meaning"), rows))


def routes() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Every route that needs a key: service, method, path, the scopes of which one is needed."""
    for service, handlers in ROUTES:
        for handler in handlers:
            assert isinstance(handler, HTTPRouteHandler), "a route is a plain handler"
            scope = handler.opt["scope"]
            for path in sorted(handler.paths):
                for method in sorted(handler.http_methods):
                    yield service, str(method), path, (scope,) if isinstance(scope, str) else tuple(scope)


def _routes_with(wanted: str) -> Iterator[str]:
    for service, method, path, scopes in routes():
        if wanted in scopes:
            yield f"`{method} {path}` ({service})"


def _page(title: str, intro: str, table: str) -> str:
    return f"{MADE}\n\n# {title}\n\n{intro}\n\n{table}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
