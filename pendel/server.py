"""A server of Prefect's for `pendel serve`, in a process of its own: `flows/server.py`, which is started here.

Prefect's temporary server does not do: it leaves out the service that makes runs of schedules.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager

from pendel.places import UserError

HOST = "127.0.0.1"
PATIENCE = 180
"""Seconds that a server may take to start: the first time it makes its database."""


def answers(url: str) -> bool:
    """Whether a Prefect server is there."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def wait_for(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the server answers. Raises UserError when it does not, or ended."""
    for _ in range(PATIENCE * 2):
        if answers(url):
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.5)
    raise UserError("Prefect's server does not answer at {url}. Is it started, and is the address right?", url=url)


@contextmanager
def own(port: int) -> Iterator[str]:
    """Start a server and give the address of its interface; it ends with the block, or with this process.

    Raises UserError when the port is in use.
    """
    with closing(socket.socket()) as probe:
        if os.name != "nt":  # as the server itself does: a port that was just left is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise UserError(
                "Port {port} of this machine is in use; perhaps `pendel serve` is running already. Stop that, or "
                "choose another with --port.",
                port=port,
            ) from None
    settings = {"PREFECT_SERVER_API_HOST": HOST, "PREFECT_SERVER_API_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.server", str(port)], stdin=subprocess.PIPE, env=os.environ | settings
    )
    try:
        url = f"http://{HOST}:{port}/api"
        wait_for(url, process)
        yield url
    finally:
        assert process.stdin is not None
        process.stdin.close()  # which it takes for the end
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
