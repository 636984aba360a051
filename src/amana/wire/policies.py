"""Requests and responses about policies and their lives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from amana.domain.policy import Policy
from amana.domain.policy_life import PolicyState
from amana.wire.common import END, Instant, Request, Response

Hash = Annotated[str, Meta(pattern=rf"^[0-9a-f]{{64}}{END}", description="SHA-256 of a document's canonical JSON.")]


class PolicyRequest(Request):
    """A policy to draft. Its `product` says what it decides."""

    id: UUID
    document: Policy


class RollbackRequest(Request):
    """Drafts again the document with this hash, which decided before."""

    id: UUID
    hash: Hash


class ApprovalRequest(Request):
    """Approves a draft of another key. Without a `valid_from` in the future it decides at once."""

    id: UUID
    valid_from: Instant | None = None


class WithdrawalRequest(Request):
    """Takes back a draft, or a version that starts later."""

    id: UUID


class PolicyStepView(Response):
    """What a step did: the state in which it left the version. `replayed`: it was done before under this id."""

    product: str
    version: int
    hash: str
    state: PolicyState
    valid_from: datetime | None
    restores: int | None
    replayed: bool


class VersionView(Response):
    """A version of a policy and its life. `hash` is the SHA-256 of the document's canonical JSON (RFC 8785).

    `restores` is the earlier version that had the same document when it was live.
    """

    product: str
    version: int
    hash: str
    state: PolicyState
    restores: int | None
    drafted_by: str
    drafted_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    valid_from: datetime | None
    withdrawn_by: str | None
    withdrawn_at: datetime | None


class PolicyView(VersionView):
    """A version with its document."""

    document: Policy


class VersionList(Response):
    """The newest versions first. `before` of the next page is the last version of this one."""

    versions: list[VersionView]
