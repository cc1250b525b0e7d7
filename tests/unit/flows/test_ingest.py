"""Request logs become partitions: what is kept, what is set aside, and that reruns change nothing."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import zstandard

from costops.flows.command import main
from tests.unit.flows.conftest import NOON, Workspace, body

DAY = 86_400


def equation_holds(inputs: pl.DataFrame) -> bool:
    told = pl.col("rows_kept") + pl.col("duplicates") + pl.col("findings") + pl.col("non_billable")
    return bool(inputs.select((told == pl.col("lines_read")).all()).item())


def test_a_request_is_priced_to_the_last_digit(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1, taken=1_001, made=7)])
    assert workspace.run() == 0
    row = workspace.read("core_charge").row(0, named=True)
    assert row["list_cost_usd"] == Decimal("0.0025725")       # 1,001 x 2.50 + 7 x 10.00 per million
    assert (row["day"], row["team"], row["price_status"]) == (date(2026, 10, 29), "search", "priced")


def test_bad_lines_are_set_aside_and_the_good_ones_go_in(workspace: Workspace) -> None:
    wrong = body(2)
    wrong["usage"]["prompt_tokens"] = -5
    workspace.log("a.jsonl", [
        body(1), wrong, '{"id": "cut', "[]", "7", '{"x": 1}', '{"usage": null, "id": "9", "created": 1, "model": "m"}',
        '{"id": "n", "created": 1793275200, "model": "m", "usage": {"prompt_tokens": NaN, "completion_tokens": 1}}',
        '{"id": "f", "created": 1793275200, "model": "m", "usage": {"prompt_tokens": 1.5, "completion_tokens": 1}}',
        '{"id": "h", "created": 1793275200, "model": "m", "usage": {"prompt_tokens": 1e30, "completion_tokens": 1}}',
        '{"error": {"code": 429}, "id": "e"}', body(3)])
    assert workspace.run() == 0
    assert workspace.read("core_charge")["record_id"].to_list() == ["chatcmpl-1", "chatcmpl-3"]
    row = workspace.read("core_input").row(0, named=True)
    assert (row["lines_read"], row["rows_kept"], row["findings"], row["non_billable"]) == (12, 2, 9, 1)
    found = workspace.read("core_finding")
    assert dict(found.group_by("reason").len().iter_rows()) == {
        "malformed_record": 4, "impossible_count": 4, "missing_field": 1}
    assert found.filter(pl.col("reason") == "impossible_count")["line"].sort().to_list() == [2, 8, 9, 10]


def test_an_unknown_unit_is_reported_and_its_record_kept(workspace: Workspace) -> None:
    told = body(1)
    told["usage"]["prompt_tokens_details"]["hologram_tokens"] = 3
    workspace.log("a.jsonl", [told, body(2)])
    workspace.run()
    assert workspace.read("core_charge").height == 2
    assert workspace.read("core_finding").select("reason", "field", "severity").rows() == [
        ("unknown_unit", "$.prompt_tokens_details.hologram_tokens", "warning")]


def test_prompt_text_and_keys_never_reach_a_finding(workspace: Workspace) -> None:
    secret = '{"id": "x", "choices": [{"message": {"content": "CANARY the patient"}}], "key": "sk-abcdefghijkl'
    workspace.log("a.jsonl", [body(1), secret])
    workspace.run()
    everything = b"".join(path.read_bytes() for path in Path(workspace.lake_uri).rglob("*") if path.is_file())
    text = "".join(map(str, workspace.read("core_finding").rows()))
    assert "CANARY" not in text
    assert "sk-abc" not in text
    assert b"CANARY" not in everything


def test_the_same_records_in_two_files_count_once(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1), body(2), body(1)])
    workspace.log("b.jsonl", [body(2), body(3)])
    workspace.run()
    inputs = workspace.read("core_input")
    assert workspace.read("core_charge")["record_id"].sort().to_list() == ["chatcmpl-1", "chatcmpl-2", "chatcmpl-3"]
    assert inputs["duplicates"].sum() == 2
    assert equation_holds(inputs)


def test_a_record_told_again_larger_replaces_the_smaller(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1, made=10)])
    workspace.run()
    workspace.log("b.jsonl", [body(1, made=90)])
    workspace.run()
    assert workspace.read("core_charge")["output_tokens"].to_list() == [90]
    assert equation_holds(workspace.read("core_input"))


def test_any_order_of_delivery_ends_in_the_same_bytes(make_workspace: Callable[[str], Workspace]) -> None:
    dice = random.Random(7)
    records = [body(dice.randrange(60), at=NOON + dice.randrange(3) * DAY, made=dice.randrange(1, 500))
               for _ in range(200)]
    files = {f"{part}.jsonl": records[part::5] for part in range(5)}
    once = make_workspace("once")
    for name, some in files.items():
        once.log(name, some)
    once.run()
    later = make_workspace("later")
    for name in reversed(files):
        later.log(name, files[name])
        later.run()
    strip = {key: value for key, value in later.digest().items() if "_state" not in key}
    assert strip == {key: value for key, value in once.digest().items() if "_state" not in key}


def test_a_rerun_changes_no_byte_and_no_time(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(number, at=NOON + number * 3_600) for number in range(40)])
    workspace.run()
    before = workspace.digest()
    times = {path: path.stat().st_mtime_ns for path in Path(workspace.lake_uri).rglob("*.parquet")}
    assert workspace.run() == 0
    assert workspace.digest() == before
    assert {path: path.stat().st_mtime_ns for path in Path(workspace.lake_uri).rglob("*.parquet")} == times


def test_a_changed_input_is_read_again_and_its_old_rows_go(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1), body(2)])
    workspace.log("b.jsonl", [body(2), body(9, at=NOON + DAY)])
    workspace.run()
    workspace.log("a.jsonl", [body(1, made=50), body(4, at=NOON + 2 * DAY)])
    workspace.run()
    charges = workspace.read("core_charge").sort("record_id")
    assert charges["record_id"].to_list() == ["chatcmpl-1", "chatcmpl-2", "chatcmpl-4", "chatcmpl-9"]
    assert charges["output_tokens"].to_list() == [50, 100, 100, 100]
    assert equation_holds(workspace.read("core_input"))


def test_a_late_record_lands_in_its_own_day_and_touches_no_other(workspace: Workspace) -> None:
    workspace.log("2026-10-29.jsonl", [body(1)])
    workspace.log("2026-10-30.jsonl", [body(2, at=NOON + DAY)])
    workspace.run()
    before = workspace.digest()
    workspace.log("2026-10-31.jsonl", [body(3, at=NOON)])
    workspace.run()
    after = workspace.digest()
    assert after["core_charge/source=openai/day=2026-10-30/part-0.parquet"] == before[
        "core_charge/source=openai/day=2026-10-30/part-0.parquet"]
    assert workspace.read("core_charge").filter(pl.col("day") == date(2026, 10, 29)).height == 2
    assert workspace.read("core_input").filter(pl.col("uri") == "logs/2026-10-31.jsonl")["late_records"].item() == 1


def test_a_file_that_goes_away_keeps_its_rows(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1)]).unlink()
    workspace.log("a.jsonl", [body(1)])
    workspace.run()
    (workspace.home / "logs" / "a.jsonl").unlink()
    assert workspace.run() == 0
    assert workspace.read("core_charge").height == 1


def test_archives_are_read_and_a_cut_one_gives_its_whole_lines(workspace: Workspace) -> None:
    text = "".join(json.dumps(body(number)) + "\n" for number in range(2_000)).encode()
    packed = gzip.compress(text, mtime=0)
    (workspace.home / "logs" / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (workspace.home / "logs" / "b.jsonl.zst").write_bytes(zstandard.compress(text[:40_000].rsplit(b"\n", 1)[0]))
    workspace.run()
    found = workspace.read("core_finding")
    assert found["reason"].to_list() == ["cut_archive"]
    assert equation_holds(workspace.read("core_input"))
    (workspace.home / "logs" / "c.jsonl.gz").write_bytes(packed)
    workspace.run()
    assert workspace.read("core_charge").height == 2_000


def test_a_bomb_is_refused_and_its_neighbour_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("costops.flows.sources.files._RATIO_FREE", 1 << 20)
    (workspace.home / "logs" / "bomb.jsonl.gz").write_bytes(gzip.compress(b"0" * (8 << 20)))
    workspace.log("a.jsonl", [body(1)])
    assert workspace.run() == 0
    assert workspace.read("core_charge").height == 1
    assert workspace.read("core_finding")["reason"].to_list() == ["archive_bomb"]


def test_an_overlong_line_is_set_aside_and_the_others_read(workspace: Workspace) -> None:
    long = json.dumps(body(2, note="x" * (40 << 20)))
    workspace.log("a.jsonl", [body(1), long, body(3)])
    assert workspace.run() == 0
    assert workspace.read("core_charge")["record_id"].to_list() == ["chatcmpl-1", "chatcmpl-3"]
    assert "line_too_long" in workspace.read("core_finding")["reason"].to_list()
    assert equation_holds(workspace.read("core_input"))


def test_hostile_names_stay_text(workspace: Workspace) -> None:
    names = ["../../etc", "a'b\"c", "x\ny", "<script>alert(1)</script>", "=cmd|'/c'!A1", "ünï/..\\"]
    workspace.log("a.jsonl", [body(number, model=name, team=name) for number, name in enumerate(names)])
    assert workspace.run() == 0
    charges = workspace.read("core_charge")
    assert sorted(charges["model_id"]) == sorted(names)
    assert sorted(charges["team"]) == sorted(names)
    assert {path.name for path in Path(workspace.lake_uri).glob("core_charge/*")} == {"source=openai"}


def test_other_files_and_empty_ones_do_no_harm(workspace: Workspace) -> None:
    workspace.log("empty.jsonl", [])
    workspace.log("text.jsonl", ["hello", "world"])
    (workspace.home / "logs" / "image.jsonl").write_bytes(bytes(range(256)) * 40)
    workspace.log("a.jsonl", ["\ufeff" + json.dumps(body(1)), json.dumps(body(2)) + "\r"])
    assert workspace.run() == 0
    assert "chatcmpl-2" in workspace.read("core_charge")["record_id"].to_list()
    assert equation_holds(workspace.read("core_input"))
    assert "wrong_kind" in workspace.read("core_finding")["reason"].to_list()


def test_one_request_in_two_sources_counts_in_the_primary(workspace: Workspace) -> None:
    workspace.sources += ('primary_over = ["second"]\n[[sources]]\nname = "second"\nkind = "openai.requests"\n'
                          'uri = "other/*.jsonl"\n')
    workspace.configure()
    (workspace.home / "other").mkdir()
    (workspace.home / "other" / "b.jsonl").write_text(json.dumps(body(1)) + "\n" + json.dumps(body(5)) + "\n")
    workspace.run()
    assert workspace.read("core_charge")["counted"].to_list() == [True, True]
    workspace.log("late.jsonl", [body(1)])          # the primary tells it a night later
    workspace.run()
    charges = workspace.read("core_charge").filter(pl.col("source") == "second").sort("record_id")
    assert charges["counted"].to_list() == [False, True]
    assert workspace.read("out_spend_daily")["requests"].sum() == 2


def test_an_unknown_model_is_bounded_and_never_free(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1, model="gpt-4o-exp-9999"), body(2)])
    workspace.run()
    row = workspace.read("core_charge").filter(pl.col("model_id") == "gpt-4o-exp-9999").row(0, named=True)
    assert (row["list_cost_usd"], row["price_status"]) == (None, "unpriced")
    assert workspace.read("out_spend_daily")["unpriced_requests"].sum() == 1


def test_the_unpriced_gate_ends_with_1_and_everything_is_written(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1, model="who-knows")])
    path = workspace.home / "costops.toml"
    path.write_text(path.read_text().replace('unpriced_share = "1"', 'unpriced_share = "0"'))
    assert workspace.run() == 1
    assert workspace.read("core_charge").height == 1


def test_a_source_that_is_not_there_does_not_stop_the_others(workspace: Workspace) -> None:
    workspace.sources += '[[sources]]\nname = "gone"\nkind = "openai.requests"\nuri = "nowhere/file.jsonl"\n'
    workspace.configure()
    workspace.log("a.jsonl", [body(1)])
    assert workspace.run() == 3
    assert workspace.read("core_charge").height == 1


def test_spend_sums_to_the_charges(workspace: Workspace) -> None:
    dice = random.Random(3)
    workspace.log("a.jsonl", [body(number, at=NOON + dice.randrange(5 * DAY), taken=dice.randrange(9_000),
                                   team=f"t{number % 4}") for number in range(500)])
    workspace.run()
    total = workspace.read("core_charge")["list_cost_usd"].cast(pl.Decimal(38, 12)).sum()
    assert workspace.read("out_spend_hourly")["list_cost_usd"].sum() == total
    assert workspace.read("out_spend_daily")["list_cost_usd"].sum() == total


def test_a_bucket_counts_until_a_request_log_covers_its_day(workspace: Workspace) -> None:
    (workspace.home / "usage").mkdir()
    start = NOON // DAY * DAY
    page = {"object": "page", "has_more": False, "next_page": None, "data": [{
        "object": "bucket", "start_time": start, "end_time": start + DAY, "results": [{
            "object": "organization.usage.completions.result", "input_tokens": 5_000, "output_tokens": 50,
            "input_cached_tokens": 0, "num_model_requests": 5, "model": "gpt-4o-2024-08-06", "batch": False}]}]}
    (workspace.home / "usage" / "page1.json").write_text(json.dumps(page))
    workspace.sources += '[[sources]]\nname = "feed"\nkind = "openai.usage"\nuri = "usage/*.json"\n'
    workspace.configure()
    assert workspace.run() == 0
    assert workspace.read("out_spend_daily")["requests"].sum() == 5
    workspace.log("a.jsonl", [body(number) for number in range(4)])
    assert workspace.run() == 0
    assert workspace.read("out_spend_daily")["requests"].sum() == 4
    charges = workspace.read("core_charge")
    assert charges.filter(pl.col("source") == "feed")["counted"].to_list() == [False]


def test_the_table_of_teams_decides_whose_a_request_is(workspace: Workspace) -> None:
    workspace.configure('[[teams]]\nfield = "model_id"\npattern = "gpt-4o-mini*"\nteam = "it\'s"\n'
                        '[[teams]]\nfield = "team"\npattern = "sea?ch"\nteam = "find"\n')
    workspace.log("a.jsonl", [body(1), body(2, team="other"), body(3, model="gpt-4o-mini-2024-07-18")])
    assert workspace.run() == 0
    assert workspace.read("core_charge").sort("record_id")["team"].to_list() == ["find", "other", "it's"]


def test_a_model_without_a_price_is_a_finding_that_goes_when_it_is_priced(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1, model="who-knows"), body(2, model="who-knows")])
    workspace.run()
    found = workspace.read("core_finding")
    assert found.select("reason", "field", "records").rows() == [("unpriced", "openai/who-knows", 2)]
    workspace.configure('[[prices]]\nprovider = "openai"\nmodel_id = "who-knows"\n'
                        'usd = { uncached_input = "1", output = "2", cache_read = "0.5" }\n')
    assert main(["reprice", "--config", str(workspace.home / "costops.toml"), "--from", "2026-10-29", "--to",
                 "2026-10-29"]) == 0
    workspace.run()
    charges = workspace.read("core_charge")
    assert charges["list_cost_usd"].to_list() == [Decimal("0.0012"), Decimal("0.0012")]
    assert workspace.read("core_finding").is_empty()


def test_rows_of_a_csv_file_that_are_none_are_set_aside_and_the_good_ones_go_in(workspace: Workspace) -> None:
    header = b"event_id,occurred_at,provider,model,service_tier,input_uncached_tokens,output_tokens,team\n"
    rows = [b"1,2026-09-01T00:00:00Z,openai,gpt-4o,BATCH,1000,500,a",
            b"2,2026-09-01T00:00:00Z,openai,gpt-4o,,1000,500,\xe9",
            b'3,2026-09-01T00:00:00Z,openai,gpt-4o,,1000,500,"b\nc"',
            b"4,2026-09-01T00:00:00Z,openai,gpt-4o,,1,000,500,d",
            b"5,2026-09-01T00:00:00Z,openai,gpt-4o",
            b"6,2026-09-01T00:00:00Z,x-ai,grok-4,,1000,500,e"]
    folder = workspace.home / "own"
    folder.mkdir()
    (folder / "good.csv").write_bytes(header + b"\n".join(rows) + b"\n")
    (folder / "twice.csv").write_bytes(header.replace(b"team", b"model") + rows[0] + b"\n")
    (folder / "nothing.csv").write_bytes(b"")
    (folder / "ends.csv").write_bytes(header.replace(b"\n", b"\r\n") + rows[0].replace(b"1,", b"7,", 1) + b"\n\n"
                                      + rows[0].replace(b"1,", b"8,", 1).replace(b",a", b",f\rg") + b"\r\n")
    workspace.configure('[[sources]]\nname = "own"\nkind = "generic.usage"\nuri = "own/*.csv"\n')
    assert workspace.run() == 0
    charges = workspace.read("core_charge").filter(pl.col("source") == "own").sort("record_id")
    assert charges.select("record_id", "provider", "service_tier", "team").rows() == [
        ("openai:1", "openai", "batch", "a"), ("openai:3", "openai", "standard", "b\nc"),
        ("openai:7", "openai", "batch", "a"), ("openai:8", "openai", "batch", "f g"), ("x_ai:6", "x_ai", "standard", "e")]
    findings = workspace.read("core_finding").filter(pl.col("source") == "own").sort("uri", "line")
    assert findings.select("uri", "reason", "line").rows() == [
        ("own/good.csv", "malformed_record", 3), ("own/good.csv", "bad_row", 6), ("own/good.csv", "bad_row", 7),
        ("own/nothing.csv", "empty_file", None), ("own/twice.csv", "unreadable_file", 1)]
    counts = workspace.read("core_input").filter(pl.col("uri") == "own/good.csv").row(0, named=True)
    assert (counts["lines_read"], counts["rows_kept"], counts["findings"]) == (6, 3, 3)
