"""The nightly schedule: a deployment of the flow, kept by a runner of Prefect, and missed nights caught up.

Nothing here runs a night itself: Prefect starts a process for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.runner import Runner
from prefect.schedules import Cron, Schedule
from prefect.states import Scheduled
from prefect.types.entrypoint import EntrypointType

from flows.nightly import nightly
from pendel import nights
from pendel.places import Places

DEPLOYMENT = "every-night"
LOOK = 300
"""Seconds between two looks for a night that was missed: of a machine that slept, too."""

GRACE = dt.timedelta(minutes=10)
"""So long after its time a night is not missed, but about to begin."""


def keep(
    places: Places, at: dt.time, zone: str, schedules: Sequence[Schedule] | None = None, seconds: float = 10
) -> None:
    """Serve the flow until the process is told to stop: every night at `at` on the clock of `zone`.

    Needs a Prefect server at PREFECT_API_URL. `schedules` replace the nightly one; then nothing is caught up. Prefect
    is asked every so many seconds what is to be run.
    """
    runner = Runner(name=DEPLOYMENT, limit=1, pause_on_shutdown=False, query_seconds=seconds)
    deployment = runner.add_flow(
        nightly,
        name=DEPLOYMENT,
        description="Neemt elke nacht in wat de vestigingen aanleverden, en publiceert het.",
        tags=["pendel"],
        schedules=list(schedules or [Cron(f"{at.minute} {at.hour} * * *", timezone=zone, slug="nightly")]),
        parameters={
            "raw": str(places.raw),
            "reference": str(places.reference),
            "warehouse": str(places.warehouse),
        },
        # the lock of the warehouse stands besides this, since the command line goes round Prefect
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, UUID)

    async def serve() -> None:
        running = asyncio.create_task(runner.start())
        looking = None if schedules else asyncio.create_task(_catch_up(places, deployment, at, zone))
        await asyncio.sleep(0)  # the runner sets a handler of its own first, which leaves in the middle of things
        with contextlib.suppress(NotImplementedError):  # Windows
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await running
        finally:
            if looking:
                looking.cancel()

    asyncio.run(serve())


async def _catch_up(places: Places, deployment: UUID, at: dt.time, zone: str) -> None:
    while True:
        await _look(places, deployment, at, zone, dt.datetime.now(dt.UTC))
        await asyncio.sleep(LOOK)


async def _look(places: Places, deployment: UUID, at: dt.time, zone: str, now: dt.datetime) -> None:
    """Have a missed night run, once: the flow skips what is scheduled for a night that is done."""
    due = nights.last_due(now, at, zone)
    if now - due < GRACE or not nights.is_missed(places, due):
        return
    async with get_client() as client:
        await client.create_flow_run_from_deployment(
            deployment,
            state=Scheduled(scheduled_time=due),
            tags=["pendel", "caught-up"],
            idempotency_key=f"caught up {due:%Y-%m-%d %H:%M} after {len(nights.runs_since(places, due))}",
        )
