"""Verify, compact, retain, erase: the lake looked after."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.backfill import backfill
from costops.flows.nightly import nightly
from costops.flows.runtime.lake import ERASED, Lake
from costops.flows.runtime.settings import Retention, Settings
from costops.flows.tasks.erase import erase
from costops.flows.tasks.retention import compact, plan, retain
from costops.flows.tasks.run import open_lake, open_run
from costops.flows.tasks.verify import verify
from costops.transforms.errors import Refused
from costops.transforms.tables import CORE_CHARGE, OUT_SPEND_DAILY, RUN_LEDGER

STAGES = ["ingest", "price", "spend", "publish"]
Make = Callable[..., Settings]

redo: Any = backfill.fn


def run(settings: Settings) -> None:
    nightly.fn(config=str(settings.home / "costops.toml"), stages=STAGES)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and "run_ledger" not in path.as_posix()}


@pytest.fixture
def lake(workspace: Make) -> Callable[[Settings], Lake]:
    stack = ExitStack()

    def opened(settings: Settings) -> Lake:
        return stack.enter_context(open_lake(settings, write=False))

    return opened


def test_a_whole_lake_has_no_fault(workspace: Make) -> None:
    settings = workspace()
    run(settings)
    with open_lake(settings, write=False) as lake:
        assert verify(lake).rows() == []


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "delete"])
def test_verify_names_a_damaged_partition_and_a_backfill_mends_it(workspace: Make, damage: str) -> None:
    settings = workspace()
    run(settings)
    key = "core_charge/source=openai/day=2026-09-02/part-0.parquet"
    path = settings.home / "lake" / key
    whole = tree(settings.home / "lake")
    body = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(body[: len(body) // 2])
    elif damage == "flip":
        place = random.Random(5).randrange(8, len(body) - 8)
        body[place] ^= 0x10
        with path.open("r+b") as handle:            # in place, as a disk does it
            handle.write(body)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    with open_lake(settings, write=False) as lake:
        found = verify(lake)
    assert key in found["place"].to_list()
    path.unlink(missing_ok=True)
    redo(days={"start": date(2026, 9, 2), "end": date(2026, 9, 2)}, config=str(settings.home / "costops.toml"),
                stages=STAGES)
    assert tree(settings.home / "lake") == whole


def test_every_flipped_bit_is_found(workspace: Make) -> None:
    settings = workspace(days=1)
    run(settings)
    key = "core_charge/source=openai/day=2026-09-01/part-0.parquet"
    path = settings.home / "lake" / key
    whole = path.read_bytes()
    dice = random.Random(11)
    with open_lake(settings, write=False) as lake:
        for _ in range(40):
            body = bytearray(whole)
            body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
            with path.open("r+b") as handle:
                handle.write(body)
            assert key in verify(lake)["place"].to_list()


def test_changed_figures_do_not_add_up(workspace: Make) -> None:
    settings = workspace()
    run(settings)
    path = settings.home / "lake/out_spend_daily/month=2026-09/part-0.parquet"
    frame = pl.read_parquet(path, hive_partitioning=False)
    path.unlink()
    frame.with_columns(pl.col("requests") + (pl.int_range(pl.len()) == 0).cast(pl.Int64)).write_parquet(path)
    with open_lake(settings, write=False) as lake:
        found = verify(lake)
    assert found["state"].to_list() == ["unequal"]
    assert "cost-ops backfill --from 2026-09-" in found["mend"][0]


def test_a_newer_or_damaged_format_is_refused_and_nothing_is_written(workspace: Make) -> None:
    settings = workspace()
    run(settings)
    state = settings.home / "lake/_state/format.json"
    for body in ('{"version": 99}', "{", '{"version": "x"}'):
        state.write_text(body)
        before = tree(settings.home / "lake")
        with pytest.raises(Refused):
            run(settings)
        assert tree(settings.home / "lake") == before


def test_a_damaged_ledger_is_refused_before_anything_is_written(workspace: Make) -> None:
    settings = workspace()
    run(settings)
    path = next((settings.home / "lake/run_ledger").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:50])
    (settings.home / "logs/openai/2026-09-09.jsonl").write_text(
        (settings.home / "logs/openai/2026-09-01.jsonl").read_text().replace("chatcmpl-", "chatcmpl-x"))
    before = tree(settings.home / "lake")
    with pytest.raises(Refused, match="verify"):
        run(settings)
    assert tree(settings.home / "lake") == before


def test_retain_plans_first_archives_then_drops_and_late_rows_do_not_overwrite_what_stays(workspace: Make) -> None:
    settings = workspace()
    run(settings)
    daily = pl.read_parquet(settings.home / "lake/out_spend_daily/month=2026-09/part-0.parquet")
    rules = Retention(core_days=4, out_days=4, report_days=1, archive=str(settings.home / "archive"))
    settings = settings.model_copy(update={"retention": rules})
    (settings.home / "reports/nightly/2026-08-01").mkdir(parents=True)
    (settings.home / "reports/nightly/2026-08-01/report.html").write_text("old")
    before = tree(settings.home)
    with open_lake(settings) as lake:
        planned = retain(lake, settings, date(2026, 9, 7), dry_run=True)
    assert {key: body for key, body in tree(settings.home).items() if "prefect" not in key} == before
    assert {"core", "out", "report"} == set(planned["layer"])
    with open_lake(settings) as lake:
        done = retain(lake, settings, date(2026, 9, 7))
        assert done.equals(planned)
        assert plan(lake, settings, date(2026, 9, 7)) == []
    left = {part.name for part in (settings.home / "lake/core_charge/source=openai").iterdir() if any(part.iterdir())}
    assert left == {"day=2026-09-03"}
    for key in done.filter(pl.col("layer") != "report")["key"]:
        assert (settings.home / "archive" / key).is_file()
    assert not (settings.home / "reports/nightly/2026-08-01/report.html").exists()
    with open_lake(settings, write=False) as lake:
        assert verify(lake).rows() == []
    (settings.home / "logs/openai/late.jsonl").write_text(
        (settings.home / "logs/openai/2026-09-01.jsonl").read_text().replace("chatcmpl-", "chatcmpl-late"))
    run(settings)
    after = pl.read_parquet(settings.home / "lake/out_spend_daily/month=2026-09/part-0.parquet")
    assert after.equals(daily)


def test_erase_takes_a_user_out_for_good_and_the_sums_stay(workspace: Make) -> None:
    settings = workspace()
    path = settings.home / "logs/openai/2026-09-02.jsonl"
    user = "jane.roe@example.org"
    lines = path.read_text().splitlines()
    before = path.with_name("2026-09-01.jsonl").read_text()
    at = next(number for number, line in enumerate(lines) if json.loads(line)["id"] not in before)
    lines[at] = json.dumps({**json.loads(lines[at]), "user": user,
                            "metadata": {**json.loads(lines[at]).get("metadata", {}), "user_id": user}})
    path.write_text("\n".join(lines) + "\n")
    config = settings.home / "costops.toml"
    config.write_text(config.read_text().replace(
        'uri = "logs/openai/*.jsonl"', 'uri = "logs/openai/*.jsonl"\nattribution = {user_id = "metadata.user_id"}'))
    from costops.flows.runtime.settings import load

    settings = load(str(config))
    run(settings)
    assert user.encode() in everything(settings)
    with open_run(settings) as one:
        sums = one.lake.read(OUT_SPEND_DAILY)["list_cost_usd"].sum()
        assert erase(one, user, by="dpo", dry_run=True)["rows"].sum() == 1
    with open_run(settings) as one:
        assert erase(one, user, by="dpo")["rows"].sum() == 1
    assert user.encode() not in everything(settings)
    redo(days={"start": date(2026, 9, 2), "end": date(2026, 9, 2)}, config=str(config), stages=STAGES)
    assert user.encode() not in everything(settings), "a backfill reads the old log again"
    with open_lake(settings, write=False) as lake:
        assert ERASED in lake.read(CORE_CHARGE)["user_id"].to_list()
        assert lake.read(OUT_SPEND_DAILY)["list_cost_usd"].sum() == sums
        audit = lake.read(RUN_LEDGER).filter(pl.col("stage") == "erase")
        assert audit.height == 1
        assert "dpo" in audit["detail"][0]
        assert user not in audit["detail"][0]
        assert verify(lake).rows() == []


def everything(settings: Settings) -> bytes:
    """All text of all rows, and all other files."""
    texts = []
    for path in (settings.home / "lake").rglob("*"):
        if path.suffix == ".parquet":
            texts.append(str(pl.read_parquet(path, hive_partitioning=False).rows()).encode())
        elif path.is_file():
            texts.append(path.read_bytes())
    return b"".join(texts)


def test_compact_joins_pieces_and_removes_what_a_killed_run_left(workspace: Make) -> None:
    settings = workspace()
    run(settings)
    path = settings.home / "lake/core_charge/source=openai/day=2026-09-02/part-0.parquet"
    whole = path.read_bytes()
    rows = pl.read_parquet(path, hive_partitioning=False)
    path.unlink()
    rows.write_parquet(path, row_group_size=5)
    hidden = path.with_name(".part-0.parquet.tmp")
    hidden.write_bytes(b"half")
    with open_lake(settings) as lake:
        assert set(compact(lake, dry_run=True)["does"]) == {"rewrite", "remove"}
        assert hidden.exists()
        compact(lake)
    assert path.read_bytes() == whole
    assert not hidden.exists()
