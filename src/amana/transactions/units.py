"""What of units is known before anything is read: how heavy they are, and what they claim."""

from collections.abc import Iterator, Sequence

from amana.domain.transfer import Key
from amana.transactions.needs import Needs
from amana.transactions.work import Command, PostOrders, Unit


def weight_of(unit: Unit) -> int:
    """How many commands a unit counts for."""
    return unit[0].weight if len(unit) == 1 else sum([command.weight for command in unit])


def parts_of(unit: Unit, weight_max: int) -> Iterator[Unit]:
    """The unit in pieces of at most that weight; a linked group stays whole."""
    part: list[Command] = []
    weight = 0
    for command in unit:
        if part and weight + command.weight > weight_max:
            yield part
            part, weight = [], 0
        part.append(command)
        weight += command.weight
    yield part


def needs_of(units: Sequence[Unit]) -> Needs:
    """What units need, as far as they say it themselves."""
    needs = Needs()
    for unit in units:
        for command in unit:
            command.first(needs)
    return needs


def plain_claims(unit: Unit) -> set[Key] | None:
    """What a unit claims whose orders all name their accounts and say nothing in their client's words: the same as its
    needs would, and nothing has to be found before it is queued. None for any other, which is rare."""
    claims: set[Key] = set()
    for command in unit:
        if type(command) is not PostOrders:
            return None
        for order in command.orders:
            tenant, debit, credit = order.tenant, order.debit_account, order.credit_account
            if debit is None or credit is None or order.notes is not None:
                return None
            claims.update(((tenant, order.id), (tenant, debit), (tenant, credit)))
    return claims
