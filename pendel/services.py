"""What a machine needs to run every night by itself: systemd units on Linux, scheduled tasks on Windows.

Only texts are made here, of this machine's own paths; `pendel install-service` shows them, and writes them on Linux.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pendel.places import PROJECT, Places, UserError
from pendel.words import asked_language

PORT = 4200
"""Where Prefect's server listens, on the loopback address."""

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
}
"""Settings under which nothing is asked of other machines."""


@dataclass(frozen=True)
class Plan:
    """What is to be written and run: files by path, commands, and where secrets may stand."""

    files: dict[Path, str]
    commands: list[list[str]]
    secrets: Path


def linux(places: Places, at: str, port: int = PORT, root: bool | None = None) -> Plan:
    """The systemd units for these folders: of the user, or of the machine when `root` (who runs this) is.

    Three: Prefect's server, the schedule, and the watchdog, which looks every hour and needs neither of them.
    """
    root = os.geteuid() == 0 if root is None else root
    configured = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folder = Path("/etc/systemd/system") if root else configured / "systemd" / "user"
    secrets = Path("/etc/pendel/secrets.env") if root else configured / "pendel" / "secrets.env"
    python, home = sys.executable, places.prefect
    settings = QUIET | {
        "PREFECT_HOME": str(home),
        "PENDEL_LANG": asked_language(),
        **{f"PENDEL_{name.upper()}": str(getattr(places, name)) for name in ("raw", "reference", "warehouse")},
    }
    common = [
        f"WorkingDirectory={_path(PROJECT)}",
        f"EnvironmentFile=-{_path(secrets)}",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in settings.items()),
        *([f"User={os.environ.get('SUDO_USER') or 'root'}"] if root else []),
        "NoNewPrivileges=yes",
    ]
    wanted = "multi-user.target" if root else "default.target"
    api = f"http://127.0.0.1:{port}/api"

    def unit(description: str, service: Sequence[str], more: Sequence[str] = (), install: str | None = wanted) -> str:
        parts = ["[Unit]", f"Description={description}", *more, "", "[Service]", *service, *common]
        return "\n".join(parts + (["", "[Install]", f"WantedBy={install}"] if install else [])) + "\n"

    def run(*words: str) -> str:
        return "ExecStart=" + " ".join(_quoted(word) for word in (python, "-m", *words))

    files = {
        "pendel-server.service": unit(
            "pendel: Prefect's server, on this machine alone",
            [run("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)), "Restart=always",
             "RestartSec=10"],
        ),
        "pendel-serve.service": unit(
            "pendel: the nightly schedule",
            [run("pendel.cli", "serve", "--at", at), f"Environment={_quoted(f'PREFECT_API_URL={api}')}",
             "Restart=always", "RestartSec=30"],
            ["Requires=pendel-server.service", "After=pendel-server.service"],
        ),
        "pendel-watch.service": unit(
            "pendel: did the night run?", ["Type=oneshot", run("pendel.cli", "watch"), "SuccessExitStatus=1"],
            install=None,
        ),
        "pendel-watch.timer": "[Unit]\nDescription=pendel: look every hour whether the night ran\n\n"
        "[Timer]\nOnCalendar=*-*-* *:45:00\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
    }  # fmt: skip
    control = ["systemctl"] if root else ["systemctl", "--user"]
    commands = [
        [*control, "daemon-reload"],
        [*control, "enable", "--now", "pendel-server.service", "pendel-serve.service", "pendel-watch.timer"],
        # what ran already goes on as it was, at the old time: with the server the schedule begins anew too
        [*control, "restart", "pendel-server.service", "pendel-watch.timer"],
    ]
    if not root:  # so that it runs without anybody logged in
        commands.append(["loginctl", "enable-linger"])
    return Plan({folder / name: text for name, text in files.items()}, commands, secrets)


def _quoted(word: str) -> str:
    """A word on a line of a unit: quotes, backslashes, % and $ have a meaning there."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", escaped):
        return escaped
    return f'"{escaped.replace("$", "$$") if not re.match(r"[A-Z_]+=", word) else escaped}"'


def _path(path: Path) -> str:
    return str(path).replace("%", "%%")


def windows(places: Places, at: str) -> str:
    """The PowerShell lines that plan the night and the watchdog in the Task Scheduler.

    The Task Scheduler itself keeps the time there: it wakes the machine, and catches up a night that was missed.
    """
    folders = [
        word for name in ("raw", "reference", "warehouse") for word in (f"--{name}", f'"{getattr(places, name)}"')
    ]

    def task(name: str, arguments: Sequence[str], trigger: str, settings: str) -> list[str]:
        given = _powershell(" ".join(["-m", "pendel.cli", *arguments, "--lang", asked_language(), *folders]))
        return [
            f"$action = New-ScheduledTaskAction -Execute {_powershell(sys.executable)} -Argument {given} "
            f"-WorkingDirectory {_powershell(str(PROJECT))}",
            f"$trigger = {trigger}",
            f"$settings = New-ScheduledTaskSettingsSet -StartWhenAvailable -MultipleInstances IgnoreNew {settings}",
            f"Register-ScheduledTask -TaskName {_powershell(name)} -Action $action -Trigger $trigger "
            "-Settings $settings -Force",
        ]

    lines = task(
        "pendel nightly", ["nightly"], f"New-ScheduledTaskTrigger -Daily -At {at}",
        "-WakeToRun -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -ExecutionTimeLimit (New-TimeSpan -Hours 6)",
    )  # fmt: skip
    lines += task(
        "pendel watch", ["watch"],
        "New-ScheduledTaskTrigger -Once -At 00:45 -RepetitionInterval (New-TimeSpan -Hours 1)",
        "-AllowStartIfOnBatteries -ExecutionTimeLimit (New-TimeSpan -Minutes 15)",
    )  # fmt: skip
    return "\n".join(lines) + "\n"


def _powershell(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def apply(plan: Plan) -> None:
    """Write the files and run the commands.

    Raises UserError when something cannot be written, or a command fails, with what it said.
    """
    try:
        for path, text in plan.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            "{folder} cannot be written. Is there room, and is it permitted? (the computer says: {error})",
            folder=path.parent,
            error=error.strerror,
        ) from None
    for command in plan.commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
        except FileNotFoundError:
            raise UserError(
                "{command} is not there: this machine has no systemd. Plan `pendel nightly` and `pendel watch` with "
                "what it has, such as cron.",
                command=command[0],
            ) from None
        if done.returncode:
            raise UserError(
                "`{command}` failed. The files are written; run that command by hand. (systemd says: {error})",
                command=" ".join(command),
                error=done.stderr.strip() or done.returncode,
            )
