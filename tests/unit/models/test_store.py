from __future__ import annotations

import pytest
from tests.unit.models.conftest import odd_panel

from costops.models.forecast import Result, forecast
from costops.models.store import ModelTextError, from_text, to_text


def test_a_stored_model_forecasts_the_same(steady: Result) -> None:
    again = from_text(to_text(steady.fitted))
    one = forecast(odd_panel(), horizon=14, fitted=steady.fitted, with_backtest=False).forecasts
    two = forecast(odd_panel(), horizon=14, fitted=again, with_backtest=False).forecasts
    assert one.equals(two)


def test_text_of_text_is_the_same_text(steady: Result) -> None:
    text = to_text(steady.fitted)
    assert to_text(from_text(text)) == text


def test_one_changed_byte_is_refused_before_anything_is_read(steady: Result) -> None:
    head, _, body = to_text(steady.fitted).partition("\n")
    with pytest.raises(ModelTextError, match="sha256 of the model"):
        from_text(head + "\n" + body.replace("0", "1", 1))


def test_another_model_than_the_registered_one_is_refused(steady: Result) -> None:
    with pytest.raises(ModelTextError, match="expected 0000"):
        from_text(to_text(steady.fitted), sha256="0" * 64)


@pytest.mark.parametrize("text", ["", "{}", "\x80\x04 pickle", "costops-forecast-model 99 sha256=0\n{}"])
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ModelTextError, match="expected"):
        from_text(text)
