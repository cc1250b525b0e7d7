"""The configuration: every fault is one sentence that names file, key and mend; secrets are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from costops.flows.command import main
from costops.flows.runtime.settings import config_path, load
from costops.transforms.errors import Usage

SOURCE = '[[sources]]\nname = "{0}"\nkind = "openai.requests"\nuri = "logs"\n'
A, B, C = (SOURCE.format(name) for name in "abc")


def refusal(folder: Path, text: str) -> str:
    path = folder / "costops.toml"
    path.write_text(text)
    with pytest.raises(Usage) as refused:
        load(str(path))
    said = str(refused.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize(("text", "key", "nearest"), [
    ('[workspace]\nlaek = "x"\n', "workspace.laek", "lake"),
    ("[gate]\nunpriced_share = 0\n", "gate", "gates"),
    (A + 'primary_ovr = ["b"]\n', "sources.a.primary_ovr", "primary_over"),
    (A + '[sources.attribution]\nteem = "x"\n', "sources.a.attribution.teem", "team"),
    ('[[budgets]]\nname = "x"\namount = 1\n', "budgets.0.amount", "amount_usd"),
    ("[forecast]\nhorizon = 9\n", "forecast.horizon", "horizon_days"),
    ('[notify]\nslack_url = "https://x"\n', "notify.slack_url", "slack_url_env"),
])
def test_an_unknown_key_is_refused_and_the_nearest_named(tmp_path: Path, text: str, key: str, nearest: str) -> None:
    said = refusal(tmp_path, text)
    assert f"unknown key '{key}'" in said
    assert f"did you mean '{nearest}'?" in said


def test_a_key_like_no_other_lists_the_known_ones(tmp_path: Path) -> None:
    assert "known are allocations, budgets" in refusal(tmp_path, '"zzzz" = 1\n')


def test_home_is_not_for_the_file_to_say(tmp_path: Path) -> None:
    assert "unknown key 'home'" in refusal(tmp_path, 'home = "/"\n')


@pytest.mark.parametrize(("text", "part"), [
    ("x =", "not TOML"),
    ("\x00", "not TOML"),
    ('[sources]\nname = "a"\n', "each one under [[sources]]"),
    ("sources = [1]\n", "sources.0"),
    (A + A, "two sources are called 'a'"),
    (SOURCE.format("../a"), "a name is lower-case letters"),
    (SOURCE.format("a=b"), "a name is lower-case letters"),
    (SOURCE.format("x" * 65), "a name is lower-case letters"),
    ('[[sources]]\nname = "a"\nkind = "openai.request"\nuri = "x"\n', "did you mean 'openai.requests'?"),
    ('[[sources]]\nname = "a"\nkind = "openai.requests"\n', "needs a `uri`"),
    (A + "[sources.attribution]\nteam = \"a'; DROP TABLE x\"\n", "no field path"),
    (A + "restatement_days = -1\n", "sources.a.restatement_days"),
    (A + 'start = "tomorrow"\n', "a day is written YYYY-MM-DD"),
    ('[[contracts]]\nname = "c"\nprovider = "openai"\nstart = "2026-02-30"\n', "a day is written YYYY-MM-DD"),
    ("[gates]\nunpriced_share = nan\n", "finite"),
    ("[gates]\nunpriced_share = 1.01\n", "gates.unpriced_share"),
    ('[[budgets]]\nname = "x"\namount_usd = inf\n', "finite"),
    ('[[budgets]]\nname = "x"\namount_usd = 0\n', "greater than 0"),
    ("[forecast]\nhorizon_days = 100000\n", "forecast.horizon_days"),
    ('[workspace]\nreporting_timezone = "../../etc/passwd"\n', "no IANA time zone"),
    ('[workspace]\nreporting_timezone = ""\n', "no IANA time zone"),
    ('[workspace]\nreporting_currency = "usd"\n', "no ISO 4217 code"),
    ('[workspace]\nlake = ""\n', "no path"),
    ('[workspace]\nlake = "a\\u0000b"\n', "no path"),
    ('[workspace]\npublish = ["reports", " "]\n', "no path"),
])
def test_a_hostile_value_is_one_sentence(tmp_path: Path, text: str, part: str) -> None:
    assert part in refusal(tmp_path, text)


def test_sources_may_not_stand_over_each_other_in_a_circle(tmp_path: Path) -> None:
    over = 'primary_over = ["{0}"]\n'
    said = refusal(tmp_path, A + over.format("b") + B + over.format("c") + C + over.format("a"))
    assert "primary_over goes in a circle: a, b, c" in said
    assert "circle: a" in refusal(tmp_path, A + over.format("a"))
    assert "no source is called 'd'" in refusal(tmp_path, A + over.format("d"))


def test_primary_sources_come_before_those_they_stand_over(tmp_path: Path) -> None:
    path = tmp_path / "costops.toml"
    path.write_text(A + B + 'primary_over = ["a"]\n' + C + 'primary_over = ["b"]\n')
    assert [source.name for source in load(str(path)).by_primacy()] == ["c", "b", "a"]


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no such file; `cost-ops init DIR` writes one"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(Usage, match="cannot be read"):
        load(str(tmp_path))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Usage, match="cannot be read"):
        load(str(tmp_path / "bytes.toml"))


def test_the_file_here_comes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSTOPS_CONFIG", "elsewhere.toml")
    assert config_path(None) == Path("elsewhere.toml")
    (tmp_path / "costops.toml").write_text("")
    assert config_path(None) == Path("costops.toml")
    assert config_path("given.toml") == Path("given.toml")


def test_config_show_tells_whether_a_secret_is_set_and_never_its_value(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PLANTED_KEY", "CANARY-0123456789")
    path = tmp_path / "costops.toml"
    path.write_text(A + 'api_key_env = "PLANTED_KEY"\nsecret_env = "NOT_THERE"\n' + SOURCE.format("b").replace(
        "logs", "s3://user:CANARY-pass@bucket/x"))
    for form in ("table", "json", "csv"):
        assert main(["config", "show", "--config", str(path), "--format", form]) == 0
        shown = capsys.readouterr()
        assert "PLANTED_KEY (set, ***)" in shown.out
        assert "NOT_THERE (not set)" in shown.out
        assert "CANARY" not in shown.out + shown.err
