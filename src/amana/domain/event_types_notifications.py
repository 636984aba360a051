"""The events of the notifications service, declared: who was shown what borrowers are told."""

from amana.domain.event_kinds import DataRead, EventType


class NotificationsRead(DataRead, frozen=True):
    """A key was shown what borrowers were or are to be told, by `route`: a template. A sender that claims is shown it
    too. `customers` are the borrowers, or the one who was asked for; `rows` is how many requests were shown."""


NOTIFICATION_EVENTS = (EventType(NotificationsRead.__name__, 1, "notifications", "read", NotificationsRead),)
