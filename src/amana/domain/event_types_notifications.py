"""The events of the notifications service, declared: who was shown what borrowers are told, and what of it went."""

from amana.domain.event_kinds import Count, Data, DataRead, EventType


class NotificationsRead(DataRead, frozen=True):
    """A key was shown what borrowers were or are to be told, by `route`: a template. A sender that claims is shown it
    too. `customers` are the borrowers, or the one who was asked for; `rows` is how many requests were shown."""


class SettledPruned(Data, frozen=True):
    """Requests and dead letters that were settled more than `settled_days` days ago were deleted, so many of each."""

    letters: Count
    requests: Count
    settled_days: Count


STREAM = "notifications"
NOTIFICATION_EVENTS = (
    EventType(NotificationsRead.__name__, 1, STREAM, "read", NotificationsRead),
    EventType(SettledPruned.__name__, 1, STREAM, "retention", SettledPruned),
)
