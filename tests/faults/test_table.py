"""The table of faults is whole, names tests that exist, and stands in the documentation as it is."""

from __future__ import annotations

from functools import lru_cache

import pytest

from tests.faults.table import REPO, ROWS, Ear, page, seen
from tests.test_docs import functions


def test_every_fault_and_security_row_is_there() -> None:
    assert [row.number for row in ROWS] == [*map(str, range(1, 48)), *(f"S{n}" for n in range(1, 15))]


def test_every_row_names_tests_that_exist() -> None:
    exist = lru_cache(functions)
    for row in ROWS:
        for test in row.tests:
            file, _, name = test.partition("::")
            assert name in exist(REPO / file), test
        assert row.tests
        assert row.expected


def test_the_documentation_shows_the_table() -> None:
    text = (REPO / "docs/faults.md").read_text(encoding="utf-8")
    assert page() in text, "put the output of `python -m tests.faults.table --page` into docs/faults.md"


def test_a_failure_and_a_test_that_did_not_run_are_told() -> None:
    row = ROWS[11]
    told = dict.fromkeys(row.tests, ("passed", 1.0))
    assert seen(row, told) == "as expected (2 tests, 2 s)"
    assert seen(row, told | {row.tests[0]: ("FAILED: no", 1.0)}) == "FAILED: no"
    assert seen(row, {row.tests[0]: ("passed", 1.0)}).startswith("NOT RUN")
    assert seen(row, dict.fromkeys(row.tests, ("left out: no right", 0.0))).startswith("LEFT OUT")


def test_what_pytest_reports_of_a_test_is_one_word_and_its_time() -> None:
    ear = Ear()
    for name, when, outcome, text in (("good", "setup", "passed", None), ("good", "call", "passed", None),
                                      ("bad", "call", "failed", "assert 1 == 2\n  more"),
                                      ("bad", "teardown", "passed", None),
                                      ("none", "setup", "skipped", ("file.py", 3, "Skipped: no right to mount"))):
        ear.pytest_runtest_logreport(pytest.TestReport(
            f"t.py::{name}", ("t.py", 1, name), {}, outcome, text, when, duration=0.5))  # type: ignore[arg-type]
    assert ear.told == {"t.py::good": ("passed", 1.0), "t.py::bad": ("FAILED: assert 1 == 2", 1.0),
                        "t.py::none": ("left out: no right to mount", 0.5)}
