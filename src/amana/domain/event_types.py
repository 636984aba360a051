"""Every type of event that Amana writes, and how any event that was ever written is read.

An event keeps the version under which it was written, in bytes that never change. Readers know the newest version only:
what is older is read as it was declared then and raised, version by version, by its upcaster. So:

- A field that may be absent can be added to a version. Every other change, of shape or of meaning, is a new version:
  keep the old struct under a name of its own, declare the new one, and put a function from the old to the new into
  `UPCASTERS`. Declarations and upcasters are never removed.
- The writer writes the newest version: it takes it from `VERSIONS`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from amana.domain.event_kinds import Data, EventType
from amana.domain.event_types_audit import AUDIT_EVENTS
from amana.domain.event_types_decisions import facts_by_source
from amana.domain.event_types_eligibility import ELIGIBILITY_EVENTS
from amana.domain.event_types_ledger import LEDGER_EVENTS
from amana.domain.event_types_notifications import NOTIFICATION_EVENTS
from amana.domain.events import Event

Upcaster: TypeAlias = Callable[[Any], Data]
"""From the data of one version to the data of the next. It adds nothing that the event did not say."""


class UnreadableEvent(ValueError):
    """The bytes are not an event that is declared here; the message says what is wrong and where."""


class Catalogue:
    """Declared types, every version of each, and the upcasters between them.

    An assertion holds it whole: versions count from 1 without a gap, and each but the newest has an upcaster.
    """

    def __init__(self, types: Iterable[EventType], upcasters: Mapping[tuple[str, int], Upcaster]) -> None:
        self.types = tuple(sorted(types, key=lambda type_: (type_.name, type_.version)))
        self._upcasters = dict(upcasters)
        self._newest = {type_.name: type_.version for type_ in self.types}
        self._decoders = {(t.name, t.version): msgspec.json.Decoder(t.data) for t in self.types}
        wanted = {(name, version) for name, newest in self._newest.items() for version in range(1, newest + 1)}
        older = wanted - set(self._newest.items())
        assert len(self.types) == len(self._decoders), "a version is declared once"
        assert wanted == self._decoders.keys(), f"versions with a gap: {wanted ^ self._decoders.keys()}"
        assert older == self._upcasters.keys(), f"upcasters amiss: {older ^ self._upcasters.keys()}"

    @property
    def newest(self) -> Mapping[str, int]:
        """The version under which events of each type are written now."""
        return self._newest

    def read(self, body: bytes) -> Event:
        """The event, its data typed and of the newest version, which `version` then names.

        Fields that are not declared are passed over. Raises `UnreadableEvent` for what is no event, for a type or a
        version that is not declared (a newer writer's), and for data of another shape.
        """
        try:
            written = _envelopes.decode(body)
            data = self._data(written)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableEvent(f"not an event as it is declared: {error}") from error
        for version in range(written.version, self._newest[written.type]):
            data = self._upcasters[written.type, version](data)
        return Event(**msgspec.structs.asdict(written) | {"version": self._newest[written.type], "data": data})

    def _data(self, written: "_Written") -> Data:
        decoder = self._decoders.get((written.type, written.version))
        if decoder is None:
            known = self._newest.get(written.type)
            told = f"its newest version here is {known}" if known else "the type is not declared"
            raise UnreadableEvent(f"{written.type[:NAME_MAX]!r} version {written.version}: {told}")
        try:
            return decoder.decode(written.data)
        except msgspec.ValidationError as error:
            raise UnreadableEvent(f"data of {written.type} version {written.version}: {error}") from error


NAME_MAX = 80
"""How much of an unknown type's name an error repeats."""


class _Written(Event, frozen=True):
    """An event as it was written, its data not looked at yet."""

    data: msgspec.Raw


_envelopes = msgspec.json.Decoder(_Written)

UPCASTERS: dict[tuple[str, int], Upcaster] = {("DecisionMade", 1): facts_by_source}
"""By type and the version that each starts from."""

CATALOGUE = Catalogue((*AUDIT_EVENTS, *ELIGIBILITY_EVENTS, *LEDGER_EVENTS, *NOTIFICATION_EVENTS), UPCASTERS)
VERSIONS = CATALOGUE.newest
"""What a writer puts into an event; an undeclared type is a bug."""
