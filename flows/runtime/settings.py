"""`costops.toml`: one frozen object, unknown keys refused with the nearest known one, secrets by name only."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from costops.flows.runtime.contract import Contract, iso_day
from costops.flows.runtime.engine import Engine
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.buckets.kinds import USAGE_FORMAT
from costops.transforms.errors import Usage, nearest
from costops.transforms.providers import FORMAT

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

API_KINDS: tuple[str, ...] = (
    "openai.usage", "openai.costs", "anthropic.usage_report", "anthropic.cost_report", "claude_code.analytics",
    "langfuse.observations", "helicone.requests", "openrouter.activity", "azure.cost_management",
    "aws.cost_explorer", "gcp.billing_export",
)
"""Kinds that can be pulled; each has a puller in `costops.flows.sources.api.kinds`, which a test checks."""

OTHER_KINDS: tuple[str, ...] = ("generic.usage",)


def known_kinds() -> tuple[str, ...]:
    """Every source kind that a configuration may name."""
    return tuple(sorted({*FORMAT, *BILL_FORMAT, *USAGE_FORMAT, *OTHER_KINDS}))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Workspace(_Strict):
    """Where things live and in which terms they are reported."""

    lake: str = "lake"
    publish: tuple[str, ...] = ("reports",)
    reporting_timezone: str = "UTC"
    reporting_currency: str = "USD"
    scratch: str | None = None

    @field_validator("lake", "publish", "scratch")
    @classmethod
    def _place(cls, value: Any) -> Any:
        for text in (value,) if isinstance(value, str) else value or ():
            if not text.strip() or not text.isprintable():
                raise ValueError(f"{text!r} is no path, for example reports or s3://bucket/prefix")
        return value

    @field_validator("reporting_timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value!r} is no IANA time zone, for example Europe/Berlin") from None
        return value

    @field_validator("reporting_currency")
    @classmethod
    def _currency(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z]{3}", value):
            raise ValueError(f"{value!r} is no ISO 4217 code, for example USD")
        return value


class Attribution(_Strict):
    """Field paths of the raw record that tell who used it, instead of the kind's defaults."""

    team: str | None = None
    application: str | None = None
    user_id: str | None = None
    project_id: str | None = None

    @field_validator("*")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*", value):
            raise ValueError(f"{value!r} is no field path, for example metadata.team")
        return value


class Source(_Strict):
    """One source of usage, bills, invoices or reference data."""

    name: str
    kind: str
    uri: str | None = None
    base_url: str | None = None
    provider: str | None = None
    issuer: str | None = None
    account_id: str | None = None
    region: str | None = None
    currency: str | None = None
    team: str | None = None
    application: str | None = None
    project_id: str | None = None
    api_key_env: str | None = None
    secret_env: str | None = None
    start: str | None = None
    restatement_days: int = Field(default=3, ge=0, le=400)
    primary_over: tuple[str, ...] = ()
    covers: tuple[str, ...] = ()
    attribution: Attribution = Attribution()
    columns: dict[str, str] = Field(default_factory=dict)
    only: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(f"{value!r}: a name is lower-case letters, digits, '-' and '_', at most 64")
        return value

    @field_validator("kind")
    @classmethod
    def _kind(cls, value: str) -> str:
        if value not in known_kinds():
            raise ValueError(f"{value!r} is no source kind{_nearest(value, known_kinds())}")
        return value

    @field_validator("start")
    @classmethod
    def _start(cls, value: str | None) -> str | None:
        return iso_day(value)

    @model_validator(mode="after")
    def _place(self) -> Source:
        if self.uri is None and self.kind not in API_KINDS:
            raise ValueError(f"source {self.name!r} needs a `uri`: {self.kind} is read from files")
        return self

    @property
    def is_pulled(self) -> bool:
        """True where the source is asked over the network."""
        return self.uri is None

    @property
    def feeds_requests(self) -> bool:
        """True where the kind is a request log that the ingest query reads."""
        return self.kind in FORMAT or self.kind == "generic.usage"

    @property
    def feeds_bills(self) -> bool:
        """True where the kind is a bill."""
        return self.kind in BILL_FORMAT and BILL_FORMAT[self.kind].feeds == "core_billing"

    def constants(self) -> dict[str, str]:
        """The source's own constants for expressions."""
        given = {"provider": self.provider, "account_id": self.account_id, "region": self.region}
        return {key: value for key, value in given.items() if value}


class Budget(_Strict):
    """A limit on spend of a period, for all or for one team, provider, model or application."""

    name: str
    amount_usd: Decimal = Field(gt=0)
    period: Literal["day", "month"] = "month"
    team: str | None = None
    provider: str | None = None
    model_id: str | None = None
    application: str | None = None
    thresholds: tuple[Decimal, ...] = (Decimal("0.5"), Decimal("0.8"), Decimal(1))


class Allocation(_Strict):
    """How a shared cost is split over teams."""

    name: str
    source_team: str | None = None
    method: Literal["even", "proportional", "fixed"] = "proportional"
    shares: dict[str, Decimal] = Field(default_factory=dict)


class TeamRule(_Strict):
    """A row of the attribution table: where `field` matches `pattern`, the row belongs to `team`."""

    field: Literal["api_key_id", "project_id", "account_id", "user_id", "application", "model_id", "team", "source"]
    pattern: str
    team: str


class OwnPrice(_Strict):
    """A price of the user's own: it stands above every price list from `valid_from` on."""

    provider: str
    model_id: str
    usd: dict[str, str]
    per: int | None = Field(default=None, gt=0)
    service_tier: str = "standard"
    valid_from: str | None = None


class PriceFeed(_Strict):
    """A cloud's price catalogue to take in with `cost-ops prices update`; without `api_key_env` its own sign-in."""

    kind: Literal["azure.retail_prices", "gcp.catalog", "aws.price_list"]
    base_url: str | None = None
    api_key_env: str | None = None
    services: tuple[str, ...] = ()


class Gates(_Strict):
    """Shares above which a run ends with exit code 1. Everything is written all the same."""

    unpriced_share: Decimal = Field(default=Decimal("0"), ge=0, le=1)
    quarantine_share: Decimal = Field(default=Decimal("0.01"), ge=0, le=1)
    unexplained_share: Decimal = Field(default=Decimal("0.0005"), ge=0, le=1)
    completeness: Decimal = Field(default=Decimal("0"), ge=0, le=1)


class Retention(_Strict):
    """Ages in days after which a layer is dropped; 0 keeps it for ever."""

    raw_days: int = Field(default=0, ge=0)
    core_days: int = Field(default=0, ge=0)
    out_days: int = Field(default=0, ge=0)
    report_days: int = Field(default=0, ge=0)
    archive: str | None = None


class Forecast(_Strict):
    """How far ahead, and over which series."""

    horizon_days: int = Field(default=90, ge=1, le=400)
    by: tuple[str, ...] = ("provider", "model_id", "team")
    country: str | None = None
    drivers: tuple[str, ...] = ()

    @field_validator("country")
    @classmethod
    def _country(cls, value: str | None) -> str | None:
        if value is not None:
            import holidays

            if value not in holidays.list_supported_countries():
                raise ValueError(f"{value!r} is no country with known holidays; write an ISO 3166 code, for example DE")
        return value


class Notify(_Strict):
    """Where alerts go. Addresses that hold a secret are named by environment variable."""

    webhook_url_env: str | None = None
    slack_url_env: str | None = None
    smtp_url_env: str | None = None
    mail_from: str | None = None
    mail_to: tuple[str, ...] = ()


class Settings(_Strict):
    """The whole configuration. `home` is the folder of the file; relative paths start there."""

    home: Path
    workspace: Workspace = Workspace()
    sources: tuple[Source, ...] = ()
    budgets: tuple[Budget, ...] = ()
    contracts: tuple[Contract, ...] = ()
    allocations: tuple[Allocation, ...] = ()
    teams: tuple[TeamRule, ...] = ()
    prices: tuple[OwnPrice, ...] = ()
    price_feeds: tuple[PriceFeed, ...] = ()
    gates: Gates = Gates()
    retention: Retention = Retention()
    forecast: Forecast = Forecast()
    notify: Notify = Notify()
    run: Engine = Engine()

    @model_validator(mode="after")
    def _names(self) -> Settings:
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sources are called {name!r}; give each a name of its own")
        for source in self.sources:
            for other in source.primary_over:
                if other not in names:
                    raise ValueError(f"sources.{source.name}.primary_over: no source is called {other!r}"
                                     f"{_nearest(other, names)}")
        self.by_primacy()
        return self

    def by_primacy(self) -> tuple[Source, ...]:
        """The sources, a primary one before those that it stands over."""
        done: list[Source] = []
        left = list(self.sources)
        while left:
            free = [one for one in left if not any(one.name in other.primary_over for other in left)]
            if not free:
                raise ValueError("primary_over goes in a circle: " + ", ".join(one.name for one in left))
            done += free
            left = [one for one in left if one not in free]
        return tuple(done)

    def secret_names(self) -> set[str]:
        """The environment variables that hold secrets."""
        names = {value for source in self.sources for value in (source.api_key_env, source.secret_env) if value}
        names |= {feed.api_key_env for feed in self.price_feeds if feed.api_key_env}
        notify = (self.notify.webhook_url_env, self.notify.slack_url_env, self.notify.smtp_url_env)
        return names | {name for name in notify if name}


def config_path(given: str | None) -> Path:
    """`--config`, else `./costops.toml`, else `COSTOPS_CONFIG`."""
    if given:
        return Path(given)
    here = Path("costops.toml")
    if not here.exists() and (named := os.environ.get("COSTOPS_CONFIG")):
        return Path(named)
    return here


def load(given: str | None = None) -> Settings:
    """Read and check the configuration; every fault is one sentence that names file, key and mend."""
    path = config_path(given)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Usage(f"{path}: no such file; `cost-ops init DIR` writes one, or name yours with --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{path}: cannot be read ({error}); mend it or name another with --config.") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Usage(f"{path}: not TOML: {error}.") from None
    if "home" in data:
        raise Usage(f"{path}: unknown key 'home'{_nearest('home', _keys_at([]))}.")
    try:
        return Settings(home=path.resolve().parent, **data)
    except ValidationError as error:
        told = "; ".join(_sentence(dict(one), data) for one in error.errors()[:5])
        raise Usage(f"{path}: {told}{'' if told.endswith('?') else '.'}") from None


_LISTS = frozenset({"sources", "budgets", "contracts", "allocations", "teams", "prices", "price_feeds"})


def _sentence(error: dict[str, Any], data: dict[str, Any]) -> str:
    place = [str(part) for part in error["loc"]]
    where = ".".join(place)
    sources = data.get("sources")
    if len(place) > 1 and place[0] == "sources" and place[1].isdigit() and isinstance(sources, list):
        named = sources[int(place[1])].get("name", place[1]) if isinstance(sources[int(place[1])], dict) else place[1]
        where = ".".join(["sources", str(named), *place[2:]])
    if error["type"] == "extra_forbidden":
        return f"unknown key {where!r}{_nearest(place[-1], _keys_at(place[:-1]))}"
    if error["type"] == "tuple_type" and len(place) == 1 and place[0] in _LISTS:
        return f"{where}: write a list of tables, each one under [[{where}]]"
    return f"{where}: {str(error['msg']).removeprefix('Value error, ')}" if where else (
        str(error["msg"]).removeprefix("Value error, "))


def _keys_at(place: list[str]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "": Settings, "workspace": Workspace, "sources": Source, "attribution": Attribution, "budgets": Budget,
        "contracts": Contract, "allocations": Allocation, "teams": TeamRule, "prices": OwnPrice,
        "price_feeds": PriceFeed, "gates": Gates,
        "retention": Retention, "forecast": Forecast, "notify": Notify, "run": Engine,
    }
    names = [part for part in place if not part.isdigit()]
    model = models.get(names[-1] if names else "", Settings)
    return [name for name in model.model_fields if name != "home"]


def _nearest(word: str, known: Iterable[str]) -> str:
    return f"; {nearest(word, known).rstrip('.')}"
