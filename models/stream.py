"""A causal detector for dense streams (minutes, hours): how unusual is this value beside everything before it."""

from __future__ import annotations

import numpy as np

from costops.models.features import Array

REFRESH_SHARE = 0.01  # of the stream: how often the reference is worked out again
WARM_UP_SHARE = 0.10
REFERENCE = 0.999  # the size that one value in a thousand reached so far counts as 1
COOL_DOWN_SHARE = 0.02  # of the stream without another alarm: one incident, one alarm


def channels(y: Array, *, short: int = 12, season: int = 288) -> list[Array]:
    """Return five views of a stream: value, change, short mean, short noise, change since a season ago."""
    change = np.diff(y, prepend=y[:1])
    total = np.cumsum(np.concatenate([[0.0], y]))
    square = np.cumsum(np.concatenate([[0.0], (y - y[:1]) ** 2]))
    end = np.arange(1, y.size + 1)
    start = np.maximum(end - short, 0)
    count = end - start
    mean = (total[end] - total[start]) / count
    around = (square[end] - square[start]) / count - (mean - y[:1]) ** 2
    noise = np.sqrt(np.maximum(around, 0.0))
    ago = np.where(np.arange(y.size) >= season, mean - np.roll(mean, season), 0.0)
    return [y, change, mean, noise, ago]


def scores(y: Array, *, season: int = 288) -> Array:
    """Return a score per value, worked out from earlier values only; 1 is the largest in a thousand."""
    out = np.zeros(y.size)
    step = max(int(REFRESH_SHARE * y.size), 1)
    first = max(int(WARM_UP_SHARE * y.size), 10)
    for channel in channels(y, season=season):
        for start in range(first, y.size, step):
            past = channel[:start]
            middle = float(np.median(past))
            size = np.abs(past - middle)
            scale = float(np.quantile(size, REFERENCE))
            if scale <= 0:
                scale = float(size.max(initial=0.0)) or 1e-9 * max(abs(middle), 1.0)
            part = slice(start, start + step)
            out[part] = np.maximum(out[part], np.abs(channel[part] - middle) / scale)
    return out


def cool_down(score: Array, threshold: float) -> Array:
    """Return the scores with everything within the cool-down after an alarm set to zero."""
    out = np.zeros_like(score)
    pause = max(int(COOL_DOWN_SHARE * score.size), 1)
    place = 0
    for i in np.flatnonzero(score >= threshold):
        if i >= place:
            out[i] = score[i]
            place = int(i) + pause
    return out
