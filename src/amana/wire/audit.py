"""What the audit service answers. Hashes are 64 lower-case hex digits; notes and keys are C2SP texts."""

from datetime import datetime
from uuid import UUID

from amana.wire.common import Response


class ReplacedKey(Response):
    """A key that was replaced: it signed checkpoints of up to `signed_until` leaves."""

    verifier_key: str
    signed_until: int


class StreamKey(Response):
    """The key of one stream: `verifier_key` is `name+id+key` of a C2SP signed note, its name the log's origin.

    `replaced` are the keys before it, oldest first.
    """

    stream: str
    verifier_key: str
    replaced: list[ReplacedKey]


class AuditKeys(Response):
    """The keys that checkpoints are signed with. Keep them apart from the log: they are what a verifier trusts.

    `rotations` are signed notes, oldest first, by which each key was replaced by the next: whoever trusts one of the
    keys comes to trust the others by them.
    """

    keys: list[StreamKey]
    rotations: list[str]


class CheckpointView(Response):
    """A signed checkpoint: `size` leaves under `root`; `note` is what was signed, whole.

    `cosigned` are the newest notes that witnesses cosigned, one of each: mostly of a few leaves less.
    """

    stream: str
    size: int
    root: str
    note: str
    signed_at: datetime
    verifier_key: str
    cosigned: list[str]


class AuditEventView(Response):
    """An event in the log. `body` holds the exact bytes (UTF-8) that the leaf at `position` is the hash of.

    `sealed`: a signed checkpoint covers it, so that a proof can be asked for.
    """

    stream: str
    position: int
    sealed: bool
    event_id: UUID
    received_at: datetime
    body: str


class SearchableStream(Response):
    """What of a stream can be found: positions from `floor` to before `size`. A moment ago `received` were there."""

    stream: str
    floor: int
    size: int
    received: int


class AuditEventPage(Response):
    """Events in the order asked for. `next`, when there may be more, is the `after` of the next page: a page may be
    short, or empty, and still have one."""

    events: list[AuditEventView]
    next: str | None
    searched: list[SearchableStream]


class AccessView(Response):
    """One read: which key asked which route of which service for what, and how much it was shown.

    `stream` is the service, or `accesses` where the audit log itself was read. `rows` is null for what was streamed.
    `asked` has the parameters as texts; `customers` are those whom it was about, also owners of accounts who are none.
    """

    stream: str
    position: int
    sealed: bool
    event_id: UUID
    read_at: datetime
    actor: str
    trace: str
    route: str
    asked: dict[str, str]
    customers: list[UUID]
    rows: int | None


class AccessPage(Response):
    """Reads in the order asked for. `next`, when there may be more, is the `after` of the next page."""

    accesses: list[AccessView]
    next: str | None
    searched: list[SearchableStream]


class InclusionProofView(Response):
    """That leaf `position` is in the log of `tree_size` leaves (RFC 9162, 2.1.3).

    To check: SHA-256(0x00 || body of the event) is `leaf_hash`; `hashes` lead from it to the root of `tree_size`
    leaves. That is the one in `checkpoint`, the newest, whose signature is by `verifier_key`; or, where you asked for
    another size, the one in the checkpoint of that size that you have.
    """

    stream: str
    position: int
    tree_size: int
    leaf_hash: str
    hashes: list[str]
    checkpoint: str
    verifier_key: str


class ConsistencyProofView(Response):
    """That the log of `new_size` leaves begins with that of `old_size` leaves (RFC 9162, 2.1.4)."""

    stream: str
    old_size: int
    new_size: int
    hashes: list[str]
    checkpoint: str
    verifier_key: str


class StreamStatus(Response):
    """How far a stream is. `received` and `source_last` are highest positions, -1 for none, null for not known yet.

    `missing` counts the positions up to there that have not come; `first_missing` is the first of them, or else the
    next one to come. `sealed_size` and `indexed_size` count leaves from the beginning: under a checkpoint, and to be
    found by search. `refusing` says why nothing is signed, null while all is well. `irregularities` counts what was
    wrong in what came, by kind.
    """

    stream: str
    received: int
    source_last: int | None
    first_missing: int
    missing: int
    sealed_size: int
    indexed_size: int
    checkpoint: str | None
    refusing: str | None
    irregularities: dict[str, int]


class StreamStatuses(Response):
    """Every stream."""

    streams: list[StreamStatus]


class IrregularityView(Response):
    """What was wrong at `position`, `times` times: `conflict`, `doubled`, `malformed` or `refetched`."""

    kind: str
    position: int
    detail: str
    times: int
    first_at: datetime
    last_at: datetime


class IrregularityList(Response):
    """The last ones seen, newest first."""

    stream: str
    irregularities: list[IrregularityView]
