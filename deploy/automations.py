"""Automations of the Prefect server, as code: run it once after `prefect deploy --all`, again after a change.

    PREFECT_API_URL=http://127.0.0.1:4200/api python deploy/automations.py

It replaces the automations of these names and touches no others.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, DoNothing
from prefect.events.schemas.automations import EventTrigger, Posture

ZOMBIES = "costops: a run without a heartbeat has crashed"
ALERTS = "costops: budget breached"


def automations() -> list[Automation]:
    """What ships."""
    return [
        # A worker and its flow killed together leave "Running" for ever; the open server has no such watch of its own.
        Automation(
            name=ZOMBIES, description="Without a sign of life for 90 s after a heartbeat.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"}, expect={"prefect.flow-run.*"},
                match={"prefect.resource.id": "prefect.flow-run.*"},  # type: ignore[arg-type]
                for_each={"prefect.resource.id"}, posture=Posture.Proactive, threshold=1,
                within=timedelta(seconds=90)),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message="No heartbeat for 90 s.")]),
        # A place to hang your own action on: the event carries title, text, cause and period.
        Automation(
            name=ALERTS, description="Replace the action by yours, for example a notification block.",
            trigger=EventTrigger(expect={"costops.budget.breached"}, posture=Posture.Reactive, threshold=1,
                                 for_each={"prefect.resource.id"}),
            actions=[DoNothing()]),
    ]


def main() -> None:
    """Replace them."""
    with get_client(sync_client=True) as client:
        for one in automations():
            for old in client.read_automations_by_name(one.name):
                client.delete_automation(old.id)
            one.create()
            print(f"{one.name}: in place")  # noqa: T201  a script


if __name__ == "__main__":
    main()
