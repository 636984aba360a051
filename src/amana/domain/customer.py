"""How what is known of a customer changes: one change at a time, each a version of the customer's facts.

Rules of `changed`, in order; the first that applies is the answer:

    nobody by this id, and the change is no record    customer_not_found
    the customer is to be erased, or was              customer_restricted, customer_erased
    it says what is known already                     no new version, whatever version was expected
    another version was expected                      version_conflict
    a source's newer word is known                    facts_older
"""

from datetime import datetime

import msgspec

from amana.domain.events import utc_text
from amana.domain.privacy import Processing, refuse_processing
from amana.domain.reasons import Reason
from amana.domain.record import CustomerRecord
from amana.domain.sources import BureauSummary, Consents, Said, TopUps
from amana.domain.transfer import Refused

ABSENT = 0
"""The version of the facts of a customer without a record."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a customer at one version of the facts."""

    version: int
    record: CustomerRecord
    said: Said = Said()
    processing: Processing = Processing.OPEN


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is now said: the whole record, another source's word, or several of them at once.

    Of `consents` the purposes that are None stay as they are. With `if_version` the change is for that version of the
    facts only; `ABSENT` expects that there is no record yet.
    """

    record: CustomerRecord | None = None
    bureau: BureauSummary | None = None
    topups: TopUps | None = None
    consents: Consents = Consents()
    if_version: int | None = None


def changed(known: Known | None, change: Change) -> Known | Refused:
    """What is known after `change`; `known` itself where it said nothing new."""
    record = change.record or (None if known is None else known.record)
    if record is None:
        return Refused(Reason.CUSTOMER_NOT_FOUND)
    if known is not None and (refused := refuse_processing(known.processing)) is not None:
        return refused
    before = known or Known(version=ABSENT, record=record)
    said = msgspec.structs.replace(
        before.said,
        bureau=change.bureau or before.said.bureau,
        topups=change.topups or before.said.topups,
        consents=Consents(*(new or old for new, old in zip(change.consents, before.said.consents, strict=True))),
    )
    if known is not None and (record, said) == (known.record, known.said):
        return known
    if change.if_version not in (None, before.version):
        return Refused(Reason.VERSION_CONFLICT, {"facts_version": before.version})
    older = _older(before.said, change)
    return older or Known(version=before.version + 1, record=record, said=said)


def _older(said: Said, change: Change) -> Refused | None:
    """A refusal that names the first source whose newer word is known; the same instant may be put right."""
    known = _instants(said.bureau, said.topups, said.consents)
    for field, given in _instants(change.bureau, change.topups, change.consents).items():
        if field in known and given < known[field]:
            return Refused(Reason.FACTS_OLDER, {"field": field, "known_as_of": utc_text(known[field])})
    return None


def _instants(bureau: BureauSummary | None, topups: TopUps | None, consents: Consents) -> dict[str, datetime]:
    """When each source spoke, by its place in a change."""
    spoke = {} if bureau is None else {"bureau/as_of": bureau.as_of}
    if topups is not None:
        spoke["topups/as_of"] = topups.as_of
    asked = zip(Consents._fields, consents, strict=True)
    return spoke | {f"consents/{purpose}/at": answer.at for purpose, answer in asked if answer is not None}
