"""Print every anomaly goal with what was measured: `python benchmarks/anomaly.py [--series FOLDER]`."""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import anomaly_nab as nab
import numpy as np
import polars as pl
from anomaly_cases import Array, Event, Score, inject, score, synthetic
from numpy.typing import NDArray

from costops.models import stream
from costops.models import synthetic as generator
from costops.models.anomaly import KINDS, Flags, Rules, analyse, detect
from costops.models.steps import split

Index = NDArray[np.int64]
Kinds = dict[tuple[int, int], str]
NAB_THRESHOLD = 1.1
REAL_SERIES = 60
REAL_DAYS = 400
NIGHTLY_ROWS = 60
# what the untouched series shows at a slightly lower bar is natural, on whichever side of the bar it falls
LENIENT = Rules(sigmas=3.5, step_sigmas=2.1)
NIGHTLY_START = 60  # days of history before the first night


def mondays(y: Array) -> Index:
    """Return the weekday of the last column of rows whose first day is a Monday."""
    return np.full(len(y), (y.shape[1] - 1) % 7, dtype=np.int64)


def flags(y: Array, last: Index, rules: Rules | None = None) -> Flags:
    """Return the flags of a matrix of series of equal length whose last days are the given weekdays."""
    scale = np.nanmean(y, axis=1)
    return analyse(y / scale[:, None], last, rules=rules or Rules(), scale=scale)[1]


def named(found: NDArray[np.int8]) -> Kinds:
    return {(int(r), int(c)): KINDS[found[r, c]] for r, c in zip(*np.nonzero(found), strict=True)}


def real(folder: Path, seed: int) -> tuple[Array, Array, Index, list[Event]]:
    """Return real series as they are, the same with injected events, last weekdays, and the events."""
    rng = np.random.default_rng(seed)
    daily = pl.read_csv(folder / "daily.csv", try_parse_dates=True).sort("unique_id", "ds")
    meta = pl.read_csv(folder / "series_meta.csv").filter((pl.col("n") >= REAL_DAYS) & (pl.col("zero_share") < 0.05))
    names = meta["unique_id"].to_list()
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, min(REAL_SERIES, len(names))).astype(int)]
    values = daily.partition_by("unique_id", as_dict=True)
    base = np.vstack([values[(n,)]["y"].to_numpy()[-REAL_DAYS:] for n in chosen])
    last = np.array([values[(n,)]["ds"][-1].weekday() for n in chosen], dtype=np.int64)
    scale = base.mean(axis=1)
    noise = split(base / scale[:, None], last).sigma
    changed, events = [], []
    for row, y in enumerate(base):
        out, own = inject(rng, y, noise[row], row, most=2)
        changed.append(out)
        events += own
    return base, np.vstack(changed), last, events


def without_natural(found: NDArray[np.int8], natural: NDArray[np.int8], events: list[Event]) -> NDArray[np.int8]:
    """Return the flags without those near what the untouched series raises at a lower bar, off the events."""
    near = natural > 0
    for shift in range(1, 6):
        near[:, shift:] |= natural[:, :-shift] > 0
        near[:, :-shift] |= natural[:, shift:] > 0
    for event in events:
        near[event.row, max(event.start - 1, 0) : event.start + event.days + 1] = False
    return np.where(near, 0, found).astype(np.int8)


def nightly(y: Array, last: Index, rules: Rules | None = None, *, start: int = NIGHTLY_START) -> NDArray[np.int8]:
    """Return what each night's run says about its last day, for every day from `start` on."""
    out = np.zeros(y.shape, dtype=np.int8)
    for day in range(start, y.shape[1]):
        prefix = y[:, : day + 1]
        ends = (last - (y.shape[1] - 1 - day)) % 7
        out[:, day] = flags(prefix, ends, rules).kind[:, -1]
    return out


def from_start(found: NDArray[np.int8], events: list[Event]) -> tuple[NDArray[np.int8], list[Event]]:
    """Return flags and events of the nights that were replayed; what began before is neither hit nor false."""
    out = found.copy()
    for event in events:
        if event.start < NIGHTLY_START:
            out[event.row, max(event.start - 1, 0) : event.start + event.days + 1] = 0
    return out, [e for e in events if e.start >= NIGHTLY_START]


def line(name: str, got: Score, must: str) -> None:
    print(
        f"| {name} | {got.precision:.3f} / {got.recall:.3f} | {got.f1:.3f} | {got.false_rate:.5f} "
        f"| {got.kind_accuracy:.3f} | {must} |"
    )


def by_kind(found: NDArray[np.bool_], events: list[Event]) -> str:
    kinds = ("spike", "drop", "level_up", "level_down")
    return ", ".join(f"{k} {score(found, {}, [e for e in events if e.kind == k]).recall:.2f}" for k in kinds)


def synthetic_rows(count: int) -> None:
    """Print the synthetic goals over `count` series and three further seeds."""
    for seed in (1, 2, 3):
        y, events = synthetic(count, seed=seed)
        found = flags(y, mondays(y)).kind
        line(
            f"synthetic, seed {seed}, {count} series, {len(events)} events",
            score(found > 0, named(found), events),
            "F1 >= .94",
        )
        line("the same, events of 5 sigmas and more", score(found > 0, named(found), events, strongest=5), "F1 >= .97")
        if seed == 1:
            recall = by_kind(found > 0, events)
    y, events = synthetic(count, seed=4, bursty=0.15)
    found = flags(y, mondays(y)).kind
    line("15 % of series with heavy-tailed noise", score(found > 0, named(found), events), "none: stress")
    print(f"\nRecall by kind, seed 1: {recall}.")


def naive_bar(y: Array) -> NDArray[np.bool_]:
    """Return what the usual rule says: more than three standard deviations off the mean of 30 days."""
    view = np.lib.stride_tricks.sliding_window_view(y, 30, axis=1)[:, :-1]
    out = np.zeros(y.shape, dtype=bool)
    out[:, 30:] = np.abs(y[:, 30:] - view.mean(axis=2)) > 3 * view.std(axis=2)
    return out


def real_rows(folder: Path) -> None:
    """Print the goals on events injected into real series, and the nightly replay."""
    base, changed, last, events = real(folder, seed=5)
    found, natural = flags(changed, last).kind, flags(base, last, LENIENT).kind
    kept = without_natural(found, natural, events)
    line(
        f"injected into {len(base)} real series, {len(events)} events",
        score(kept > 0, named(kept), events),
        "F1 >= .95, FPR <= .002, kind >= .93",
    )
    y, made = synthetic(NIGHTLY_ROWS, seed=11)
    live = nightly(y, mondays(y))
    live, made = from_start(live, made)
    line(f"nightly replay, synthetic, {len(made)} events", score(live > 0, named(live), made), "F1 >= .94")
    live = without_natural(nightly(changed, last), nightly(base, last, LENIENT), events)
    live, kept_events = from_start(live, events)
    line(f"nightly replay, real, {len(kept_events)} events", score(live > 0, named(live), kept_events), "F1 >= .95")


def nab_rows(folder: Path) -> None:
    """Print the NAB score beside the published leaderboard on the same files."""
    streams = nab.load(folder)
    start = time.process_time()
    found = [np.flatnonzero(stream.cool_down(stream.scores(s.y), NAB_THRESHOLD)) for s in streams]
    cpu = time.process_time() - start
    ours = nab.normalised(streams, found)
    board = sorted([*nab.LEADERBOARD.items(), ("**this detector**", ours)], key=lambda pair: -pair[1])
    print(f"\n| NAB, {len(streams)} files, standard profile | score |\n|---|---|")
    for name, value in board:
        print(f"| {name} | {value:.1f} |")
    print(f"\n{sum(s.y.size for s in streams)} values in {cpu:.1f} s CPU.")


def speed(count: int) -> None:
    """Print the time and memory of `detect` over many series, frame in to frame out."""
    few = generator.frame(200, days=400, seed=9)
    frame = pl.concat(few.with_columns(unique_id=pl.col("unique_id") + f"-{i}") for i in range(count // 200))
    start, wall = time.process_time(), time.perf_counter()
    out = detect(frame)
    cpu, took = time.process_time() - start, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{count} series of 400 days ({out.height} rows): {cpu:.0f} s CPU, {took:.0f} s wall, peak {peak:.0f} MB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("COSTOPS_SHARED", "../shared")) / "data" / "series"
    parser.add_argument("--series", type=Path, default=default, help="folder with daily.csv and nab/")
    parser.add_argument("--count", type=int, default=1000, help="synthetic series per seed")
    parser.add_argument("--speed", type=int, default=10_000, metavar="N", help="series of the speed run; 0 skips it")
    args = parser.parse_args()
    print("| set | precision / recall | F1 | false day rate | kind right | must |\n|---|---|---|---|---|---|")
    real_rows(args.series)
    synthetic_rows(args.count)
    y, events = synthetic(args.count, seed=1)
    usual = score(naive_bar(y), {}, events)
    print(
        "\nMean +- 3 standard deviations of 30 days on the same series: "
        f"F1 {usual.f1:.3f}, false day rate {usual.false_rate:.5f}."
    )
    nab_rows(args.series)
    if args.speed:
        speed(args.speed)


if __name__ == "__main__":
    main()
