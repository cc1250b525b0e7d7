"""The table of faults: what is expected of each, and what was seen.

    python -m tests.faults.table                    run every test of the table, print number, fault, expected, seen, tests
    python -m tests.faults.table 1 2 S3             only these rows
    python -m tests.faults.table --page             the table of docs/faults.md, without running anything

Rows 1 to 47 are faults of a pipeline; rows S1 to S14 what an attacker or a careless hand may do. Each test runs once,
in one pytest of two processes; what it says goes to standard error while it runs, the table to standard output. After
Ctrl-C the table tells which rows had not been run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

CRASHES, S3, NET, MONTHS = (f"tests/faults/test_{name}.py" for name in ("crashes", "s3", "network", "months"))
DELIVERY, DAMAGE, RIGHTS, READERS = (f"tests/faults/test_{name}.py" for name in (
    "delivery", "damage", "s3_rights", "readers"))
CARE, PREFECT, NOTIFY, ORPHANS = (f"tests/flows/test_{name}.py" for name in ("lake_care", "prefect", "notify", "orphans"))
DEPLOYMENTS = "tests/flows/test_deployments.py"
DOCUMENTS, PAGES, MODELS = (f"tests/faults/test_{name}.py" for name in ("documents", "pages", "models"))
PULL, SILENCE = "tests/replay/test_pull.py", "tests/replay/test_silence.py"
INGEST, CLI = (f"tests/unit/flows/test_{name}.py" for name in ("ingest", "cli"))


@dataclass(frozen=True)
class Row:
    """One fault: `tests` are node ids without parameters, `remark` what a reader must know of the way it holds."""

    number: str
    fault: str
    expected: str
    tests: tuple[str, ...]
    remark: str = ""


def _row(number: int | str, fault: str, expected: str, *tests: str, remark: str = "") -> Row:
    return Row(str(number), fault, expected, tests, remark)


ROWS: tuple[Row, ...] = (
    # crash and rerun
    _row(1, "SIGKILL at random moments of a run", "rerun: the same bytes; no temporary file is left",
         f"{CRASHES}::test_random_kills_end_in_the_same_bytes"),
    _row(2, "SIGKILL at every named point of a write", "a reader sees all old or all new; rerun: the same bytes",
         f"{CRASHES}::test_a_kill_at_a_named_point_shows_old_or_new_and_the_rerun_is_the_same"),
    _row(3, "SIGKILL during a backfill", "finished days keep bytes and time; the rest appears; the same bytes",
         f"{CRASHES}::test_a_killed_backfill_goes_on_and_finished_days_keep_bytes_and_time",
         remark="three days; sixty with COSTOPS_LONG=1"),
    _row(4, "SIGKILL during publish", "`latest/` wholly old or wholly new; every link and listed file resolves",
         f"{CRASHES}::test_latest_is_wholly_old_or_wholly_new"),
    _row(5, "SIGTERM, SIGINT", "exit 130 within 10 s, no process left, rerun: the same bytes",
         f"{CRASHES}::test_an_interruption_is_130_within_ten_seconds_and_leaves_no_process"),
    _row(6, "SIGKILL of flow, worker, both under Prefect",
         "the run ends Crashed; the next completes; writers never overlap",
         f"{PREFECT}::test_a_killed_flow_process_ends_crashed_and_the_next_run_completes",
         f"{ORPHANS}::test_a_worker_and_its_flow_killed_together_end_crashed_by_the_automation",
         f"{CRASHES}::test_two_runs_at_once_end_as_one",
         remark="both at once: with COSTOPS_LONG=1, it waits for a heartbeat"),
    _row(7, "Prefect server killed in mid-run",
         "the data commit, or exit 3; repeated under the server that came back: the same bytes",
         f"{ORPHANS}::test_a_server_that_is_killed_in_mid_run_costs_no_figure",
         f"{ORPHANS}::test_a_server_that_nobody_answers_for_is_3_in_one_sentence",
         remark="where it stays away the run ends a minute late: Prefect goes on trying to send its events"),
    _row(8, "disk full", "exit 3 or 4, the file named, nothing half visible; rerun after freeing: the same bytes",
         f"{CRASHES}::test_a_full_disk_is_named_and_after_freeing_space_the_rerun_is_the_same"),
    _row(9, "read-only lake", "exit 4, one line", f"{CRASHES}::test_a_read_only_lake_is_4_in_one_line"),
    _row(10, "partition truncated, bit flipped, empty, deleted", "`lake verify` names it, exit 4; `run` rebuilds it",
         f"{DAMAGE}::test_what_a_disk_does_to_a_partition_is_named_and_a_run_makes_it_again",
         f"{DAMAGE}::test_a_backfill_over_or_beside_a_cut_day_makes_it_again_too",
         f"{DAMAGE}::test_a_kill_while_cut_days_are_made_again_ends_in_the_same_bytes",
         f"{DAMAGE}::test_a_reader_is_refused_at_a_cut_day_until_it_is_whole_and_never_misses_it",
         f"{DAMAGE}::test_a_kill_between_the_batches_of_a_day_loses_none_of_it",
         f"{DAMAGE}::test_a_day_is_made_again_from_all_of_its_inputs_or_not_at_all",
         f"{DAMAGE}::test_an_input_that_was_renamed_makes_a_lost_day_again",
         f"{DAMAGE}::test_what_no_run_can_make_again_is_said_to_need_a_backup",
         f"{DAMAGE}::test_lost_days_whose_inputs_are_gone_stay_named_and_stop_nothing",
         f"{CARE}::test_every_flipped_bit_is_found",
         remark="a flipped bit is seen by who reads every byte: `lake verify --mend` makes the day again"),
    _row(11, "ledger or format damaged, or newer", "exit 4, says how to mend, writes nothing",
         f"{CARE}::test_a_newer_or_damaged_format_is_refused_and_nothing_is_written",
         f"{CARE}::test_a_damaged_ledger_is_refused_before_anything_is_written"),
    # two at once
    _row(12, "two runs of one window at once", "one waits or exits 4; the bytes of one run",
         f"{CRASHES}::test_two_runs_at_once_end_as_one", f"{S3}::test_two_runs_at_once_end_as_one"),
    _row(13, "two backfills that share a day, S3",
         "one commit per partition; the loser starts again on the new base; the same bytes",
         f"{S3}::test_two_backfills_that_share_a_day_commit_each_partition_once",
         f"{S3}::test_rival_writers_that_are_killed_leave_one_commit_per_partition",
         f"{S3}::test_a_step_whose_base_was_replaced_starts_again_on_the_new_one",
         f"{S3}::test_who_starts_again_notes_anew_which_sums_are_owed",
         f"{S3}::test_what_another_wrote_that_nobody_can_read_is_not_overwritten"),
    _row(14, "DuckDB reader in a loop during rebuilds", "rows and sum are old or new, never anything else; never an error",
         f"{READERS}::test_a_reader_sees_only_old_or_new",
         f"{READERS}::test_a_query_is_asked_again_where_a_file_was_replaced_and_not_for_ever",
         remark="the reader is `cost-ops query`, which is DuckDB. DuckDB 2.0 opens a file several times: a plain query "
                "in the instant of a replacement is refused, not answered wrongly; `cost-ops query` asks again by itself"),
    _row(15, "holder stopped beyond its lease", "its commit is refused; the second run's bytes stand",
         f"{S3}::test_a_holder_stopped_longer_than_its_lease_is_refused_and_the_second_run_counts"),
    _row(16, "compact and retain while a run writes and a reader reads", "no file-not-found, the same sums",
         f"{READERS}::test_compact_and_retain_wait_for_a_run_and_readers_notice_nothing",
         f"{READERS}::test_a_reader_notices_nothing_of_compact"),
    # object store
    _row(17, "503 on every 5th call, bodies cut or reset, a byte a second", "completes, the same bytes, bounded retries",
         f"{NET}::test_slowdown_cut_bodies_and_a_slow_line_end_in_the_same_bytes",
         f"{NET}::test_a_line_of_a_byte_at_a_time_is_waited_for",
         f"{NET}::test_a_partition_that_never_comes_at_all_is_3_and_the_rerun_is_the_same",
         remark="at a byte a second a partition takes hours: after COSTOPS_STORE_TIMEOUT it is asked for again; that it "
                "never comes at all needs minutes and COSTOPS_LONG=1; the byte comes in 0.2 s, in 1 s with COSTOPS_DRIP=1"),
    _row(18, "conditional PUT done, its answer lost", "known as our own, not written twice, nothing deleted",
         f"{NET}::test_a_put_whose_answer_is_lost_is_known_as_our_own"),
    _row(19, "412 and 409 storms, ten writers", "all finish or exit 4; no update lost",
         f"{S3}::test_ten_writers_lose_no_update", f"{NET}::test_a_put_whose_answer_is_lost_is_known_as_our_own"),
    _row(20, "credentials denied in mid-run", "exit 3 or 4, names place and action and not the key; rerun: the same bytes",
         f"{RIGHTS}::test_rights_lost_in_mid_run_are_3_and_the_rerun_is_the_same",
         f"{NET}::test_a_store_that_is_gone_is_named_without_the_secret"),
    _row(21, "multipart upload abandoned", "no visible object; `doctor` tells open uploads",
         f"{RIGHTS}::test_an_upload_that_nobody_ended_is_told_by_the_doctor_and_is_no_object"),
    _row(22, "listing in pages of one, odd keys", "all read once",
         f"{NET}::test_listings_in_pages_of_one_and_odd_keys_are_read_once"),
    # source delivery
    _row(23, "a file again, renamed, packed, split", "counts once, sums equal",
         f"{DELIVERY}::test_a_file_delivered_again_renamed_packed_and_split_counts_once"),
    _row(24, "rows 1, 3, 35 days late", "their day and its roll-ups change by exactly these rows; others keep bytes",
         f"{DELIVERY}::test_late_rows_change_their_own_day_by_exactly_themselves"),
    _row(25, "a bill restated before and after the close",
         "before: the new figure; after: exit 4, a finding, reopening logged",
         f"{MONTHS}::test_a_restated_bill_counts_until_the_month_is_closed_and_then_alarms"),
    _row(26, "a manifest names a missing or growing file", "period skipped with a finding, exit 1, previous figures stand",
         f"{MONTHS}::test_a_manifest_that_names_a_missing_or_growing_file_is_skipped_until_it_is_whole"),
    _row(27, "an export shrinks by 40 % or is empty", "the old partition is held, exit 1, the reason named",
         f"{MONTHS}::test_a_bill_that_shrinks_or_comes_empty_is_held_back_and_the_gate_says_so"),
    _row(28, "columns new, missing, moved, of another type",
         "known fields right, bad rows set aside; never a silent NULL cost",
         f"{DELIVERY}::test_columns_that_come_go_move_and_change_their_type_never_make_a_silent_cost",
         f"{INGEST}::test_an_unknown_unit_is_reported_and_its_record_kept"),
    _row(29, "cut archives, bad bytes, 50 MB lines, depth 100,000",
         "good lines counted, bad ones are findings, memory bounded",
         f"{DELIVERY}::test_broken_bytes_are_set_aside_in_bounded_memory",
         f"{INGEST}::test_bad_lines_are_set_aside_and_the_good_ones_go_in"),
    _row(30, "429, 500, no answer, cut, repeating and changing pages",
         "finishes or exits 3; no gap, no double; a repeating cursor is told",
         f"{PULL}::test_four_hundred_days_with_faults_give_the_same_bytes_as_without",
         f"{PULL}::test_a_page_that_repeats_is_told_and_ends_the_pull",
         f"{PULL}::test_an_address_that_nobody_answers_is_unreachable_after_its_attempts",
         f"{SILENCE}::test_an_answer_that_never_ends_is_asked_for_again",
         f"{SILENCE}::test_a_run_names_the_silent_source_takes_the_others_and_the_next_one_goes_on",
         f"{SILENCE}::test_a_page_that_was_cut_and_changed_meanwhile_lands_once_as_it_came_whole",
         f"{PAGES}::test_pages_that_change_while_they_are_read_leave_no_gap_and_no_double",
         f"{PAGES}::test_a_run_whose_pages_never_end_or_never_come_is_3_and_the_next_has_the_same_bytes"),
    _row(31, "a pull interrupted at a page", "complete pages are not asked for again; the same bytes",
         f"{PULL}::test_a_pull_that_was_killed_goes_on_and_asks_for_no_complete_page_again"),
    _row(32, "clocks: DST, leap day, offsets, future, set back", "the right UTC day; future rows flagged",
         f"{DELIVERY}::test_every_stamp_is_of_its_utc_day_and_the_future_is_set_aside"),
    _row(33, "price changes inside a day, overlaps", "one price per request; `reprice --dry-run` writes nothing",
         "tests/unit/prices/test_charge.py::test_a_price_change_does_not_touch_the_microsecond_before",
         "tests/unit/prices/test_book.py::test_the_shipped_book_has_the_tables_columns_and_no_overlap",
         "tests/unit/prices/test_charge.py::test_what_was_known_then_prices_as_it_did_then",
         f"{DELIVERY}::test_a_price_that_comes_later_touches_the_days_of_its_model_only"),
    _row(34, "a model without a price", "unpriced, bounded, exit 1; with a price only touched partitions change",
         f"{DELIVERY}::test_a_price_that_comes_later_touches_the_days_of_its_model_only",
         f"{INGEST}::test_an_unknown_model_is_bounded_and_never_free"),
    _row(35, "one request in two sources; usage told again larger", "counted once by the stated rule",
         f"{INGEST}::test_one_request_in_two_sources_counts_in_the_primary",
         f"{INGEST}::test_a_record_told_again_larger_replaces_the_smaller"),
    _row(36, "negative, zero, huge counts, long prices, two currencies", "sums equal those of Python decimals",
         f"{DELIVERY}::test_counts_of_any_size_sum_to_what_decimals_sum_to",
         "tests/unit/prices/test_exact.py::test_twenty_thousand_rows_over_the_whole_book_equal_decimals",
         "tests/unit/reconcile/test_odd_bills.py::test_a_bill_in_two_currencies_is_matched_in_each_and_never_summed_across"),
    _row(37, "order, threads, hash seed", "the same bytes", f"{CRASHES}::test_hash_seeds_and_threads_change_no_byte",
         f"{INGEST}::test_any_order_of_delivery_ends_in_the_same_bytes"),
    _row(38, "empty day, empty month, first run, source removed", "valid empty outputs; nothing deleted silently",
         f"{DELIVERY}::test_nothing_to_read_is_a_valid_run_and_a_source_that_leaves_the_configuration_keeps_its_rows"),
    # flows, forecasting, publishing
    _row(39, "a backfill that makes no sense, from the UI", "refused with a message; nothing written",
         f"{PREFECT}::test_a_wrong_backfill_fails_with_a_message_and_writes_nothing",
         f"{PREFECT}::test_an_unknown_stage_never_becomes_a_run"),
    _row(40, "five nights missed", "the next run fills all; no duplicate runs pile up",
         f"{CRASHES}::test_five_missed_nights_are_all_made_by_the_next",
         f"{PREFECT}::test_runs_of_missed_nights_follow_one_another_and_all_but_the_first_write_nothing",
         f"{DEPLOYMENTS}::test_a_second_run_waits_and_parameters_are_checked",
         remark="on a real server two late runs; five with COSTOPS_LONG=1. The late ones are started, one after the "
                "other, and find nothing new"),
    _row(41, "a backfill of 400 days", "memory flat, progress shown, resumes",
         f"{CRASHES}::test_a_long_backfill_is_flat_in_memory",
         f"{PREFECT}::test_a_backfill_shows_its_plan_then_its_progress",
         f"{CRASHES}::test_a_killed_backfill_goes_on_and_finished_days_keep_bytes_and_time",
         remark="forty days; 400 with COSTOPS_DAYS=400"),
    _row(42, "model file damaged, changed, of another version, missing",
         "refused by its hash before it is read, a finding; fitted anew, with the bytes of a night that found none",
         f"{MODELS}::test_a_model_that_is_not_the_one_that_was_written_is_refused",
         f"{MODELS}::test_a_night_that_finds_a_damaged_model_fits_anew_and_has_the_bytes_of_one_that_found_none",
         "tests/unit/models/test_store.py::test_one_changed_byte_is_refused_before_anything_is_read",
         "tests/unit/models/test_store.py::test_anything_else_is_refused_with_what_was_expected",
         "tests/unit/models/test_store.py::test_another_model_than_the_registered_one_is_refused",
         "tests/unit/flows/test_outlook.py::test_a_killed_night_is_done_again_to_the_same_bytes",
         remark="the hash stands in the file, so who may write the lake and makes both anew is believed"),
    _row(43, "series of zeros, one point, gaps", "a forecast or a clear refusal; the others come out",
         "tests/unit/models/test_forecast.py::test_every_series_is_forecast_or_refused_with_a_reason",
         "tests/unit/models/test_forecast.py::test_zeros_stay_zero_and_say_so",
         "tests/unit/models/test_forecast.py::test_one_point_is_repeated_with_an_interval_as_wide_as_ignorance"),
    _row(44, "report store down at publish", "lake complete, exit 3, publish alone mends it",
         f"{CRASHES}::test_a_report_store_that_is_down_leaves_the_lake_whole_and_publish_alone_mends_it"),
    _row(45, "rerun without anything new", "no byte and no time changes",
         f"{CRASHES}::test_a_rerun_without_anything_new_touches_nothing",
         remark="that it takes little of the first run's time is measured on the sample lake, not asserted on three files"),
    _row(46, "a lake of an older release; a newer lake", "read and brought up to date, the same figures; exit 4",
         f"{DELIVERY}::test_a_lake_without_the_newest_columns_is_read_and_brought_up_to_date",
         f"{DAMAGE}::test_a_kill_while_a_lake_of_an_older_program_is_written_ends_in_the_same_bytes",
         "tests/unit/test_lake.py::test_a_lake_of_a_newer_version_is_refused_with_4",
         remark="format 1 is the first and nothing was released before it: the older lake is one whose files lack columns"),
    _row(47, "a budget is crossed", "one alert per budget, threshold and period, also after reruns and crashes",
         f"{NOTIFY}::test_a_budget_over_its_limit_tells_each_way_once_also_after_reruns",
         f"{NOTIFY}::test_a_kill_in_the_middle_loses_no_alert_and_makes_no_second_one"),
    # security
    _row("S1", "credentials planted everywhere, a forced 401", "0 hits in lake, reports, logs, Prefect database, artifacts",
         "tests/flows/test_planted.py::test_what_is_planted_is_found_nowhere_it_must_not_be",
         "tests/replay/test_run.py::test_a_wrong_key_is_named_by_its_variable_and_stops_no_other_source",
         "tests/unit/test_settings.py::test_config_show_tells_whether_a_secret_is_set_and_never_its_value"),
    _row("S2", "SQL that reaches for files, network, settings", "refused",
         f"{CLI}::test_a_query_reads_no_other_file_and_writes_none"),
    _row("S3", "formulas in CSV and XLSX", "text stays text, numbers stay numbers",
         "tests/unit/reports/test_export.py::test_text_that_a_spreadsheet_would_run_gets_a_leading_quote",
         "tests/unit/reports/test_export.py::test_a_workbook_holds_text_as_text_and_money_as_numbers"),
    _row("S4", "script in names, in HTML", "no dialog, no console error, no request in a real browser",
         "tests/browser/test_report.py::test_a_report_is_quiet_and_fits",
         "tests/unit/reports/test_nightly.py::test_hostile_names_are_inert_text"),
    _row("S5", "escape sequences, markdown", "plain text on a terminal and in artifacts",
         "tests/unit/reports/test_terminal.py::test_escape_sequences_and_markup_are_text",
         "tests/flows/test_planted.py::test_what_is_planted_is_found_nowhere_it_must_not_be"),
    _row("S6", "names that look like paths", "partitions by source and day only; names of sources are checked",
         f"{INGEST}::test_hostile_names_stay_text", "tests/unit/test_settings.py::test_a_hostile_value_is_one_sentence"),
    _row("S7", "archive bombs", "refused, the neighbour read", f"{INGEST}::test_a_bomb_is_refused_and_its_neighbour_read"),
    _row("S8", "JSON: depth, NaN, repeated keys", "set aside or read by the stated rule, in bounded memory",
         f"{DELIVERY}::test_broken_bytes_are_set_aside_in_bounded_memory",
         f"{DOCUMENTS}::test_a_bill_that_is_no_honest_json_is_a_finding_and_what_stood_stands",
         f"{DOCUMENTS}::test_an_amount_that_is_no_number_is_a_finding_and_never_a_zero",
         f"{DOCUMENTS}::test_usage_pages_too_deep_or_cut_are_findings_and_their_neighbour_is_read",
         remark="of a name told twice in one line of a log or of an export in lines the last value counts; in a document "
                "two values make it a damaged one"),
    _row("S9", "a next page on another host", "refused, no key sent",
         f"{PULL}::test_a_next_link_to_another_host_is_refused"),
    _row("S10", "model files that run code", "no pickle anywhere; the hash is checked first",
         "tests/test_rules.py::test_nothing_is_unpickled_or_evaluated",
         "tests/unit/models/test_store.py::test_one_changed_byte_is_refused_before_anything_is_read"),
    _row("S11", "flow parameters and the open API as a way in",
         "checked by schema; no credential is a parameter; loopback, and 401 without the password",
         f"{PREFECT}::test_an_unknown_stage_never_becomes_a_run",
         f"{DEPLOYMENTS}::test_a_second_run_waits_and_parameters_are_checked",
         f"{DEPLOYMENTS}::test_no_parameter_is_a_credential",
         f"{DEPLOYMENTS}::test_the_shipped_settings_bind_to_loopback_and_ask_for_a_password",
         f"{DEPLOYMENTS}::test_with_a_password_no_call_but_that_of_health_is_answered_without_it",
         remark="who may start a deployment may run programs as the worker's user: give that right as you give a shell"),
    _row("S12", "rights on the bucket", "a run passes with exactly the policy; each missing right is named",
         f"{RIGHTS}::test_a_run_passes_with_exactly_the_writers_policy",
         f"{RIGHTS}::test_each_right_that_is_missing_is_named",
         f"{RIGHTS}::test_a_reader_reads_and_can_change_nothing"),
    _row("S13", "prompt text in logs", "never read, never kept",
         "tests/test_rules.py::test_no_parser_selects_text_of_people",
         f"{INGEST}::test_prompt_text_and_keys_never_reach_a_finding"),
    _row("S14", "dependencies", "hashes in the lock, no address",
         "tests/test_rules.py::test_the_lock_has_hashes_and_no_address"),
)


def page() -> str:
    """The table as Markdown."""
    lines = ["| | fault | expected | proved by |", "|---|---|---|---|"]
    for row in ROWS:
        tests = "<br>".join(f"`{test}`" for test in row.tests)
        expected = row.expected + (f"<br>*{row.remark}*" if row.remark else "")
        lines.append(f"| {row.number} | {row.fault} | {expected} | {tests} |")
    return "\n".join(lines) + "\n"


def seen(row: Row, told: Mapping[str, tuple[str, float]]) -> str:
    """One word on how the row's tests ended, with their count and time; why, where one failed or was left out."""
    found = [(state, seconds) for test in row.tests for name, (state, seconds) in told.items()
             if name == test or name.startswith(f"{test}[")]
    gone = [test for test in row.tests if not any(name == test or name.startswith(f"{test}[") for name in told)]
    if gone:
        return f"NOT RUN: {gone[0]}"
    for state, _ in found:
        if state.startswith("FAILED"):
            return state
    left = [state for state, _ in found if state.startswith("left out")]
    word = "as expected" if len(left) < len(found) else "LEFT OUT"
    count = len(found) - len(left)
    return (f"{word} ({count} test{'' if count == 1 else 's'}, {sum(s for _, s in found):.0f} s"
            f"{'; ' + left[0] if left else ''})")


@dataclass
class Ear:
    """Listens to pytest: node id -> how the test ended, and its seconds with setting up and tearing down."""

    told: dict[str, tuple[str, float]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        state, seconds = self.told.get(report.nodeid, ("passed", 0.0))
        if not report.passed:
            state = f"{'FAILED' if report.failed else 'left out'}: {_why(report)}"
        self.told[report.nodeid] = state, seconds + report.duration


def _why(report: pytest.TestReport) -> str:
    """The reason of a failure or of leaving out, in one line."""
    if isinstance(report.longrepr, tuple):
        text = report.longrepr[2].removeprefix("Skipped: ")
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash else report.longreprtext
    return next(iter(text.splitlines()), "")[:120]


def outcomes(rows: Sequence[Row], *, workers: int = 2) -> dict[str, tuple[str, float]]:
    """Run the tests of these rows, each once; node id -> how it ended and seconds."""
    wanted, ear = sorted({test for row in rows for test in row.tests}), Ear()
    with chdir(REPO), redirect_stdout(sys.stderr):
        pytest.main(["-vv", "-n", str(workers), "--dist", "loadfile", *wanted], plugins=[ear])
    return ear.told


def main() -> int:
    parser = argparse.ArgumentParser(description="The table of faults: expected and seen.")
    parser.add_argument("numbers", nargs="*", metavar="ROW", help="only these rows")
    parser.add_argument("--page", action="store_true", help="print the table of the documentation, run nothing")
    parser.add_argument("--workers", type=int, default=2, help="processes that run the tests; default 2")
    given = parser.parse_args()
    if given.page:
        print(page(), end="")
        return 0
    rows = [row for row in ROWS if not given.numbers or row.number in given.numbers]
    told, bad = outcomes(rows, workers=given.workers), 0
    for row in rows:
        state = seen(row, told)
        bad += not state.startswith("as expected")
        print(f"{row.number:>3}  {row.fault}\n     expected  {row.expected}\n     seen      {state}")
        for name, text in (("remark", row.remark), *(("test", test) for test in row.tests)):
            if text:
                print(f"     {name:9} {text}")
    print(f"{len(rows) - bad} of {len(rows)} rows as expected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
