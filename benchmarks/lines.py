"""Request lines as OpenAI answers them, any number of them, the same every time: input of the ingest benchmarks.

Few teams and models make most of the traffic, token counts are lognormal with a long tail, a third of the requests
read the cache, some reason, some are served in another tier. Lines have about 610 bytes; ids are 32 random digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from string import Template

import duckdb

FIRST_DAY = date(2025, 9, 1)

_MODELS = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "gpt-5-mini-2025-08-07", "gpt-5-2025-08-07",
           "gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14", "o3-2025-04-16", "gpt-5-nano-2025-08-07")

_LINE = """printf('{"id":"chatcmpl-%s","object":"chat.completion","created":%d,"model":"%s","service_tier":"%s",'
    || '"system_fingerprint":"fp_x","choices":[{"index":0,"message":{"role":"assistant","content":"",'
    || '"refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,'
    || '"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0,"cache_write_tokens":0},'
    || '"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,'
    || '"rejected_prediction_tokens":0}},"metadata":{"team":"team-%02d"}}',
    md5(concat('line', i)), $start + (i - $first) * $seconds // $count, model, tier, taken, made, taken + made,
    cached, reasoned, team)"""


def write(path: Path, count: int, *, first: int = 0, day: date = FIRST_DAY, days: int = 1) -> Path:
    """A file of `count` lines over `days` days from `day`; `first` numbers them, so that files do not overlap."""
    start = (day - date(1970, 1, 1)).days * 86_400
    models = ", ".join(f"'{name}'" for name in _MODELS)
    line = Template(_LINE).substitute(start=start, first=first, seconds=days * 86_400, count=count)
    con = duckdb.connect()
    con.execute("SET threads = 2")
    con.execute("SET enable_progress_bar = false")
    con.execute(f"""COPY (
        WITH drawn AS (SELECT i, (hash(i, 1) % 1000000 + 0.5) / 1e6 AS a, (hash(i, 2) % 1000000 + 0.5) / 1e6 AS b,
            (hash(i, 3) % 1000000 + 0.5) / 1e6 AS c, (hash(i, 4) % 1000000 + 0.5) / 1e6 AS d,
            hash(i, 5) % 1000 AS e, hash(i, 6) % 1000 AS f FROM range({first}, {first + count}) AS t(i)),
        sized AS (SELECT i, e, f,
            list_value({models})[1 + cast(floor(7.99 * pow((hash(i, 7) % 1000) / 1000, 2.2)) AS INTEGER)] AS model,
            cast(floor(40 * pow((hash(i, 8) % 1000) / 1000, 2.5)) AS INTEGER) AS team,
            20 + cast(exp(7.0 + 1.2 * sqrt(-2 * ln(a)) * cos(2 * pi() * b)) AS BIGINT) AS taken,
            1 + cast(exp(5.3 + 1.0 * sqrt(-2 * ln(c)) * cos(2 * pi() * d)) AS BIGINT) AS made FROM drawn),
        told AS (SELECT i, model, team, taken, made,
            CASE WHEN e < 330 AND taken > 1024 THEN taken * (e + 300) // 1000 // 128 * 128 ELSE 0 END AS cached,
            CASE WHEN model LIKE 'gpt-5%' OR model LIKE 'o3%' THEN made * f // 1500 // 64 * 64 ELSE 0 END AS reasoned,
            CASE WHEN f < 940 THEN 'default' WHEN f < 980 THEN 'flex' ELSE 'priority' END AS tier FROM sized)
        SELECT {line} FROM told ORDER BY i
    ) TO '{path}' (FORMAT csv, HEADER false, DELIMITER '\x01', QUOTE '', ESCAPE '')""")
    con.close()
    return path


def write_days(folder: Path, days: Iterable[int], count: int) -> list[Path]:
    """One file a day, `count` lines each; day 0 is `FIRST_DAY`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write(folder / f"{FIRST_DAY + timedelta(days=number)}.jsonl", count, first=number * count,
                  day=FIRST_DAY + timedelta(days=number)) for number in days]
