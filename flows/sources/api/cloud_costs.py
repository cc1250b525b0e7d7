"""Cost queries of the clouds: Azure Cost Management, AWS Cost Explorer, and Google's export through BigQuery."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from costops.flows.sources.api.client import Answer, Api
from costops.flows.sources.api.landing import Chain
from costops.transforms.errors import Unreachable
from costops.transforms.window import Window

AZURE_URL = "https://management.azure.com"
AZURE_VERSION = "2025-03-01"
BIGQUERY_URL = "https://bigquery.googleapis.com/bigquery/v2"
BEDROCK_SERVICES = ("Amazon Bedrock", "Amazon Bedrock Service")
_METRICS = ("UnblendedCost", "NetUnblendedCost", "AmortizedCost", "UsageQuantity")


def months(window: Window) -> Iterator[Window]:
    """The window cut at month ends: providers charge quota by the month asked for."""
    start = window.start
    while start < window.end:
        end = min(window.end, (start.replace(day=1) + timedelta(days=32)).replace(day=1))
        yield Window(start, end)
        start = end


def connect_azure(token: str, *, base_url: str = AZURE_URL, **more: Any) -> Api:
    """The client of an access token."""
    return Api("azure", base_url, {"authorization": f"Bearer {token}", "clienttype": "llm-costops"},
               key_from="the Azure access token", **more)


def cost_management(api: Api, scope: str, window: Window, *,
                    services: Sequence[str] = ("Foundry Models", "Cognitive Services")) -> list[Chain]:
    """A chain for each month of daily cost by resource and meter; a next link is asked with the same body."""
    return [_azure(api, scope, part, services) for part in months(window)]


def _azure(api: Api, scope: str, window: Window, services: Sequence[str]) -> Chain:
    path = f"{scope.strip('/')}/providers/Microsoft.CostManagement/query?api-version={AZURE_VERSION}"
    last = window.end - timedelta(days=1)
    body = {
        "type": "ActualCost", "timeframe": "Custom",
        "timePeriod": {"from": f"{window.start:%Y-%m-%d}T00:00:00+00:00", "to": f"{last:%Y-%m-%d}T23:59:59+00:00"},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"},
                            "totalUsage": {"name": "UsageQuantity", "function": "Sum"}},
            "grouping": [{"type": "Dimension", "name": "ResourceId"}, {"type": "Dimension", "name": "Meter"}],
            "filter": {"dimensions": {"name": "ServiceName", "operator": "In", "values": list(services)}},
        },
    }

    def cursor(told: Any) -> str | None:
        link = (told.get("properties") or {}).get("nextLink")
        return str(link) if link else None

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        link = cursor(told)
        return (lambda: api.ask("POST", link, body=body)) if link else None

    return Chain("cost_management", f"{path}:{json.dumps(body, sort_keys=True)}",
                 lambda: api.ask("POST", path, body=body), after, cursor)


def cost_explorer(client: Any, window: Window, *, services: Sequence[str] = ()) -> list[Chain]:
    """The chain of daily cost by service and usage type, through boto3; each page costs a cent.

    Marketplace models have services of their own, so without `services` all are asked for and read afterwards.
    """
    asked: dict[str, Any] = {
        "TimePeriod": {"Start": f"{window.start:%Y-%m-%d}", "End": f"{window.end:%Y-%m-%d}"}, "Granularity": "DAILY",
        "Metrics": list(_METRICS),
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "USAGE_TYPE"}],
    }
    if services:
        asked["Filter"] = {"Dimensions": {"Key": "SERVICE", "Values": list(services)}}

    def ask(token: str | None = None) -> Answer:
        return _boto(client, {**asked, **({"NextPageToken": token} if token else {})})

    def cursor(told: Any) -> str | None:
        return told.get("NextPageToken") or None

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        token = cursor(told)
        return (lambda: ask(token)) if token else None

    return [Chain("cost_explorer", json.dumps(asked, sort_keys=True), ask, after, cursor)]


def _boto(client: Any, asked: dict[str, Any]) -> Answer:
    """The answer as received: boto3 parses, the bytes are caught on their way."""
    from botocore.exceptions import BotoCoreError, ClientError

    caught: list[bytes] = []

    def keep(http_response: Any, **_: Any) -> None:
        caught.append(bytes(http_response.content))

    client.meta.events.register("after-call.cost-explorer.GetCostAndUsage", keep, unique_id="costops-landing")
    client.meta.events.register("after-call.ce.GetCostAndUsage", keep, unique_id="costops-landing-ce")
    try:
        client.get_cost_and_usage(**asked)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise Unreachable(f"aws: Cost Explorer answered {code}; the credentials need ce:GetCostAndUsage, and the "
                          "window must not reach back further than the account's data.") from None
    except BotoCoreError as error:
        raise Unreachable(f"aws: Cost Explorer could not be reached ({type(error).__name__}).") from None
    finally:
        client.meta.events.unregister("after-call.cost-explorer.GetCostAndUsage", unique_id="costops-landing")
        client.meta.events.unregister("after-call.ce.GetCostAndUsage", unique_id="costops-landing-ce")
    return Answer(caught[-1], json.loads(caught[-1]))


def connect_bigquery(token: str, *, base_url: str = BIGQUERY_URL, **more: Any) -> Api:
    """The client of an access token."""
    return Api("gcp", base_url, {"authorization": f"Bearer {token}"}, key_from="the Google access token", **more)


def billing_export(api: Api, project: str, table: str, since: date, until: date, *, location: str = "US",
                   page_rows: int = 20_000) -> list[Chain]:
    """The chain of export rows of the invoice months from `since` to before `until`, in BigQuery's answers.

    `table` is project.dataset.table. Rows are asked for by invoice month, so that a month is told whole.
    """
    body = {
        "query": f"SELECT * FROM `{table}` WHERE invoice.month >= @since AND invoice.month < @until",
        "useLegacySql": False, "maxResults": page_rows, "location": location, "timeoutMs": 30_000,
        "formatOptions": {"useInt64Timestamp": True}, "parameterMode": "NAMED",
        "queryParameters": [
            {"name": name, "parameterType": {"type": "STRING"}, "parameterValue": {"value": f"{day:%Y%m}"}}
            for name, day in (("since", since), ("until", until))],
    }
    if not all(part.replace("_", "").replace("-", "").isalnum() for part in table.split(".")):
        raise Unreachable(f"gcp: {table!r} is no table; write project.dataset.table.")

    def wait(told: Any) -> Answer:
        job = told["jobReference"]
        for _ in range(60):
            answer = _page(job, None)
            if answer.told.get("jobComplete"):
                return answer
            api.sleep(2.0)
        raise Unreachable("gcp: the query of the billing export did not finish in time; run again later.")

    def _page(job: Any, token: str | None) -> Answer:
        params = [("location", str(job.get("location", location))), ("maxResults", str(page_rows)),
                  ("formatOptions.useInt64Timestamp", "true")]
        return api.ask("GET", f"projects/{project}/queries/{job['jobId']}",
                       params=[*params, *([("pageToken", token)] if token else [])])

    def first() -> Answer:
        answer = api.ask("POST", f"projects/{project}/queries", body=body)
        return answer if answer.told.get("jobComplete", True) else wait(answer.told)

    def cursor(told: Any) -> str | None:
        return told.get("pageToken") or None

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        token = cursor(told)
        return (lambda: _page(told["jobReference"], token)) if token else None

    return [Chain("billing_export", json.dumps(body, sort_keys=True), first, after, cursor)]
