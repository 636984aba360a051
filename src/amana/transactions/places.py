"""Where rows are: every key of the ledger begins with the shard, which follows from the id."""

from collections.abc import Iterable

from amana.domain.ids import shard_of
from amana.domain.transfer import Key
from amana.infra.arrays import integers, same_integers, uuids


def placed(keys: Iterable[Key], shards: int) -> tuple[str, str, str]:
    """The parameters (shards, tenants, ids) of a statement about these keys."""
    tenants, ids = [], []
    for tenant, id_ in keys:
        tenants.append(tenant)
        ids.append(id_)
    count = len(ids)
    return (
        same_integers(0, count) if shards == 1 else integers([shard_of(id_, shards) for id_ in ids]),
        same_integers(tenants[0], count) if count and tenants.count(tenants[0]) == count else integers(tenants),
        uuids(ids),
    )
