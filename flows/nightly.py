"""The nightly flow: take in what the branches delivered, build, check, publish.

Thin: what happens stands in `pendel`; here are names, concurrency, retries, states and the artifact. Every task is
coarse, at most MOST_READERS of them read, since Prefect's embedded server loses the records of many small ones.
"""

from __future__ import annotations

import atexit
import datetime as dt
import functools
import gc
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import prefect.runtime
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import quote

from pendel import bronze, building, figures, gates, history, nights, notify, page, present, reading
from pendel.places import PROJECT, Places, discreet, hush
from pendel.reference import Reference, read_reference

atexit.register(hush)  # a scheduled run has a process of its own


def _temporary_server(self: SubprocessASGIServer) -> subprocess.Popen[Any]:
    """Start the server of a run without one: as Prefect does it, but it ends with the run, also when that is killed.

    Prefect's own would go on for good, hold the output of the run open, and be one more after every kill.
    """
    own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-m", "flows.server", str(self.port)]
    paths = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | own | settings | {"PYTHONPATH": paths})


SubprocessASGIServer._run_uvicorn_command = _temporary_server  # type: ignore[method-assign]

MOST_READERS = 16
"""The most tasks that read; a network with more branches has several branches a task."""

T = TypeVar("T")
P = ParamSpec("P")


def as_is(value: T) -> T:
    """Hand a value to a task as it is: Prefect would walk through all of it otherwise."""
    return cast(T, quote(value))


Report = Callable[[str, dict[str, Any]], None]
_report: Report = lambda event, detail: None  # noqa: E731


def on_progress(report: Report) -> None:
    """Tell `report` what happens: (event, detail), from the threads in which it does."""
    global _report
    _report = report


def discreetly(function: Callable[P, T]) -> Callable[P, T]:
    """Let out no error that could quote a row: Prefect keeps what an error says in its database."""

    @functools.wraps(function)
    def inner(*given: P.args, **named: P.kwargs) -> T:
        try:
            return function(*given, **named)
        except Exception as error:
            told = discreet(error)
        raise told  # out here it brings no other error along

    return inner


def _is_io_error(task: Any, run: Any, state: State[Any]) -> bool:
    """Retries are for disks and networks: the same data give the same result."""
    return isinstance(state.result(raise_on_failure=False), OSError)


io = task(
    cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=2, retry_condition_fn=_is_io_error
)
pure = task(cache_policy=NO_CACHE, persist_result=False)


@io
@discreetly
def find_new_files(places: Places, reference: Reference) -> bronze.Plan:
    """What lies in the raw folder and is not in the ledger."""
    return bronze.plan(places, reference)


@io
@discreetly
def find_all_files(places: Places) -> bronze.Plan:
    """Every raw file, in the order in which they first arrived: the store is to be made again."""
    return bronze.plan_afresh(places)


@io
@discreetly
def read_exports(
    places: Places,
    reference: Reference,
    files: list[reading.FoundFile],
    known: set[str],
    folders: str,
    latest: dt.date,
) -> reading.Batch:
    """The exports of one branch (or a few)."""
    batch = reading.read_files(places.raw, files, known, reference, latest)
    _report("read", {"folders": folders, "files": len(files), "rows": batch.rows.num_rows})
    return batch


@pure
@discreetly
def take_in(
    places: Places,
    reference: Reference,
    run: bronze.Run,
    batches: Sequence[reading.Batch],
    withdrawn: frozenset[int],
) -> bronze.Intake:
    """Judge the rows, and append files and rows to the bronze store."""
    return bronze.take_in(places, reference, run, batches, gates.judge_rows, withdrawn)


@pure
@discreetly
def build(
    stack: ExitStack, places: Places, reference: Reference, run: bronze.Run, afresh: bool = False
) -> building.Build:
    """A warehouse in a temporary file."""
    return stack.enter_context(building.built(places, reference, run, afresh))


@pure
@discreetly
def check(build: building.Build) -> list[gates.CheckResult]:
    """The gates on the built warehouse."""
    return gates.check_build(build.con, build.renewed)


@pure
@discreetly
def publish(build: building.Build, places: Places) -> Path:
    """Move the warehouse into place."""
    return building.publish(build, places)


def _places(raw: str | None, reference: str | None, warehouse: str | None) -> Places:
    """The folders given, or those that the environment names, as on the command line."""
    given = {"home": None, "raw": raw, "reference": reference, "warehouse": warehouse}
    named = {name: value or os.environ.get(f"PENDEL_{name.upper()}") for name, value in given.items()}
    return Places.of(**{name: Path(value) if value else None for name, value in named.items()})


def _run_name() -> str:
    """By the date; of a scheduled run by the day on which it runs."""
    given = prefect.runtime.flow_run.parameters
    day = given.get("as_of") or figures.today(notify.zone_of(_places(None, given.get("reference"), None).reference))
    return f"nightly {day}"


def _tell_of_death(flow: Any, flow_run: Any, state: State[Any]) -> None:
    """A run that was killed tells nobody: whoever notices does. Not one that came to its end, and told."""
    given = flow_run.parameters
    places = _places(given.get("raw"), given.get("reference"), given.get("warehouse"))
    last = figures.last_run(places)
    if last is not None and nights.was_killed(last, places):
        notify.tell_run(places, last)


@flow(
    name="nightly",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]
    validate_parameters=False,
    persist_result=False,
    on_failure=[_tell_of_death],
    on_crashed=[_tell_of_death],
)
@discreetly
def nightly(
    raw: str | None = None,
    reference: str | None = None,
    warehouse: str | None = None,
    as_of: str | None = None,
    afresh: bool = False,
) -> State[Any]:
    """One night. Ends Completed when the warehouse was published, Failed when the gates held it back.

    Without `as_of` it is today when the run begins; a scheduled run whose night another run has done since is skipped.
    With `afresh` the store is made again from all raw files, and the warehouse built of nothing else.
    Raises what `pendel` raises: Busy when another run is at work, UserError for what a user can mend. Who is to be told
    of what is wrong is told (`pendel.notify`), but not that another run was busy: that one tells.
    """
    places = _places(raw, reference, warehouse)
    due = prefect.runtime.flow_run.scheduled_start_time
    if as_of is None and due and nights.is_done(places, due):
        return Completed(name="Skipped", message="another run has done this night")
    try:
        places.check_raw()
        network = read_reference(places.reference)
        day = dt.date.fromisoformat(as_of) if as_of else figures.today(network.parameters.time_zone)
    except Exception as error:
        told = error
        notify.tell_error(places, told)
        _write_page(lambda: page.write_error(places, told, dt.datetime.now(dt.UTC)))
        raise
    run = bronze.Run.start(day, places)
    gc.freeze()  # what the imports of Prefect and Great Expectations left need not be walked again and again
    with bronze.locked(places, run), ExitStack() as stack:
        result = figures.RunResult(run.run_id, f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}", str(day))
        result.write(places)
        failure: BaseException | None = None
        try:
            with bronze.plainly(places):
                return _night(places, network, run, result, stack, afresh)
        except BaseException as error:  # a signal too: what was stopped was not held back
            failure = error
            result.error = getattr(error, "kind", type(error).__name__)
            if isinstance(error, Exception):
                _report("failed", {"error": discreet(error)})
            raise
        finally:
            result.finished_at = result.finished_at or _now()
            zone = network.parameters.time_zone
            _write_page(lambda: page.write(places, result, dt.datetime.now(dt.UTC), zone, failure))
            notify.tell_run(places, result, failure)
            # last: a run that is killed before everybody was told has not ended, and is noticed (nights.was_killed)
            result.write(places)
            _report("result", {"result": result})


def _write_page(write: Callable[[], object]) -> None:
    """Write the morning page. What goes wrong with it is told, and leaves the run as it was."""
    try:
        write()
    except Exception as error:
        _report("page_failed", {"error": discreet(error)})


def _now() -> str:
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _night(
    places: Places, network: Reference, run: bronze.Run, result: figures.RunResult, stack: ExitStack, afresh: bool
) -> State[Any]:
    plan = find_all_files(as_is(places)) if afresh else find_new_files(as_is(places), as_is(network))
    result.files_seen = plan.seen
    result.files_new = sum(len(files) for files in plan.files.values())
    _report("found", {"files": result.files_new, "folders": len(plan.files)})
    today = max(run.as_of, figures.today(network.parameters.time_zone))
    batches = _read_all(places, network, plan, today + dt.timedelta(days=1), result)
    if afresh:
        bronze.start_afresh(places, run, plan, batches)
    intake = take_in(as_is(places), as_is(network), run, as_is(batches), as_is(plan.withdrawn))
    _report("stored", {"rows": intake.rows_read, "held": intake.rows_quarantined})
    made = build(as_is(stack), as_is(places), as_is(network), run, afresh)
    _report("built", {})
    results = check(as_is(made))
    decision = gates.decide(results)
    building.finish(made, run, results)
    history.record(places, made, run, results)
    result.summary = figures.summary(made.con)
    result.held_back_by, result.warnings = decision.held_back_by, decision.warnings
    _report("checked", {"checks": len(results), "held_back_by": decision.held_back_by})
    if decision.publish:
        publish(as_is(made), as_is(places))
        result.published = True
    result.finished_at = _now()
    create_markdown_artifact(key="nightly", markdown=present.run_markdown(result), description=result.as_of)
    if not decision.publish:
        return Failed(message=f"held back by {', '.join(decision.held_back_by)}")
    return Completed(message="published")


def _read_all(
    places: Places, network: Reference, plan: bronze.Plan, latest: dt.date, result: figures.RunResult
) -> list[reading.Batch]:
    """Read the branches concurrently; one that cannot be read is named, and the others go on."""
    folders = sorted(plan.files)
    size = max(1, math.ceil(len(folders) / MOST_READERS))
    groups = [folders[i : i + size] for i in range(0, len(folders), size)]
    futures = []
    for group in groups:
        shown = [reading.safe_path(folder, network) or "-" for folder in group]
        name = ", ".join(shown)
        reader = read_exports.with_options(name=f"read {name}"[:100], tags=shown)
        files = [file for folder in group for file in plan.files[folder]]
        given = (as_is(places), as_is(network), as_is(files), as_is(plan.known), name, latest)
        futures.append((shown, reader.submit(*given)))
    wait([future for _, future in futures])
    batches = []
    for shown, future in futures:
        if future.state.is_completed():
            batches.append(future.result())
        else:
            result.failed_branches += shown
            _report("unreadable", {"folders": ", ".join(shown)})
    return batches
