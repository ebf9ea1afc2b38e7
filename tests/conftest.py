"""What all tests share."""

from __future__ import annotations

import atexit
import os
import sys


def _hush() -> None:
    """DuckDB's bindings fill standard error at exit with references that Great Expectations' imports still hold."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_hush)
