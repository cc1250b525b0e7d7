"""Alerts to people: webhook, Slack and e-mail; one per cause and period, also after reruns and crashes.

What was sent stands in the lake under `_state/alerts/`. It is claimed before it is sent and marked after. A run that
dies in between leaves a claim, and the next run sends again under the same id (`Idempotency-Key`, `Message-ID`), by
which the receiver knows it for the same alert: an alert is never lost, and never two.
"""

from __future__ import annotations

import hashlib
import json
import os
import smtplib
import ssl
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import polars as pl
import tenacity

from costops.flows.runtime.faults import fault
from costops.flows.runtime.logs import LOGGER, redact
from costops.flows.runtime.settings import Notify
from costops.flows.tasks import metrics
from costops.flows.tasks.run import Run
from costops.flows.tasks.within import in_flow
from costops.transforms.errors import Unreachable, Usage
from costops.transforms.tables import OUT_ANOMALY, OUT_BUDGET

TIMEOUT = 10.0
ATTEMPTS = 3


@dataclass(frozen=True)
class Alert:
    """One thing that a person should know: `cause` and `period` tell it from any other."""

    cause: str
    period: str
    event: str
    title: str
    text: str

    @property
    def key(self) -> str:
        """The same cause and period give the same key in every run."""
        return hashlib.sha256(f"{self.cause}\x1f{self.period}".encode()).hexdigest()[:24]


def alerts_of(run: Run) -> list[Alert]:
    """What this run has to tell: budgets over a threshold, failed gates, what was not reached, new anomalies."""
    today = str(run.now.date())
    made = [_budget_alert(row) for row in run.lake.read(OUT_BUDGET, [{"day": today}]).iter_rows(named=True)
            if row["threshold"] is not None]
    made += [Alert(f"gate:{gate.name}", today, "costops.gate.failed", f"Gate failed: {gate.name}", str(gate))
             for gate in run.gates if gate.failed and gate.name != "budget"]
    made += [Alert(f"unreachable:{text.split(':', 1)[0]}", today, "costops.source.unreachable",
                   f"Not reached: {text.split(':', 1)[0]}", text) for text in run.unreachable]
    odd = run.lake.read(OUT_ANOMALY, [{"day": today}]).filter(pl.col("is_sent"))
    made += [_anomaly_alert(row) for row in odd.iter_rows(named=True)]
    return made


def _budget_alert(row: dict[str, Any]) -> Alert:
    share = row["threshold"]
    text = f"{row['spent_usd']:.2f} of {row['amount_usd']:.2f} USD spent since {row['period_start']}"
    if row["expected_total"] is not None:
        text += f"; {row['expected_total']:.2f} USD expected by the end of the {row['period']}"
    return Alert(f"budget:{row['budget']}:{share:g}", str(row["period_start"]), "costops.budget.breached"
                 if row["is_breached"] else "costops.budget.threshold",
                 f"Budget {row['budget']}: {share:.0%} reached", text + ".")


def _anomaly_alert(row: dict[str, Any]) -> Alert:
    return Alert(f"anomaly:{row['unique_id']}", str(row["ds"]), "costops.anomaly.new",
                 f"{row['kind']}: {row['unique_id']} on {row['ds']}",
                 f"{row['y']:.2f} USD where {row['expected']:.2f} USD were expected."
                 + (f" Shown by {row['drivers']}." if row["drivers"] else "")
                 + (f" What moved, in USD: {row['cause']}." if row["cause"] else ""))


def announce(run: Run) -> list[Alert]:
    """Send what was not sent before; tell orchestrator and monitor. A receiver that fails does not fail the run."""
    metrics.write(run)
    ways = channels(run.settings.notify)
    return [alert for alert in alerts_of(run) if any([send_once(run, alert, name) for name in ways])]  # noqa: C419


def channels(notify: Notify) -> list[str]:
    """The configured ways to people; under Prefect also an event, for automations."""
    found = [name for name, variable in (("webhook", notify.webhook_url_env), ("slack", notify.slack_url_env),
                                         ("mail", notify.smtp_url_env)) if variable]
    return [*found, "event"] if in_flow() else found


def send_once(run: Run, alert: Alert, channel: str) -> bool:
    """True where it was sent now; False where it was before, or could not be (the next run tries again)."""
    key = f"_state/alerts/{alert.period}/{alert.key}-{channel}.json"
    claim = {"cause": alert.cause, "period": alert.period, "channel": channel}
    found = run.lake.store.read(key)
    if found is not None and b'"sent"' in found:
        return False
    run.lake.store.put(key, json.dumps({**claim, "state": "claimed"}).encode())
    fault("before_alert")
    try:
        SENDERS[channel](run.settings.notify, alert)
    except (Unreachable, Usage) as error:
        LOGGER.error("alert by %s: %s", channel, redact(str(error)))
        run.note("stage", "notify", outcome="failed", detail=redact(f"{channel}: {error}"))
        return False
    fault("after_alert")
    run.lake.store.put(key, json.dumps({**claim, "state": "sent"}).encode())
    return True


def send_webhook(notify: Notify, alert: Alert) -> None:
    """POST as JSON."""
    _post(_address(notify.webhook_url_env), asdict(alert) | {"id": alert.key}, alert)


def send_slack(notify: Notify, alert: Alert) -> None:
    """POST as Slack's incoming webhooks take it; the three signs that Slack reads as markup are escaped."""
    text = f"*{_slack(alert.title)}*\n{_slack(alert.text)}"
    _post(_address(notify.slack_url_env), {"text": text}, alert)


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def send_mail(notify: Notify, alert: Alert) -> None:
    """By SMTP: `smtp://[user:password@]host[:port]` (STARTTLS where offered), or `smtps://`."""
    if not notify.mail_to or not notify.mail_from:
        raise Usage("notify: mail needs `mail_from` and `mail_to`.")
    place = urlsplit(_address(notify.smtp_url_env))
    mail = EmailMessage()
    mail["Subject"] = _line(f"[costs] {alert.title}")
    mail["From"], mail["To"] = _line(notify.mail_from), ", ".join(_line(one) for one in notify.mail_to)
    mail["Message-ID"] = f"<{alert.key}@llm-costops>"
    mail.set_content(f"{alert.text}\n\n{alert.cause}, {alert.period}\n")
    _try(lambda: _smtp(place, mail), f"mail server {place.hostname}")


def _smtp(place: Any, mail: EmailMessage) -> None:
    secure = place.scheme == "smtps"
    kind: Any = smtplib.SMTP_SSL if secure else smtplib.SMTP
    with kind(place.hostname, place.port or (465 if secure else 587), timeout=TIMEOUT) as server:
        server.ehlo()
        if not secure and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        if place.username:
            server.login(unquote(place.username), unquote(place.password or ""))
        server.send_message(mail)


def send_event(_: Notify, alert: Alert) -> None:
    """An event of the orchestrator, which automations can answer."""
    from prefect.events import emit_event

    emit_event(alert.event, payload=asdict(alert), resource={
        "prefect.resource.id": f"costops.{alert.cause}", "prefect.resource.name": alert.title})


SENDERS = {"webhook": send_webhook, "slack": send_slack, "mail": send_mail, "event": send_event}


def _line(text: str) -> str:
    """Text for a header: one line, whatever names are in it."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:200]


def _address(variable: str | None) -> str:
    value = os.environ.get(variable or "", "")
    if not value:
        raise Usage(f"notify: the environment variable {variable} is not set.")
    return value


def _post(url: str, body: dict[str, Any], alert: Alert) -> None:
    host = urlsplit(url).hostname

    def send() -> None:
        answer = httpx.post(url, json=body, timeout=TIMEOUT, headers={"Idempotency-Key": alert.key})
        if answer.status_code >= 500 or answer.status_code == 429:
            raise httpx.TransportError(f"answered {answer.status_code}")
        if answer.status_code >= 300:
            raise Unreachable(f"{host} answered {answer.status_code}; check the address.")

    _try(send, str(host))


def _try(send: Any, host: str) -> None:
    """Three attempts; the address itself is never in a message, it may hold a token."""
    try:
        tenacity.retry(stop=tenacity.stop_after_attempt(ATTEMPTS), reraise=True,
                       wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=5),
                       retry=tenacity.retry_if_exception_type(
                           (httpx.TransportError, OSError, smtplib.SMTPServerDisconnected)))(send)()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, smtplib.SMTPException) as error:
        raise Unreachable(f"{host}: {type(error).__name__}; the next run tries again.") from None
