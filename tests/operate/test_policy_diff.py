"""What differs between two policies, said for people."""

import msgspec
from tests.domain.test_policy import document

from amana.operate.policy_diff import differences


def test_the_same_document_differs_in_nothing() -> None:
    assert list(differences(document(), document())) == []


def test_parts_with_an_id_are_matched_wherever_they_stand() -> None:
    changed = document()
    changed["rules"].reverse()
    changed["rules"][-2]["value"] = 21
    gone = changed["rules"].pop(0)
    changed["rules"].append({"id": "new"})
    changed["caps"]["kyc"][1]["cap"] = 5
    changed["scorecard"]["bands"][0]["reason"] = "loan_open"
    assert sorted(differences(document(), changed)) == [
        '+ /rules/new  {"id":"new"}',
        f"- /rules/{gone['id']}  {msgspec.json.encode(gone).decode()}",
        "~ /caps/kyc/1/cap  7500000 -> 5",
        "~ /rules/adult/value  18 -> 21",
        '~ /scorecard/bands/e/reason  "score_too_low" -> "loan_open"',
    ]


def test_a_value_of_another_kind_is_said_whole() -> None:
    assert list(differences({"a": [1]}, {"a": 2})) == ["~ /a  [1] -> 2"]
