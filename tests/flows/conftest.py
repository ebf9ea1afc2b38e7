"""Prefect for the tests of the flow: a real server of their own, which takes some ten seconds to start."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

# The harness keeps its database apart but not its home; both are set before Prefect is imported.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="pendel-prefect-")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["DO_NOT_TRACK"] = "1"


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield
