"""Every setting, in one place, from environment variables named `AMANA_<FIELD>`.

Nothing reads the environment anywhere else and nothing reads it at import. `amana up`, `amana demo` and the tests fill
these in from the embedded servers; a deployment sets them.
"""

from collections.abc import Mapping

import msgspec

KAFKA_PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
KAFKA_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
KAFKA_PARTITIONS_MAX = 10_000
DAYS_MAX = 36_525
SETTLED_DAYS_MIN = 7
"""What is settled stays for as long, whatever the settings: nothing that may go then is still told to anybody."""


class SettingsError(ValueError):
    """A setting has a value that can't be used; the message names the variable."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to know. URLs are empty where the process does not use that server.

    `*_database_url` are `postgresql://role:password@host:port/database`; `owner_*` belong to the role that migrates.
    """

    owner_database_url: str = ""
    owner_audit_database_url: str = ""
    owner_keys_database_url: str = ""
    owner_metrics_database_url: str = ""
    eligibility_database_url: str = ""
    transactions_database_url: str = ""
    audit_database_url: str = ""
    metrics_database_url: str = ""
    relay_database_url: str = ""
    notifications_database_url: str = ""
    gateway_database_url: str = ""
    keys_database_url: str = ""
    transactions_keys_database_url: str = ""
    redis_url: str = ""
    quota_default_rate: int = 0
    quota_replicas: int = 1
    kafka_bootstrap: str = ""
    kafka_security_protocol: str = "plaintext"
    kafka_sasl_mechanism: str = ""
    kafka_username: str = ""
    kafka_password: str = ""
    kafka_ca_file: str = ""
    kafka_partitions: int = 4
    relay_events_per_s: int = 25_000
    eligibility_url: str = "http://127.0.0.1:7801"
    transactions_url: str = "http://127.0.0.1:7802"
    audit_url: str = "http://127.0.0.1:7803"
    notifications_url: str = "http://127.0.0.1:7805"
    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    listen_shared: int = 0
    metrics_port: int = 0
    internal_key: str = ""
    api_key: str = ""
    audit_key_file: str = ""
    privacy_key_file: str = ""
    retention_days: int = 1_827
    legal_hold: str = ""
    settled_days: int = 0
    audit_origin: str = "amana.example/audit"
    audit_archive_dir: str = ""
    audit_witness_file: str = ""
    ledger_shards: int = 1
    pool_connections: int = 8
    assessment_ttl_ms: int = 5_000
    assessments_in_memory: int = 100_000
    assessments_validated_per_s: int = 20
    drain_pause_ms: int = 0
    log_level: str = "info"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """`Settings` from variables such as `AMANA_REDIS_URL`. A malformed or unknown one raises `SettingsError`."""
    known = {f"AMANA_{field.upper()}": field for field in Settings.__struct_fields__}
    given = {name: value for name, value in environ.items() if name.startswith("AMANA_")}
    unknown = sorted(name for name in given if name not in known and not name.startswith("AMANA_TEST_"))
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]}")
    values = {known[name]: value for name, value in given.items() if name in known}
    for name, value in values.items():
        if Settings.__annotations__[name] is int and not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise SettingsError(f"AMANA_{name.upper()} must be a whole number, not {value!r}")
    settings = msgspec.convert(values, Settings, strict=False)
    if not 1 <= settings.ledger_shards <= 4096:
        raise SettingsError("AMANA_LEDGER_SHARDS must be between 1 and 4096")
    if not 100 <= settings.assessment_ttl_ms <= 60_000:
        raise SettingsError("AMANA_ASSESSMENT_TTL_MS must be between 100 and 60000")
    if not 1 <= settings.assessments_in_memory <= 10_000_000:
        raise SettingsError("AMANA_ASSESSMENTS_IN_MEMORY must be between 1 and 10000000")
    if settings.assessments_validated_per_s > 10_000:
        raise SettingsError("AMANA_ASSESSMENTS_VALIDATED_PER_S must be between 0 and 10000")
    if settings.metrics_port > 65_535:
        raise SettingsError("AMANA_METRICS_PORT must be between 0 and 65535")
    _check_days(settings)
    if not 100 <= settings.relay_events_per_s <= 1_000_000:
        raise SettingsError("AMANA_RELAY_EVENTS_PER_S must be between 100 and 1000000")
    if not 1 <= settings.kafka_partitions <= KAFKA_PARTITIONS_MAX:
        raise SettingsError(f"AMANA_KAFKA_PARTITIONS must be between 1 and {KAFKA_PARTITIONS_MAX}")
    if settings.quota_default_rate > 1_000_000:
        raise SettingsError("AMANA_QUOTA_DEFAULT_RATE must be between 0 and 1000000")
    if not 1 <= settings.quota_replicas <= 10_000:
        raise SettingsError("AMANA_QUOTA_REPLICAS must be between 1 and 10000")
    return settings


def _check_days(settings: Settings) -> None:
    if settings.retention_days > DAYS_MAX:
        raise SettingsError(f"AMANA_RETENTION_DAYS must be between 0 and {DAYS_MAX}")
    if settings.settled_days and not SETTLED_DAYS_MIN <= settings.settled_days <= DAYS_MAX:
        raise SettingsError(f"AMANA_SETTLED_DAYS must be 0, for never, or between {SETTLED_DAYS_MIN} and {DAYS_MAX}")


def check_kafka(settings: Settings) -> None:
    """Refuses a way to speak to brokers whose settings don't fit together: `SettingsError`, without the password."""
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    if protocol not in KAFKA_PROTOCOLS:
        raise SettingsError(f"AMANA_KAFKA_SECURITY_PROTOCOL must be one of {', '.join(KAFKA_PROTOCOLS)}")
    signs_in = protocol.startswith("sasl_")
    if signs_in and mechanism not in KAFKA_MECHANISMS:
        raise SettingsError(f"AMANA_KAFKA_SASL_MECHANISM must be one of {', '.join(KAFKA_MECHANISMS)}")
    for name in ("kafka_sasl_mechanism", "kafka_username", "kafka_password"):
        if signs_in != bool(getattr(settings, name)):
            how = "needs" if signs_in else "does not use"
            raise SettingsError(f"AMANA_KAFKA_SECURITY_PROTOCOL {protocol} {how} AMANA_{name.upper()}")
    if settings.kafka_ca_file and not protocol.endswith("ssl"):
        raise SettingsError(f"AMANA_KAFKA_SECURITY_PROTOCOL {protocol} does not use AMANA_KAFKA_CA_FILE")


def to_environ(settings: Settings) -> dict[str, str]:
    """The variables that `load_settings` would read back to the same settings, for child processes."""
    return {f"AMANA_{name.upper()}": str(value) for name, value in msgspec.structs.asdict(settings).items()}
