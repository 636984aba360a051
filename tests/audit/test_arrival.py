"""The audit service starts without its database."""

from tests.arrivals import comes_to_life

from amana.audit.app import build
from amana.infra.settings import Settings


async def test_audit_starts_without_its_database_and_is_ready_once_it_comes(log_settings: Settings) -> None:
    await comes_to_life(build, log_settings, "audit", "/v1/audit/streams", log_settings.internal_key)
