"""Every source kind that is pulled from an API: one line registers a puller.

    pull_source("openai.costs", access, store, window, today=today, as_of=now)

lands the pages of the window's full days in the store and returns their names; the kind's reader takes them from there
as it takes files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from costops.flows.sources.api import anthropic_api, cloud_costs, credentials, gateway_api, openai_api
from costops.flows.sources.api.client import Api
from costops.flows.sources.api.landing import Chain, Pulled, Store, pull
from costops.transforms.errors import Usage
from costops.transforms.window import Window


@dataclass(frozen=True)
class Access:
    """How a source is reached. `key` and `secret` are values, from wherever the runtime keeps them; never shown.

    `key_from` names the place in errors (`$OPENAI_ADMIN_KEY`). `options` of the source: `scope`, `client_id` (Azure),
    `project`, `table`, `location` (BigQuery), `width` (bucket), `services`, `timeout` (seconds). `client` are further
    arguments of `Api`. Without a key Azure and Google are reached with their own sign-in.
    """

    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    base_url: str | None = None
    key_from: str = "the configured key"
    options: Mapping[str, Any] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)

    def needed(self) -> str:
        """The key, or one sentence that it is missing."""
        if not self.key:
            raise Usage(f"No key for this source: {self.key_from} is empty or not set; set it and run again.")
        return self.key

    def option(self, name: str, example: str) -> str:
        """An option that the kind cannot do without."""
        if name not in self.options:
            raise Usage(f"The source needs `options.{name}`, for example {example!r}.")
        return str(self.options[name])

    def made(self, connect: Callable[..., Api], *keys: str) -> Api:
        """A client by one of the `connect` functions."""
        more = dict(self.client)
        if self.base_url:
            more["base_url"] = self.base_url
        if connect in (openai_api.connect, anthropic_api.connect):
            more["key_from"] = self.key_from
        return connect(*keys, **more)


Chains = Callable[[Access, Window], tuple[Api | None, list[Chain]]]


@dataclass(frozen=True)
class Puller:
    """One kind: how its chains are made, and how many days back the provider tells at most."""

    kind: str
    chains: Chains
    days_back: int | None = None


def _keyed(connect: Callable[..., Api], ask: Callable[..., list[Chain]]) -> Chains:
    def chains(access: Access, window: Window) -> tuple[Api | None, list[Chain]]:
        api = access.made(connect, access.needed())
        more = {"width": access.options["width"]} if "width" in access.options else {}
        return api, ask(api, window, **more)
    return chains


def _langfuse(access: Access, window: Window) -> tuple[Api | None, list[Chain]]:
    if not access.secret:
        raise Usage("Langfuse needs a key pair: `api_key_env` for the public key, `secret_env` for the secret key.")
    api = access.made(gateway_api.connect_langfuse, access.needed(), access.secret)
    return api, gateway_api.observations(api, window)


def _azure(access: Access, window: Window) -> tuple[Api | None, list[Chain]]:
    token = access.key or credentials.azure_token(client_id=access.options.get("client_id"))
    api = access.made(cloud_costs.connect_azure, token)
    return api, cloud_costs.cost_management(api, access.option("scope", "/subscriptions/<id>"), window)


def _bigquery(access: Access, window: Window) -> tuple[Api | None, list[Chain]]:
    table = access.option("table", "project.dataset.gcp_billing_export_resource_v1_XXXXXX")
    api = access.made(cloud_costs.connect_bigquery, access.key or credentials.google_token(credentials.BIGQUERY_SCOPE))
    last = (window.end - timedelta(days=1)).replace(day=1)
    until = (last + timedelta(days=32)).replace(day=1)
    return api, cloud_costs.billing_export(
        api, str(access.options.get("project", table.split(".", maxsplit=1)[0])), table, window.start.replace(day=1),
        until, location=str(access.options.get("location", "US")))


def _explorer(access: Access, window: Window) -> tuple[Api | None, list[Chain]]:
    """Through boto3 and its own chain of credentials; `key` and `secret` where they are given."""
    import boto3
    from botocore.config import Config

    patience = float(access.options.get("timeout", 60))
    client = boto3.session.Session().client("ce", region_name=str(access.options.get("region", "us-east-1")),
                          endpoint_url=access.base_url, aws_access_key_id=access.key,
                          aws_secret_access_key=access.secret, config=Config(
                              retries={"mode": "standard", "max_attempts": 6}, connect_timeout=min(patience, 15),
                              read_timeout=patience))
    return None, cloud_costs.cost_explorer(client, window, services=tuple(access.options.get("services", ())))


PULLERS: tuple[Puller, ...] = (
    Puller("openai.usage", _keyed(openai_api.connect, openai_api.usage)),
    Puller("openai.costs", _keyed(openai_api.connect, openai_api.costs)),
    Puller("anthropic.usage_report", _keyed(anthropic_api.connect, anthropic_api.usage_report)),
    Puller("anthropic.cost_report", _keyed(anthropic_api.connect, anthropic_api.cost_report)),
    Puller("claude_code.analytics", _keyed(anthropic_api.connect, anthropic_api.claude_code)),
    Puller("langfuse.observations", _langfuse),
    Puller("helicone.requests", _keyed(gateway_api.connect_helicone, gateway_api.requests)),
    Puller("openrouter.activity", _keyed(gateway_api.connect_openrouter, gateway_api.activity), days_back=30),
    Puller("azure.cost_management", _azure),
    Puller("aws.cost_explorer", _explorer, days_back=400),
    Puller("gcp.billing_export", _bigquery),
)

PULLER: dict[str, Puller] = {puller.kind: puller for puller in PULLERS}


def pull_source(kind: str, access: Access, store: Store, window: Window, *, today: date,
                as_of: datetime) -> Pulled:
    """The pages of the window's full days, landed. Days not over, or too old for the provider, are left out."""
    puller = PULLER[kind]
    start, end = window.start, min(window.end, today)
    if puller.days_back is not None:
        start = max(start, today - timedelta(days=puller.days_back))
    if start >= end:
        return Pulled((), 0, 0)
    api, chains = puller.chains(access, Window(start, end))
    try:
        return pull(chains, store, as_of)
    finally:
        if api is not None:
            api.close()
