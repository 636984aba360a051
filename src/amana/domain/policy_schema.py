"""The JSON Schema of a policy document, made from its types."""

import msgspec

from amana.domain.policy import Policy

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID = "urn:amana:schema:policy"


def policy_schema() -> str:
    """The schema (draft 2020-12) as indented JSON with a newline at its end.

    It says what shape a document has; what `check_policy` finds is beyond it. One thing a schema can't refuse: to it
    `5.0` is an integer, and a document must write `5`.
    """
    schema = {"$schema": DIALECT, "$id": SCHEMA_ID, **msgspec.json.schema(Policy)}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
