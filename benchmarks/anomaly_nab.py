"""The score of the Numenta Anomaly Benchmark, standard profile, written from its published description."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]
FALSE_WEIGHT = 0.11
# published detections scored on exactly these 30 files (standard profile)
LEADERBOARD = {
    "ARTime": 77.2, "contextOSE": 73.3, "numenta (HTM)": 72.8, "KNN-CAD": 63.5, "earthgecko Skyline": 56.0,
    "relative entropy": 53.2, "twitterADVec": 42.3, "windowed Gaussian": 32.3,
}  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """One labelled file: values and the windows (first, last row) in which an alarm is right."""

    name: str
    y: Array
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        return int(min(0.15 * self.y.size, 0.15 * 5000))


def load(folder: Path) -> list[Stream]:
    """Return the labelled files of a folder."""
    labels = json.loads((folder / "nab_windows.json").read_text())
    out = []
    for name, spans in labels.items():
        frame = pl.read_csv(folder / "nab" / name, try_parse_dates=True)
        at = frame["timestamp"].cast(pl.Datetime("us"))
        windows = []
        for first, last in spans:
            inside = (at >= pl.Series([first]).str.to_datetime()[0]) & (at <= pl.Series([last]).str.to_datetime()[0])
            rows = inside.arg_true()
            windows.append((int(rows[0]), int(rows[-1])))
        out.append(Stream(name, frame["value"].cast(pl.Float64).to_numpy().astype(np.float64), sorted(windows)))
    return out


def _sigmoid(position: float) -> float:
    return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def raw_score(stream: Stream, alarms: NDArray[np.int64]) -> float:
    """Return the unnormalised score of alarms (row numbers) on one stream."""
    top = _sigmoid(-1.0)
    best = [-1.0] * len(stream.windows)
    wrong = 0.0
    for row in alarms:
        if row < stream.probation:
            continue
        inside = [i for i, (lo, hi) in enumerate(stream.windows) if lo <= row <= hi]
        if inside:
            lo, hi = stream.windows[inside[0]]
            position = -(hi - row + 1) / (hi - lo + 1)
            best[inside[0]] = max(best[inside[0]], _sigmoid(position) / top)
            continue
        before = [(lo, hi) for lo, hi in stream.windows if hi < row]
        position = (row - before[-1][1]) / max(before[-1][1] - before[-1][0], 1) if before else 4.0
        wrong += FALSE_WEIGHT * _sigmoid(float(position))
    return sum(best) + wrong


def normalised(streams: list[Stream], alarms: list[NDArray[np.int64]]) -> float:
    """Return the score of a corpus: 0 for a detector that never speaks, 100 for a perfect one."""
    windows = sum(len(s.windows) for s in streams)
    raw = sum(raw_score(s, a) for s, a in zip(streams, alarms, strict=True))
    return 100.0 * (raw + windows) / (2.0 * windows)
