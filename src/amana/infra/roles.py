"""The role of each service in the databases: migrations make them and grant them their rights."""

from amana.infra.settings import Settings


def role_urls(settings: Settings) -> dict[str, str]:
    """The DSN of each service role, by the role's name."""
    return {
        "amana_eligibility": settings.eligibility_database_url,
        "amana_transactions": settings.transactions_database_url,
        "amana_relay": settings.relay_database_url,
        "amana_audit": settings.audit_database_url,
        "amana_notifications": settings.notifications_database_url,
    }


def key_role_urls(settings: Settings) -> dict[str, str]:
    """The same of those who use customers' keys, in the database of keys."""
    return {
        "amana_eligibility": settings.keys_database_url,
        "amana_transactions": settings.transactions_keys_database_url,
    }
