"""Price catalogues of the clouds: Azure Retail Prices, Google's Cloud Billing Catalog, the AWS Price List.

All three are public; Google wants an API key or an access token all the same. Pages land as received, like those of
any source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from costops.flows.sources.api.client import Answer, Api
from costops.flows.sources.api.landing import Chain
from costops.transforms.errors import Usage
from costops.transforms.prices.feeds import aws_offers, azure_retail, google_catalog
from costops.transforms.prices.feeds.listing import Listing

AZURE_URL = "https://prices.azure.com"
AZURE_VERSION = "2023-01-01-preview"
GOOGLE_URL = "https://cloudbilling.googleapis.com"
AWS_URL = "https://pricing.us-east-1.amazonaws.com"
_PAGE = 5000


@dataclass(frozen=True)
class Catalogue:
    """One kind of price catalogue: where it is, what it is asked for, how its pages are read, what they hold."""

    kind: str
    base_url: str
    services: tuple[str, ...]
    chain: Callable[[Api, str], Chain]
    read: Callable[[Iterable[bytes]], Listing]
    holds: str
    needs_key: bool = False

    def connect(self, key: str | None = None, *, token: str | None = None, base_url: str | None = None,
                key_from: str = "the configured key", **more: Any) -> Api:
        """The client: with a key or a token where the catalogue wants one."""
        headers: Mapping[str, str] = {}
        if self.needs_key:
            if not (key or token):
                raise Usage(f"{self.kind}: {key_from} is empty or not set; name an API key with `api_key_env`, or install "
                            "the extra `gcp` and sign in.")
            headers = {"x-goog-api-key": key} if key else {"authorization": f"Bearer {token}"}
        return Api(self.kind, base_url or self.base_url, headers, key_from=key_from, **more)

    def chains(self, api: Api, services: Sequence[str] = ()) -> list[Chain]:
        """A chain for each service or offer."""
        return [self.chain(api, service) for service in services or self.services]


def _azure(api: Api, service: str) -> Chain:
    path = "api/retail/prices"
    query = [("api-version", AZURE_VERSION), ("currencyCode", "'USD'"), ("$filter", f"serviceName eq '{service}'")]

    def cursor(told: Any) -> str | None:
        return told.get("NextPageLink") or None

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        link = cursor(told)
        return (lambda: api.ask("GET", link)) if link else None

    return Chain("azure.retail_prices", f"{path}?{query}", lambda: api.ask("GET", path, params=query), after, cursor)


def _google(api: Api, service: str) -> Chain:
    path = f"v1/services/{service}/skus"
    query = [("currencyCode", "USD"), ("pageSize", str(_PAGE))]

    def cursor(told: Any) -> str | None:
        return told.get("nextPageToken") or None

    def ask(page: str | None = None) -> Answer:
        return api.ask("GET", path, params=[*query, *([("pageToken", page)] if page else [])])

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        page = cursor(told)
        return (lambda: ask(page)) if page else None

    return Chain("gcp.catalog", f"{path}?{query}", ask, after, cursor)


def _aws(api: Api, offer: str) -> Chain:
    path = f"offers/v1.0/aws/{offer}/current/index.json"
    return Chain("aws.price_list", path, lambda: api.ask("GET", path), lambda _, __: None, lambda _: None)


CATALOGUES: tuple[Catalogue, ...] = (
    Catalogue(azure_retail.SOURCE, AZURE_URL, azure_retail.SERVICES, _azure, azure_retail.read, "Items"),
    Catalogue(google_catalog.SOURCE, GOOGLE_URL, google_catalog.SERVICES, _google, google_catalog.read, "skus",
              needs_key=True),
    Catalogue(aws_offers.SOURCE, AWS_URL, aws_offers.OFFERS, _aws, aws_offers.read, "offerCode"),
)

CATALOGUE: dict[str, Catalogue] = {one.kind: one for one in CATALOGUES}
