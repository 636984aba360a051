"""Settings come from the environment and nowhere else, and a bad one is named."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.infra.settings import Settings, SettingsError, check_kafka, load_settings, to_environ

FIELDS = Settings.__struct_fields__
INTEGERS = [name for name in FIELDS if Settings.__annotations__[name] is int]
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
settings = st.builds(
    Settings,
    **{name: st.integers(100, 4096) if name in INTEGERS else texts for name in FIELDS},
)


@given(settings)
def test_settings_survive_the_way_through_a_childs_environment(made: Settings) -> None:
    assert load_settings(to_environ(made)) == made


def test_without_variables_the_defaults_hold() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({"PATH": "/usr/bin", "AMANAH": "no"}) == Settings()


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_has_one_variable(name: str) -> None:
    value: str | int = 107 if name in INTEGERS else "seven"
    changed = load_settings({f"AMANA_{name.upper()}": str(value)})
    assert changed == msgspec.structs.replace(Settings(), **{name: value})


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", ["", "x", "1.5", "-1", "0x10", " 1", "1e3", "¹"])
def test_a_malformed_number_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"AMANA_{name.upper()}"):
        load_settings({f"AMANA_{name.upper()}": value})


@pytest.mark.parametrize("shards", ["0", "4097", "100000000"])
def test_an_impossible_number_of_shards_names_its_variable(shards: str) -> None:
    with pytest.raises(SettingsError, match="AMANA_LEDGER_SHARDS must be between 1 and 4096"):
        load_settings({"AMANA_LEDGER_SHARDS": shards})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMANA_ASSESSMENT_TTL_MS", "99"),
        ("AMANA_ASSESSMENT_TTL_MS", "60001"),
        ("AMANA_ASSESSMENTS_IN_MEMORY", "0"),
        ("AMANA_ASSESSMENTS_IN_MEMORY", "10000001"),
        ("AMANA_QUOTA_REPLICAS", "0"),
        ("AMANA_KAFKA_PARTITIONS", "0"),
        ("AMANA_KAFKA_PARTITIONS", "10001"),
        ("AMANA_RELAY_EVENTS_PER_S", "99"),
        ("AMANA_RELAY_EVENTS_PER_S", "1000001"),
    ],
)
def test_a_number_out_of_its_bounds_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be between"):
        load_settings({name: value})


@pytest.mark.parametrize("name", ["AMANA_REDIS", "AMANA_redis_url", "AMANA_", "AMANA_DATABASE_URL"])
def test_a_misspelt_setting_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting {name}$"):
        load_settings({name: "x"})


def test_what_is_meant_for_the_tests_is_passed_over() -> None:
    assert load_settings({"AMANA_TEST_DATABASE_URL": "postgresql://u@h/d"}) == Settings()


SIGNED = {"kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_username": "amana", "kafka_password": "not told"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kafka_security_protocol": "ssl"},
        {"kafka_security_protocol": "ssl", "kafka_ca_file": "ca.pem"},
        {"kafka_security_protocol": "sasl_plaintext", **SIGNED},
        {"kafka_security_protocol": "sasl_ssl", "kafka_ca_file": "ca.pem", **SIGNED},
    ],
)
def test_a_way_to_speak_to_brokers_whose_settings_fit_is_taken(given: dict[str, str]) -> None:
    check_kafka(msgspec.structs.replace(Settings(), **given))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "AMANA_KAFKA_SECURITY_PROTOCOL must be one of plaintext, ssl, "),
        ({"kafka_security_protocol": "sasl_ssl"}, "AMANA_KAFKA_SASL_MECHANISM must be one of PLAIN, SCRAM-SHA-256, "),
        (
            {"kafka_security_protocol": "sasl_ssl", **SIGNED, "kafka_sasl_mechanism": "GSSAPI"},
            "AMANA_KAFKA_SASL_MECHANISM must be one of",
        ),
        (
            {"kafka_security_protocol": "sasl_ssl", **SIGNED, "kafka_username": ""},
            "AMANA_KAFKA_SECURITY_PROTOCOL sasl_ssl needs AMANA_KAFKA_USERNAME",
        ),
        (
            {"kafka_security_protocol": "sasl_ssl", **SIGNED, "kafka_password": ""},
            "AMANA_KAFKA_SECURITY_PROTOCOL sasl_ssl needs AMANA_KAFKA_PASSWORD",
        ),
        (SIGNED, "AMANA_KAFKA_SECURITY_PROTOCOL plaintext does not use AMANA_KAFKA_SASL_MECHANISM"),
        ({"kafka_password": "not told"}, "AMANA_KAFKA_SECURITY_PROTOCOL plaintext does not use AMANA_KAFKA_PASSWORD"),
        ({"kafka_ca_file": "ca.pem"}, "AMANA_KAFKA_SECURITY_PROTOCOL plaintext does not use AMANA_KAFKA_CA_FILE"),
    ],
)
def test_a_way_to_speak_to_brokers_whose_settings_do_not_fit_is_refused_by_name(
    given: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        check_kafka(msgspec.structs.replace(Settings(), **given))
    assert str(refused.value).startswith(told)
    assert "not told" not in str(refused.value)
