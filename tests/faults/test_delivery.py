"""What sources deliver at their worst: twice, late, changed, broken, out of time, without a price, or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from tests.unit.flows.conftest import NOON, Workspace, body
from tests.unit.flows.test_ingest import equation_holds

DAY = 86_400
RATES = (Decimal("0.0000025"), Decimal("0.00001"))
"""USD per token of gpt-4o-2024-08-06: uncached input, output."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def figures(workspace: Workspace) -> tuple[int, Decimal]:
    """Requests and list cost of everything that counts."""
    daily = workspace.read("out_spend_daily")
    return int(daily["requests"].sum()), Decimal(daily["list_cost_usd"].sum() or 0)


def reasons(workspace: Workspace) -> set[str]:
    return set(workspace.read("core_finding")["reason"])


# -- twice, late --------------------------------------------------------------------------------------------------


def test_a_file_delivered_again_renamed_packed_and_split_counts_once(workspace: Workspace) -> None:
    records = [body(number, at=NOON + number * 60, team=f"t{number % 3}") for number in range(60)]
    path = workspace.log("2026-10-29.jsonl", records)
    assert workspace.run() == 0
    before = figures(workspace)
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    (path.parent / "copy of 2026-10-29.jsonl").write_bytes(text)
    (path.parent / "2026-10-29.jsonl.gz").write_bytes(gzip.compress(text))
    (path.parent / "half-1.jsonl").write_bytes(b"".join(lines[:31]))
    (path.parent / "half-2.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[31:]), compresslevel=1))
    assert workspace.run() == 0
    assert figures(workspace) == before == (60, 60 * (1000 * RATES[0] + 100 * RATES[1]))
    assert equation_holds(workspace.read("core_input"))
    assert workspace.read("core_input")["duplicates"].sum() == 180


def test_late_rows_change_their_own_day_by_exactly_themselves(workspace: Workspace) -> None:
    for number in (0, 1, 3, 35, 36):
        stamp = NOON - number * DAY
        workspace.log(f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d}.jsonl", [body(number, at=stamp)])
    assert workspace.run() == 0
    for days_late in (1, 3, 35):
        before, files = figures(workspace), workspace.digest()
        late = NOON - days_late * DAY
        workspace.log(f"late-{days_late}.jsonl", [body(days_late * 1000, at=late, taken=40),
                                                  body(days_late * 1000 + 1, at=late, made=9)])
        assert workspace.run() == 0
        assert figures(workspace) == (before[0] + 2, before[1] + 1040 * RATES[0] + 109 * RATES[1])
        day, after = datetime.fromtimestamp(late, UTC).date(), workspace.digest()
        changed = {key for key in {*files, *after} if files.get(key) != after.get(key) and not key.startswith("_state/")}
        assert {key.rsplit("/", 1)[0] for key in changed} == {
            f"core_charge/source=openai/day={day}", f"out_spend_hourly/day={day}", f"out_spend_daily/month={day:%Y-%m}",
            f"out_focus_daily/billing_period={day:%Y-%m}", "core_input/source=openai"}


def test_a_delivery_that_lacks_a_count_joins_a_day_that_has_it(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(1), body(2)])
    assert workspace.run() == 0
    vectors = [body(number, model="text-embedding-3-small") for number in (3, 4)]
    for one in vectors:
        del one["usage"]["completion_tokens"]
    workspace.log("b.jsonl", vectors)
    assert workspace.run() == 0
    assert workspace.read("core_charge").height == 4


# -- another shape ------------------------------------------------------------------------------------------------

HEADER = ("event_id", "occurred_at", "provider", "model", "service_tier", "input_uncached_tokens", "output_tokens", "team")


def table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "occurred_at": f"2026-10-29T12:00:{number:02d}Z", "provider": "openai",
            "model": "gpt-4o-2024-08-06", "service_tier": "standard", "input_uncached_tokens": 1000,
            "output_tokens": 100, "team": "search", **more}


def test_columns_that_come_go_move_and_change_their_type_never_make_a_silent_cost(workspace: Workspace) -> None:
    workspace.sources = '[[sources]]\nname = "gateway"\nkind = "generic.usage"\nuri = "logs/*"\n'
    workspace.configure()
    plain, logs = [row(number) for number in range(4)], workspace.home / "logs"
    (logs / "1-plain.csv").write_text(table(plain, HEADER))
    (logs / "2-reordered.csv").write_text(table([row(n) for n in range(4, 8)], tuple(reversed(HEADER))))
    (logs / "3-new.csv").write_text(table([row(n, hologram_tokens=5) for n in range(8, 12)], (*HEADER, "hologram_tokens")))
    (logs / "4-text.jsonl").write_text("".join(json.dumps(row(n, input_uncached_tokens="1000")) + "\n"
                                               for n in range(12, 16)))
    (logs / "5-word.csv").write_text(table([row(16), row(17, input_uncached_tokens="many")], HEADER))
    (logs / "6-tier.csv").write_text(table([row(18, service_tier="galactic")], HEADER))
    (logs / "7-missing.csv").write_text(table([row(n) for n in range(19, 22)], tuple(
        name for name in HEADER if name not in ("input_uncached_tokens", "output_tokens"))))
    assert workspace.run() == 0
    charges = workspace.read("core_charge")
    known = charges.filter(pl.col("price_status") == "priced")
    assert set(known["record_id"].str.strip_prefix("openai:")) >= {f"e{n}" for n in range(17)}
    assert set(known["list_cost_usd"]) == {1000 * RATES[0] + 100 * RATES[1]}
    unknown = charges.filter(pl.col("price_status") != "priced")
    assert unknown.filter(pl.col("unpriced_high_usd").is_null() & pl.col("list_cost_usd").is_null() & (
        pl.col("price_status") != "unpriced")).is_empty(), "no cost that is missing without a word"
    assert "e17" not in charges["record_id"].str.strip_prefix("openai:").to_list()
    found = workspace.read("core_finding")
    assert found.filter(pl.col("uri").str.contains("5-word"))["reason"].to_list() == ["impossible_count"]
    assert found.filter(pl.col("uri").str.contains("7-missing"))["records"].sum() == 3
    assert equation_holds(workspace.read("core_input"))


# -- broken bytes -------------------------------------------------------------------------------------------------

LIMIT_MB = 700


def test_broken_bytes_are_set_aside_in_bounded_memory(workspace: Workspace) -> None:
    good = [json.dumps(body(number)).encode() for number in range(20)]
    twice = good[9].replace(b'"model": "gpt-4o-2024-08-06"', b'"model": "gpt-4o-2024-08-06", "model": "gpt-4o-2024-08-06"')
    bad = [b"\xff\xfe broken \xc3\x28 text", b"\x00" * 4096, b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
           b'{"id": "n", "created": 1793275200, "model": "m", "usage": {"prompt_tokens": NaN, "completion_tokens": 1}}',
           b'{"id": "long", "note": "' + b"x" * (50 << 20) + b'"}', b"[" * 100_000, b'{"id": "cut", "usage": {"pro']
    lines = [b"\xef\xbb\xbf" + good[0], *good[1:5], bad[0], bad[1], *[line + b"\r" for line in good[5:9]], twice,
             bad[2], *good[10:15], bad[3], bad[4], *good[15:], bad[5], bad[6]]
    (workspace.home / "logs" / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    packed = gzip.compress(b"\n".join(json.dumps(body(number)).encode() for number in range(100, 400)))
    (workspace.home / "logs" / "cut.jsonl.gz").write_bytes(packed[:-200])
    # VmHWM is the process's own: ru_maxrss begins at what the parent had
    code = ("import re, sys\nfrom pathlib import Path\nfrom costops.flows.command import main\ncode = main(sys.argv[1:])\n"
            "told = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())\n"
            "print(int(told[1]) // 1024)\nsys.exit(code)")
    done = subprocess.run([sys.executable, "-c", code, "run", "-q", "--stage", "ingest", "--stage", "spend", "--config",
                           str(workspace.home / "costops.toml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < LIMIT_MB
    kept = {name for name in workspace.read("core_charge")["record_id"] if int(name.split("-")[1]) < 100}
    assert kept == {f"chatcmpl-{number}" for number in range(20)}
    inputs = workspace.read("core_input").filter(pl.col("uri").str.ends_with("a.jsonl")).row(0, named=True)
    assert (inputs["lines_read"], inputs["rows_kept"], inputs["findings"]) == (27, 20, 7)
    assert {"cut_archive", "line_too_long", "malformed_record"} <= reasons(workspace)
    assert equation_holds(workspace.read("core_input"))


# -- clocks -------------------------------------------------------------------------------------------------------

STAMPS = {
    "2026-10-29T23:59:59.999999Z": "2026-10-29", "2026-10-30T00:00:00Z": "2026-10-30",
    "2026-10-30T09:30:00+14:00": "2026-10-29", "2026-10-29T20:00:00-12:00": "2026-10-30",
    "2024-02-29T23:00:00-01:00": "2024-03-01", "2024-02-29T00:00:00Z": "2024-02-29",      # a leap day
    "2026-10-25T02:30:00+02:00": "2026-10-25", "2026-10-25T02:30:00+01:00": "2026-10-25",  # the hour that comes twice
    "2026-03-29T01:59:59.5+01:00": "2026-03-29", "2025-12-31T23:30:00-05:00": "2026-01-01",
}


def test_every_stamp_is_of_its_utc_day_and_the_future_is_set_aside(workspace: Workspace, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    workspace.sources = '[[sources]]\nname = "gateway"\nkind = "generic.usage"\nuri = "logs/*"\n'
    workspace.configure()
    rows = [row(number, occurred_at=stamp) for number, stamp in enumerate(STAMPS)]
    rows.append(row(50, occurred_at="2031-01-01T00:00:00Z"))
    (workspace.home / "logs" / "a.csv").write_text(table(rows, HEADER))
    assert workspace.run() == 0
    told = dict(workspace.read("core_charge").select(
        pl.col("record_id").str.strip_prefix("openai:"), pl.col("day").cast(pl.String)).iter_rows())
    assert told == {f"e{number}": day for number, day in enumerate(STAMPS.values())}
    assert reasons(workspace) == {"future_record"}
    before = workspace.digest()
    monkeypatch.setenv("COSTOPS_NOW", "2026-11-04T06:00:00+00:00")      # the machine's clock is set back by a day
    assert workspace.run() == 0
    assert {key: value for key, value in workspace.digest().items() if key != "core_price/part-0.parquet"} == {
        key: value for key, value in before.items() if key != "core_price/part-0.parquet"}


# -- prices -------------------------------------------------------------------------------------------------------


def test_a_price_that_comes_later_touches_the_days_of_its_model_only(workspace: Workspace) -> None:
    for number in range(6):
        model = "who-knows" if number in (2, 4) else "gpt-4o-2024-08-06"
        workspace.log(f"{number}.jsonl", [body(number, at=NOON - number * DAY, model=model)])
    path = workspace.home / "costops.toml"
    strict = path.read_text().replace('unpriced_share = "1"', 'unpriced_share = "0"')
    path.write_text(strict)
    assert workspace.run() == 1, "the gate says that some usage has no price"
    charges = workspace.read("core_charge")
    free = charges.filter(pl.col("model_id") == "who-knows")
    assert free["price_status"].to_list() == ["unpriced"] * 2
    assert free["list_cost_usd"].to_list() == [None] * 2
    before = workspace.digest()
    path.write_text(strict + '[[prices]]\nprovider = "openai"\nmodel_id = "who-knows"\n'
                             'usd = { uncached_input = "1", output = "2" }\n')
    first, last = (str(date(2026, 10, 29) - timedelta(days=days)) for days in (5, 0))
    reprice = ["reprice", "--from", first, "--to", last, "--config", str(path)]
    assert main([*reprice, "--dry-run"]) == 0
    assert workspace.digest() == before, "a dry run writes nothing"
    assert main(reprice) == 0
    assert workspace.run() == 0
    after = workspace.digest()
    changed = {key.split("day=")[1][:10] for key in after if key.startswith("core_charge/") and after[key] != before[key]}
    assert changed == {"2026-10-27", "2026-10-25"}
    assert workspace.read("core_charge").filter(pl.col("model_id") == "who-knows")["list_cost_usd"].to_list() == [
        Decimal("0.0012")] * 2


def test_counts_of_any_size_sum_to_what_decimals_sum_to(workspace: Workspace) -> None:
    dice = random.Random(5)
    pairs = [(0, 0), (1, 0), (0, 1), (999_999_999, 999_999_999), *(
        (dice.randrange(10 ** dice.randrange(1, 10)), dice.randrange(10 ** dice.randrange(1, 7))) for _ in range(300))]
    records = [body(number, taken=taken, made=made) for number, (taken, made) in enumerate(pairs)]
    workspace.log("a.jsonl", [*records, body(9001, taken=-4), body(9002, taken=10**15), body(9003, taken=10**19)])
    assert workspace.run() == 0
    expected = sum((taken * RATES[0] + made * RATES[1] for taken, made in pairs), Decimal(0))
    assert figures(workspace)[1] == expected
    odd = workspace.read("core_charge").filter(pl.col("record_id").str.contains("chatcmpl-900"))
    assert odd.filter(pl.col("list_cost_usd") < 0).is_empty()
    assert set(workspace.read("core_finding")["reason"]) <= {"impossible_count", "amount_overflow"}
    assert workspace.read("core_finding").height + odd.height == 3, "each is a figure or a finding, none is lost"


# -- nothing ------------------------------------------------------------------------------------------------------


def test_nothing_to_read_is_a_valid_run_and_a_source_that_leaves_the_configuration_keeps_its_rows(
        make_workspace: Callable[[str], Workspace]) -> None:
    workspace = make_workspace("first")
    assert workspace.run(stages=("ingest", "price", "spend", "reconcile", "detect", "forecast", "budget", "publish")) == 0
    assert workspace.run("--from", "2026-10-01", "--to", "2026-10-31") == 0, "an empty month"
    assert "empty_source" in reasons(workspace)
    workspace.log("2026-10-29.jsonl", [])
    assert workspace.run() == 0
    assert workspace.read("core_charge").is_empty()
    workspace.log("2026-10-30.jsonl", [body(1)])
    workspace.sources += '[[sources]]\nname = "second"\nkind = "openai.requests"\nuri = "other/*.jsonl"\n'
    (workspace.home / "other").mkdir()
    (workspace.home / "other" / "b.jsonl").write_text(json.dumps(body(2)) + "\n")
    workspace.configure()
    assert workspace.run() == 0
    both = figures(workspace)
    assert both[0] == 2
    workspace.sources = workspace.sources.split("[[sources]]\nname = \"second\"")[0]
    workspace.configure()
    assert workspace.run() == 0
    assert figures(workspace) == both, "nothing is deleted silently"
    assert workspace.read("core_charge").height == 2


# -- a lake of before ---------------------------------------------------------------------------------------------


def test_a_lake_without_the_newest_columns_is_read_and_brought_up_to_date(workspace: Workspace) -> None:
    """Format 1 is the first: what differs between two releases is columns that the older one did not write."""
    records = [body(number, at=NOON + number % 3 * DAY) for number in range(30)]
    workspace.log("a.jsonl", records)
    assert workspace.run() == 0
    before, whole = figures(workspace), workspace.digest()
    for path in Path(workspace.lake_uri).glob("core_charge/**/*.parquet"):
        rows = pl.read_parquet(path, hive_partitioning=False)
        empty = [name for name in rows.columns if rows[name].null_count() == rows.height]
        assert len(empty) > 3
        path.unlink()
        rows.drop(empty).write_parquet(path)
    assert workspace.run() == 0
    assert figures(workspace) == before
    workspace.log("b.jsonl", [body(100, at=NOON)])
    assert workspace.run() == 0
    assert figures(workspace)[0] == before[0] + 1
    (workspace.home / "logs" / "b.jsonl").unlink()
    assert main(["backfill", "--from", "2026-10-29", "--to", "2026-10-31", "--stage", "ingest", "--stage", "spend",
                 "--config", str(workspace.home / "costops.toml")]) == 0
    after = workspace.digest()
    late = {key for key in whole if key.startswith("core_charge") and after[key] != whole[key]}
    assert all("day=2026-10-29" in key for key in late), "what is written anew has the bytes of today"
