"""The terminal summary tells the sums of its frame and prints nothing that a terminal would obey."""

from decimal import Decimal

import polars as pl
from tests.unit.reports.night import DAY, night, spend

from costops.transforms.reports.terminal import bar, key_values, summary, summary_text, trend


def test_rows_sum_to_the_total_and_are_ordered_by_cost() -> None:
    found = summary(spend(), "model_id", day=DAY)
    costs = [row["cost_usd"] for row in found.rows]
    known = [cost for cost in costs if cost is not None]
    assert sum(known) == found.total["cost_usd"]
    assert known == sorted(known, reverse=True)
    assert costs[-1] is None


def test_the_table_names_what_has_no_price() -> None:
    text = summary_text(summary(spend(), "model_id", day=DAY))
    assert "no price" in text
    assert "not in the total: 7,260 requests without a price, $1.20 to $23.97" in text
    assert "\u2191" in text


def test_it_fits_the_width_it_is_given() -> None:
    for width in (60, 80, 110, 160):
        text = summary_text(summary(spend(), "team", day=DAY), width=width)
        assert max(len(line) for line in text.splitlines()) <= width


def test_escape_sequences_and_markup_are_text() -> None:
    odd = spend().with_columns(team=pl.lit("\x1b[2Jgone\x07\x9b31m[bold red]x[/]\u202e"))
    text = summary_text(summary(odd, "team", day=DAY), width=160)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "[bold red]x[/]" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_the_same_frame_gives_the_same_text() -> None:
    assert summary_text(summary(spend(), "team", day=DAY)) == summary_text(summary(
        spend().sample(fraction=1, shuffle=True, seed=1), "team", day=DAY))


def test_an_empty_frame_is_a_table_without_rows() -> None:
    text = summary_text(summary(night().spend_daily.head(0), "team", day=DAY))
    assert "total" in text


def test_bars_and_arrows() -> None:
    assert bar(Decimal(1), 4) == "\u2588" * 4
    assert bar(Decimal("0.125"), 1) == "\u258f"
    assert bar(None) == ""
    assert trend(Decimal(110), Decimal(100)) == "\u2191 +10.0%"
    assert trend(Decimal(101), Decimal(100)) == "\u2192 +1.0%"
    assert trend(Decimal(1), Decimal(0)) == "new"
    assert trend(None, Decimal(1)) == ""


def test_key_values_are_aligned_and_plain() -> None:
    assert key_values([("a", "x\x1b"), ("long", Decimal("1.50"))]) == "a     x\ufffd\nlong  1.5"
