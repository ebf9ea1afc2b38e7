"""Prefect's server for `pendel serve`: on this machine's loopback address, and gone when its parent is."""

from __future__ import annotations

import os
import signal
import sys
import threading

from pendel.server import HOST


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(port: int) -> None:
    """Serve until the standard input is closed."""
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app", factory=True, host=HOST, port=port, log_level="error", lifespan="on",
        timeout_graceful_shutdown=5,
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
