"""Nights that were and nights that were not: when the last one was due, and whether a run did it.

A run is known by what it left in `runs/`; the clock is given, so that it can be any.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from pendel.figures import RunResult, runs
from pendel.places import Places


def last_due(now: dt.datetime, at: dt.time, zone: str) -> dt.datetime:
    """The last moment, not after `now`, at which the local clock of `zone` showed `at`: when a night was due."""
    local = now.astimezone(ZoneInfo(zone))
    moment = dt.datetime.combine(local.date(), at, ZoneInfo(zone))
    if moment > local:
        moment = dt.datetime.combine(local.date() - dt.timedelta(days=1), at, ZoneInfo(zone))
    return moment.astimezone(dt.UTC)


def started(run: RunResult) -> dt.datetime:
    """When a run started, in UTC."""
    return dt.datetime.fromisoformat(run.started_at)


def runs_since(places: Places, moment: dt.datetime) -> list[RunResult]:
    """The runs that started at `moment` or later."""
    found = []
    for run in runs(places):
        if started(run) < moment.replace(microsecond=0):  # what a run tells of its start are whole seconds
            break
        found.append(run)
    return found


def is_busy(places: Places) -> bool:
    """Whether a run is at work now."""
    import filelock

    if not (places.lock).exists():
        return False
    try:
        with filelock.FileLock(places.lock, timeout=0):
            return False
    except filelock.Timeout:
        return True


STOPPED = "TerminationSignal"
"""The error of a run that was told to stop: the machine was shut down, or the service restarted."""


def was_killed(run: RunResult, places: Places) -> bool:
    """Whether a run, the newest, ended without a word: killed, or the machine went off."""
    return run.finished_at is None and not is_busy(places)


def is_missed(places: Places, moment: dt.datetime) -> bool:
    """Whether the night of `moment` is still to be run: nothing ran since, or what ran once was killed or stopped.

    A second one that is killed is not tried again: that is for a person to look at.
    """
    found = runs_since(places, moment)
    return not found or (len(found) == 1 and (found[0].error == STOPPED or was_killed(found[0], places)))


def is_done(places: Places, moment: dt.datetime) -> bool:
    """Whether a run that started at `moment` or later got to its end, published or held back."""
    return any(run.finished_at is not None and run.error is None for run in runs_since(places, moment))
