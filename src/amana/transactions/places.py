"""Where rows are: every key of the ledger begins with the shard, which follows from the id."""

from collections.abc import Iterable

from amana.domain.ids import shard_of
from amana.domain.transfer import Key
from amana.infra.arrays import integers, uuids


def placed(keys: Iterable[Key], shards: int) -> tuple[str, str, str]:
    """The parameters (shards, tenants, ids) of a statement about these keys."""
    wanted = list(keys)
    return (
        integers([shard_of(id_, shards) for _, id_ in wanted]),
        integers([tenant for tenant, _ in wanted]),
        uuids([id_ for _, id_ in wanted]),
    )
