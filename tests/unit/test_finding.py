"""Findings: the same place and reason is the same finding; no prompt, no credential, no control character."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costops.transforms.check import check
from costops.transforms.finding import MEND, excerpt, finding_id, findings
from costops.transforms.tables import CORE_FINDING


def test_a_finding_gets_its_id_its_mend_and_its_table_types() -> None:
    made = findings([{"reason": "impossible_count:usage.x", "source": "a", "day": date(2026, 10, 1), "line": 7}])
    row = check(made, CORE_FINDING).row(0, named=True)
    assert (row["reason"], row["severity"], row["records"]) == ("impossible_count", "error", 1)
    assert row["mend"] == MEND["impossible_count"]
    assert len(row["finding_id"]) == 16


def test_the_same_finding_is_one_row_and_another_place_another() -> None:
    one = {"reason": "missing_field", "source": "a", "uri": "x", "line": 1}
    assert findings([one, one]).height == 1
    assert findings([one, {**one, "line": 2}])["finding_id"].n_unique() == 2
    assert findings([one])["finding_id"].item() == findings([{**one, "excerpt": "more"}])["finding_id"].item()
    assert findings([]).schema == CORE_FINDING.schema


def test_ids_do_not_run_together() -> None:
    assert finding_id("ab", "c") != finding_id("a", "bc")


@pytest.mark.parametrize("raw", [
    '{"content": "CANARY"}', '{"messages": [{"role": "user", "content": "CANARY"}]}', '{"text":"CANARY',
    '{"prompt" : "a \\" CANARY"}', '{"inputBodyJson": {"x": 1}, "input": "CANARY"}',
    '{"arguments": "{\\"q\\": \\"CANARY\\"}"}',
    json.dumps({"choices": [{"message": {"content": "CANARY " * 50}}]}), json.dumps({"free": "CANARY" * 20}),
    '{"key": "sk-CANARY0123456789"}', "AKIACANARY0123456789"])
def test_text_of_people_and_credentials_are_left_out(raw: str) -> None:
    assert "CANARY" not in excerpt(raw)


def test_an_excerpt_says_what_it_left_out_and_keeps_the_figures() -> None:
    told = excerpt('{"id": "x", "content": "secret", "tokens": -5}')
    assert told == '{"id": "x", "content": "[left out]", "tokens": -5}'


@given(st.text(max_size=2_000))
def test_an_excerpt_is_short_and_printable(raw: str) -> None:
    told = excerpt(raw)
    assert len(told) <= 400
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in told)


def test_every_reason_says_what_to_do() -> None:
    assert all(reason.isidentifier() and len(mend) > 20 for reason, mend in MEND.items())
