"""Every night by itself, with real servers: `pendel serve`, a schedule that fires, `prefect deploy`, units."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pendel import figures, nights, services
from pendel.figures import RunResult
from pendel.places import Places, UserError
from tests.mailserver import MailServer, mail_server, text_of
from tests.test_cli import at, network, pendel  # noqa: F401
from tests.test_notify import settings

PROJECT = Path(__file__).resolve().parent.parent
PATIENCE = 240
"""Seconds; a machine that does other things too is slow, and nothing here depends on it being fast."""


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as found:
        yield found


@pytest.fixture
def places(network: Places, server: MailServer, tmp_path: Path) -> Places:  # noqa: F811
    """Exports of a small network, nothing run yet, somebody to be told."""
    shutil.copytree(network.raw, tmp_path / "raw")
    shutil.copytree(network.reference, tmp_path / "reference")
    settings(tmp_path / "reference", server.port)
    return Places.of(raw=tmp_path / "raw", reference=tmp_path / "reference", warehouse=tmp_path / "warehouse")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(places: Places, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENDEL_", "PREFECT_"))}
    named = {f"PENDEL_{name.upper()}": str(getattr(places, name)) for name in ("raw", "reference", "warehouse")}
    path = os.pathsep.join([str(PROJECT), kept.get("PYTHONPATH", "")])
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PENDEL_LANG": "nl"}
    return kept | quiet | named | {"PYTHONPATH": path, "PYTHONUTF8": "1"} | more


@contextmanager
def running(command: list[str], places: Places, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to stop at the end, and does so without a traceback."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment(places), cwd=PROJECT, stdout=out, stderr=out)
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, log.read_text(encoding="utf-8")
            assert "Traceback" not in log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()


def serve(places: Places, port: int, at: dt.time) -> list[str]:
    return [sys.executable, "-m", "pendel.cli", "serve", "--port", str(port), "--at", f"{at:%H:%M}"]


def wait_until(what: str, so: Callable[[], Any], process: subprocess.Popen[bytes], log: Path) -> Any:
    """What `so` answers, once that is something."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := so():
            return found
        assert process.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.2)
    raise AssertionError(f"not {what}: {log.read_text(encoding='utf-8')}")


def ask(port: int, path: str, question: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{path}", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def finished(places: Places) -> list[RunResult]:
    return [run for run in figures.runs(places) if run.finished_at]


def family(pid: int) -> dict[str, str]:
    """A process and those that descend of it: pid → command line."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[stat.parent.name] = stat.read_text().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
    found = {str(pid)}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in found}


def runs(pid: str) -> bool:
    """Whether a process is there, and no mere entry that nobody has taken note of yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def listening(pids: set[str]) -> set[str]:
    """The addresses on which these processes listen, as the kernel writes them."""
    sockets = {os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").glob("*") if link.is_symlink()}
    tables = [table for name in ("tcp", "tcp6") if (table := Path(f"/proc/net/{name}")).exists()]
    lines = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for processes and sockets in /proc")
def test_a_missed_night_is_caught_up_and_a_killed_one_run_again(
    places: Places, server: MailServer, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "serve.log"
    zone = ZoneInfo("Europe/Amsterdam")
    # whatever time it is now: hours ago, since in its first minutes a night is not yet missed
    hour = (dt.datetime.now(zone) - dt.timedelta(hours=5)).time().replace(minute=15, second=0, microsecond=0)
    with running(serve(places, port, hour), places, log) as process:
        (begun,) = wait_until("begun", lambda: list(figures.runs(places)), process, log)
        assert begun.finished_at is None
        members = family(process.pid)
        assert listening(set(members)) == {"0100007F"}
        held = json.loads((places.warehouse / "bronze.lock.json").read_text())
        os.kill(held["pid"], signal.SIGKILL)
        wait_until("told", lambda: server.mails, process, log)
    assert server.subjects() == ["pendel: de verwerking is afgebroken"]
    assert "De verwerking is afgekapt" in text_of(server.mails[0])
    until = time.monotonic() + 30  # what Python's multiprocessing leaves behind sees only then that it is alone
    while (left := {pid: command for pid, command in members.items() if runs(pid)}) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == {}

    with running(serve(places, port, hour), places, log) as process:
        (done,) = wait_until("done", lambda: finished(places), process, log)
        today = dt.datetime.now(zone).date()
        assert (done.published, done.error) == (True, None)
        assert 0 <= (today - dt.date.fromisoformat(done.as_of)).days <= 1
        wait_until("told", lambda: len(server.mails) == 2, process, log)
        (deployment,) = ask(port, "deployments/filter", {})
        wait_until("planned", lambda: ask(port, "flow_runs/filter", PLANNED), process, log)
        (caught_up,) = wait_until("ended", lambda: ask(port, "flow_runs/filter", COMPLETED), process, log)
        planned = ask(port, "flow_runs/filter", PLANNED)
    assert len(list(figures.runs(places))) == 2
    assert deployment["entrypoint"] == "flows.nightly.nightly"
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert deployment["global_concurrency_limit"]["limit"] == 1
    (schedule,) = deployment["schedules"]
    assert schedule["slug"] == "nightly"
    assert schedule["schedule"] | {"day_or": True} == {
        "cron": f"15 {hour.hour} * * *", "timezone": "Europe/Amsterdam", "day_or": True
    }  # fmt: skip
    assert caught_up["name"] == f"nightly {done.as_of}"
    assert {"pendel", "caught-up"} <= set(caught_up["tags"])
    moments = {dt.datetime.fromisoformat(run["expected_start_time"]).astimezone(zone).time() for run in planned}
    assert hour in moments
    assert server.subjects()[1].endswith("vestigingen vragen aandacht")


COMPLETED = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
PLANNED = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}

KEEP = """
    import datetime as dt, os
    from pendel.cli import _prefect_environment
    from pendel.places import Places
    from pendel.server import own
    places = Places.of(raw="{raw}", reference="{reference}", warehouse="{warehouse}")
    os.environ.update(_prefect_environment(places))
    places.prefect.mkdir(parents=True)
    with own({port}) as url:
        os.environ["PREFECT_API_URL"] = url
        from prefect.schedules import Interval
        from flows.serving import keep
        every = Interval(dt.timedelta(seconds=15), slug="nightly")
        keep(places, dt.time(4, 15), "Europe/Amsterdam", [every], seconds=1)
"""


def test_a_schedule_fires_and_deploying_works(places: Places, tmp_path: Path) -> None:
    """On a schedule of seconds; then `prefect deploy` puts that of the nights in its place, for a worker to run."""
    port, log = free_port(), tmp_path / "keep.log"
    script = textwrap.dedent(KEEP).replace("{port}", str(port))
    for name in ("raw", "reference", "warehouse"):
        script = script.replace(f'"{{{name}}}"', f"__import__('pathlib').Path({str(getattr(places, name))!r})")
    with running([sys.executable, "-c", script], places, log) as process:
        wait_until("done", lambda: finished(places), process, log)
        ended = wait_until("ended", lambda: ask(port, "flow_runs/filter", COMPLETED), process, log)
        assert [run["auto_scheduled"] for run in ended] == [True] * len(ended)
        first = min(ended, key=lambda run: run["start_time"])
        assert first["name"] == f"nightly {finished(places)[-1].as_of}"
        assert "pendel" in first["tags"]
        assert "as_of" not in first["parameters"]

        url = f"http://127.0.0.1:{port}/api"
        told = environment(places, PREFECT_API_URL=url, PREFECT_HOME=str(tmp_path / "worker"))
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]

        def worker_ran() -> bool:
            """A run that comes while one of the old schedule is at work is cancelled: it is asked for again."""
            for command in (
                ["deployment", "run", "nightly/every-night"],
                ["worker", "start", "-p", "pendel", "--run-once"],
            ):
                told_to(command)
            return any(run["work_pool_name"] == "pendel" for run in ask(port, "flow_runs/filter", COMPLETED))

        def told_to(command: list[str]) -> None:
            done = subprocess.run(
                [*prefect, *command], env=told, cwd=PROJECT, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert done.returncode == 0, done.stdout + done.stderr

        told_to(["work-pool", "create", "pendel", "--type", "process"])
        told_to(["deploy", "--all"])
        wait_until("run by a worker", worker_ran, process, log)
        (deployment,) = ask(port, "deployments/filter", {})
    assert deployment["work_pool_name"] == "pendel"
    assert deployment["entrypoint"] == "flows.nightly:nightly"
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    (schedule,) = deployment["schedules"]
    assert schedule["slug"] == "nightly"
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("15 4 * * *", "Europe/Amsterdam")
    changed = subprocess.run(["git", "status", "--short", "prefect.yaml"], cwd=PROJECT, capture_output=True, text=True)
    assert ".prefect" not in changed.stdout


def test_a_port_in_use_is_said(places: Places, pendel: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for name in ("PREFECT_HOME", "PREFECT_LOGGING_LEVEL"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # what serve sets is put back
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = pendel("serve", "--port", taken.getsockname()[1], *at(places))
    assert done.code == 2
    assert "van deze machine is bezet" in done.err


# --- nights that were and were not ---


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2024-01-03T03:14:59", "2024-01-02T03:15"),
        ("2024-01-03T03:15:00", "2024-01-03T03:15"),
        ("2024-07-03T02:15:00", "2024-07-03T02:15"),
        ("2024-03-31T02:14:00", "2024-03-30T03:15"),
        ("2024-03-31T02:15:00", "2024-03-31T02:15"),
        ("2024-10-27T03:15:00", "2024-10-27T03:15"),
        ("2024-10-27T03:14:00", "2024-10-26T02:15"),
    ],
)
def test_when_a_night_was_due(now: str, due: str) -> None:
    """Also around the changes of the clock, which fall before 04:15."""
    found = nights.last_due(dt.datetime.fromisoformat(f"{now}+00:00"), dt.time(4, 15), "Europe/Amsterdam")
    assert found == dt.datetime.fromisoformat(f"{due}+00:00")


def test_which_night_is_missed_and_which_is_done(tmp_path: Path) -> None:
    places = Places.of(warehouse=tmp_path)
    due = dt.datetime(2024, 1, 3, 3, 15, tzinfo=dt.UTC)
    assert nights.is_missed(places, due)

    def ran(at: str, **told: Any) -> tuple[bool, bool]:
        shutil.rmtree(places.runs / at, ignore_errors=True)
        RunResult(at, f"2024-01-03T{at}Z", "2024-01-03", **told).write(places)
        return nights.is_missed(places, due), nights.is_done(places, due)

    well = {"finished_at": "2024-01-03T03:20:00Z"}
    assert ran("03:14:59", published=True, **well) == (True, False), "the night before"
    assert ran("03:15:00", published=True, **well) == (False, True)
    assert ran("03:15:00", published=False, held_back_by=["x"], **well) == (False, True)
    assert ran("03:15:00", error="UserError", **well) == (False, False), "told, and left to people"
    assert ran("03:15:00", error=nights.STOPPED, **well) == (True, False)
    assert ran("03:15:00") == (True, False), "killed"
    assert ran("03:30:00") == (False, False), "and killed again"


# --- units and tasks ---


def test_the_units_are_what_systemd_reads(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Places.of(raw=tmp_path / 'a "b" 50% $HOME', reference=places.reference, warehouse=tmp_path / "w")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    plan = services.linux(odd, "04:15", root=False)
    units = {path.name: text for path, text in plan.files.items()}
    assert {path.parent for path in plan.files} == {tmp_path / "config" / "systemd" / "user"}
    assert sorted(units) == [
        "pendel-serve.service", "pendel-server.service", "pendel-watch.service", "pendel-watch.timer"
    ]  # fmt: skip
    assert "--host 127.0.0.1 --port 4200" in units["pendel-server.service"]
    assert "Environment=PREFECT_API_URL=http://127.0.0.1:4200/api" in units["pendel-serve.service"]
    assert "serve" not in units["pendel-watch.service"], "the watchdog needs neither of the others"
    assert f"EnvironmentFile=-{tmp_path}/config/pendel/secrets.env" in units["pendel-serve.service"]
    for path, text in plan.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "--user", "--recursive-errors=no", "verify", *map(str, plan.files)],
            capture_output=True, text=True, env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip
        assert not re.search(r"pendel-\w+\.(service|timer):\d+", done.stderr), done.stderr


def test_install_service_shows_and_on_request_does(
    places: Places, tmp_path: Path, pendel: Any, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    """`systemctl` is one that writes down what it is asked: no machine is changed by a test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    shown = pendel("install-service", "--at", "05:30", *at(places))
    assert shown.code == 0
    assert "serve --at 05:30" in shown.out
    assert f"Environment=PENDEL_RAW={places.raw}" in shown.out
    assert "$ systemctl --user daemon-reload" in shown.out
    assert "Environment=PENDEL_LANG=nl" in shown.out
    assert "Environment=PENDEL_LANG=en" in pendel("install-service", "--lang", "en", *at(places)).out
    assert shown.err.startswith("Dit doet --apply: ")
    assert not (tmp_path / "config").exists(), "nothing was done"

    done = pendel("install-service", "--apply", *at(places))
    assert (done.code, "deze machine heeft geen systemd" in done.err) == (2, True)
    (tmp_path / "bin").mkdir()
    for name in ("systemctl", "loginctl"):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/asked"\n', encoding="utf-8")
        program.chmod(0o755)
    done = pendel("install-service", "--apply", *at(places))
    assert (done.code, done.err) == (0, "")
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now pendel-server.service pendel-serve.service pendel-watch.timer",
        "systemctl --user restart pendel-server.service pendel-watch.timer",
        "loginctl enable-linger",
    ]
    assert len(list((tmp_path / "config" / "systemd" / "user").iterdir())) == 4
    assert "Ongedaan maken: systemctl --user disable --now pendel-server.service" in done.out
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho geen bus >&2; exit 1\n", encoding="utf-8")
    done = pendel("install-service", "--apply", *at(places))
    assert done.code == 2
    assert done.err.startswith("`systemctl --user daemon-reload` is mislukt.")
    assert done.err.endswith("(systemd meldt: geen bus)\n")


def test_the_tasks_for_windows(places: Places, pendel: Any) -> None:  # noqa: F811
    done = pendel("install-service", "--system", "windows", *at(places))
    assert done.code == 0
    assert done.err.startswith("Plak deze regels in PowerShell")
    assert done.out.count("Register-ScheduledTask") == 2
    assert "-Daily -At 04:15" in done.out
    assert "-StartWhenAvailable -MultipleInstances IgnoreNew -WakeToRun" in done.out
    assert f'-m pendel.cli nightly --lang nl --raw "{places.raw}"' in done.out
    assert "--lang en" in pendel("install-service", "--system", "windows", "--lang", "en", *at(places)).out
    assert pendel("install-service", "--system", "windows", "--apply", *at(places)).code == 2
    quoted = services.windows(Places.of(raw=Path("/o'brien")), "04:15")
    assert "/o''brien" in quoted
    assert quoted.count("'") % 2 == 0


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from pendel import server as prefect_server

    monkeypatch.setattr(prefect_server, "PATIENCE", 1)
    with pytest.raises(UserError, match="does not answer"):
        prefect_server.wait_for(f"http://127.0.0.1:{free_port()}/api")
