"""The lake refuses what its tables do not describe, what it cannot read, and a second writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import VERSION, Lake
from costops.flows.runtime.objects import Folder
from costops.transforms.check import conform
from costops.transforms.errors import Refused
from costops.transforms.finding import findings
from costops.transforms.tables import CORE_FINDING, OUT_SPEND_DAILY


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(Folder(tmp_path / "lake"), tmp_path / "scratch")
    made.open()
    return made


def spend(day: str, cost: str, **more: object) -> pl.DataFrame:
    when = date.fromisoformat(day)
    rows = pl.DataFrame([{"month": day[:7], "day": when, "source": "a", "requests": 1,
                          "list_cost_usd": Decimal(cost), **more}])
    return conform(rows, OUT_SPEND_DAILY)


def test_what_is_written_is_read_back_with_its_types(lake: Lake) -> None:
    frame = pl.concat([spend("2026-09-30", "0.000000000001"), spend("2026-10-01", "12345678901234567890.5")])
    assert lake.write(OUT_SPEND_DAILY, frame) == [{"month": "2026-09"}, {"month": "2026-10"}]
    assert lake.read(OUT_SPEND_DAILY).equals(frame)
    assert lake.read(OUT_SPEND_DAILY, [{"month": "2026-10"}]).height == 1
    assert lake.write(OUT_SPEND_DAILY, frame) == []


def test_a_plain_duckdb_reads_the_glob(lake: Lake) -> None:
    lake.write(OUT_SPEND_DAILY, pl.concat([spend("2026-09-30", "1.5"), spend("2026-10-01", "2.25")]))
    glob = f"{lake.store.uri}/out_spend_daily/**/*.parquet"
    with duckdb.connect(":memory:") as con:
        rows = con.execute(f"SELECT month, sum(list_cost_usd) FROM read_parquet('{glob}', hive_partitioning = true) "
                           "GROUP BY month ORDER BY month").fetchall()
    assert rows == [("2026-09", Decimal("1.5")), ("2026-10", Decimal("2.25"))]


@pytest.mark.parametrize(("frame", "said"), [
    (spend("2026-10-01", "1").drop("requests"), r"missing columns \['requests'\]"),
    (spend("2026-10-01", "1").with_columns(pl.lit(1).alias("extra_one")), r"extra \['extra_one'\]"),
    (spend("2026-10-01", "1").with_columns(pl.col("requests").cast(pl.Int32)), "requests: expected Int64, got Int32"),
    (spend("2026-10-01", "1").with_columns(pl.col("list_cost_usd").cast(pl.Float64)), "list_cost_usd: expected Dec"),
    (pl.concat([spend("2026-10-01", "1")] * 2), "1 rows repeat the key"),
], ids=["missing", "extra", "narrow", "float", "twice"])
def test_a_frame_that_its_table_does_not_describe_is_not_written(lake: Lake, frame: pl.DataFrame, said: str) -> None:
    with pytest.raises(Refused, match=said):
        lake.write(OUT_SPEND_DAILY, frame)
    assert lake.partitions(OUT_SPEND_DAILY) == []


def test_a_null_in_a_required_column_is_not_written(lake: Lake) -> None:
    frame = findings([{"reason": "empty_source", "source": "a"}]).with_columns(pl.lit(None, pl.String).alias("reason"))
    with pytest.raises(Refused, match=r"core_finding\.reason: 1 nulls"):
        lake.write(CORE_FINDING, frame)


def test_nothing_conforms_to_no_rows() -> None:
    assert conform(pl.DataFrame(), CORE_FINDING).height == 0
    assert conform(pl.DataFrame(schema={"other": pl.Int8}), CORE_FINDING).columns == list(CORE_FINDING.columns)


def test_replace_removes_what_has_no_rows_any_more(lake: Lake) -> None:
    lake.write(OUT_SPEND_DAILY, pl.concat([spend("2026-09-30", "1"), spend("2026-10-01", "2")]))
    scope = lake.partitions(OUT_SPEND_DAILY)
    assert lake.replace(OUT_SPEND_DAILY, spend("2026-10-01", "2"), scope) == [{"month": "2026-09"}]
    assert lake.partitions(OUT_SPEND_DAILY) == [{"month": "2026-10"}]


def test_a_damaged_partition_is_named(lake: Lake, tmp_path: Path) -> None:
    lake.write(OUT_SPEND_DAILY, spend("2026-10-01", "1"))
    path = Path(lake.store.uri) / "out_spend_daily" / "month=2026-10" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Refused, match=r"month=2026-10/part-0\.parquet: damaged"):
        lake.read(OUT_SPEND_DAILY)


def workspace(tmp_path: Path) -> str:
    path = tmp_path / "costops.toml"
    path.write_text('[workspace]\nlake = "lake"\n')
    return str(path)


def test_a_lake_of_a_newer_version_is_refused_with_4(lake: Lake, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    lake.store.put("_state/format.json", json.dumps({"version": VERSION + 1}).encode())
    for command in (["summary"], ["query", "SELECT 1"], ["run"]):
        assert main([*command, "--config", workspace(tmp_path)]) == 4
        assert "written by a newer version" in capsys.readouterr().err


def test_a_damaged_version_is_refused_with_4(lake: Lake, tmp_path: Path) -> None:
    lake.store.put("_state/format.json", b"{")
    assert main(["summary", "--config", workspace(tmp_path)]) == 4


def test_a_second_writer_is_refused_and_a_dead_one_is_not_waited_for(lake: Lake, tmp_path: Path) -> None:
    code = ("import sys, time\nfrom pathlib import Path\nfrom costops.flows.runtime.lake import Lake\n"
            "from costops.flows.runtime.objects import Folder\n"
            "with Lake(Folder(Path(sys.argv[1])), Path(sys.argv[2])).writing():\n"
            "    print('held', flush=True)\n    time.sleep(60)\n")
    with subprocess.Popen([sys.executable, "-c", code, lake.store.uri, str(tmp_path / "other")],
                          stdout=subprocess.PIPE, env=dict(os.environ)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match="another run is writing"), lake.writing():
            pytest.fail("two writers")
        began = time.monotonic()
        assert main(["run", "--config", workspace(tmp_path), "-q"]) == 4
        assert time.monotonic() - began < 30
        assert main(["query", "SELECT 1", "--config", workspace(tmp_path)]) == 0      # readers never wait
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lake.writing():
        pass


def test_the_catalog_gives_a_view_per_dataset(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write(OUT_SPEND_DAILY, spend("2026-10-01", "1.5", team="it's"))
    lake.catalog()
    monkeypatch.chdir(lake.store.uri)
    with duckdb.connect(":memory:") as con:
        con.execute((Path(lake.store.uri) / "catalog.sql").read_text())
        assert con.execute("SELECT month, team, list_cost_usd FROM out_spend_daily").fetchall() == [
            ("2026-10", "it's", Decimal("1.500000000000"))]


def test_no_rows_are_a_relation_of_the_right_types(lake: Lake) -> None:
    with duckdb.connect(":memory:") as con:
        told = con.sql(f"SELECT day, list_cost_usd FROM {lake.relation(OUT_SPEND_DAILY, [])}")
        assert [str(kind) for kind in told.types] == ["DATE", "DECIMAL(38,12)"]
        assert told.fetchall() == []
