"""What the command line prints of a tiny network, to the letter: a change here is a change for whoever reads it.

After an intended change: `PENDEL_WRITE_GOLDEN=1 pytest tests/test_golden.py`, and read the difference.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pendel import figures, present
from pendel.places import Places
from pendel.words import set_language
from tests import othernetwork
from tests.pipeline import night

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """The network with every trap, taken in and published."""
    folder = tmp_path_factory.mktemp("golden")
    planted = othernetwork.build(folder)
    found = Places.of(raw=planted.raw, reference=planted.reference, warehouse=folder / "warehouse")
    night(found, dt.date(2024, 2, 1))
    return found


def compare(name: str, found: Any) -> None:
    text = json.dumps(found, indent=1, ensure_ascii=False, default=str) + "\n"
    path = GOLDEN / name
    if os.environ.get("PENDEL_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("by", ["total", "organisation"])
def test_key_figures(places: Places, by: str) -> None:
    found = figures.key_figures(places, 2023, None, by)
    del found["generated_at"]
    compare(f"kpi-2023-{by}.json", found)


def test_quarantine(places: Places) -> None:
    set_language("nl")
    held = [
        [item["branch"], item["file"], item["row"], item["rule"], present.held_message(item)]
        for item in figures.quarantine(places)
    ]
    compare("quarantine.json", held)


def test_sums(places: Places) -> None:
    with figures.published(places) as con:
        compare("status.json", figures.summary(con))
