"""Every command of the README works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.strip()
]
PENDEL = [command for command in COMMANDS if command.startswith(".venv/bin/pendel ")]


def test_make_targets_are_run_by_ci() -> None:
    """`make demo` and `make test` are what .ci/run calls; the rest of the commands are run below."""
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    others = [command for command in COMMANDS if command not in PENDEL]
    assert others == ["make demo", "make test"]
    assert all(re.search(rf"^{command}$", script, re.M) for command in others)


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands in their order, on the exports of the year that they ask for; `/tmp` is the test's own."""
    program = [sys.executable, "-m", "pendel.cli"]
    monkeypatch.setenv("PENDEL_LANG", "nl")
    monkeypatch.setenv("PENDEL_HOME", str(tmp_path))
    simulated = ["simulate", "--year", "2023", "--out", str(tmp_path / "data" / "raw")]
    subprocess.run([*program, *simulated], check=True, capture_output=True)
    assert len(PENDEL) >= 8
    for command in PENDEL:
        arguments = shlex.split(command.replace("/tmp/", f"{tmp_path}/"))[1:]
        done = subprocess.run([*program, *arguments], capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert done.stdout or "simulate" in command, command
        assert "Traceback" not in done.stderr, command
    figures = subprocess.run([*program, "kpi"], capture_output=True, text=True, encoding="utf-8").stdout
    for line in re.findall(r"```\nKerncijfers van 2023\n.*?```", README, re.S)[0].splitlines()[4:-1]:
        shown = re.sub(r"\s+", " ", line.strip())
        assert shown in re.sub(r"[\s\u00a0]+", " ", figures), f"the README's picture is no longer what is shown: {line}"
