"""Mistakes in the reference data are told at once: what, where, and what to do."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pendel import figures
from pendel.places import UserError
from pendel.reference import Parameters, public_holidays, read_reference
from tests.pipeline import night, places_in
from tests.test_simulate import BRANCHES, ORGANISATIONS, write_reference

HEADER = BRANCHES.splitlines()[0]
TWO = "aa,A,X,,1,fmb_csv,,2024-01-31,,,,\nbb,B,X,,2,fmb_csv,,,,,,\n"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("branches.csv", HEADER.replace("ils_code,", "") + "\n", "missing column: ils_code"),
        ("branches.csv", BRANCHES.replace(",", ";"), "semicolons"),
        ("branches.csv", f"{HEADER}\naa,A,X,,,fmb_csv,,,,,,\n", "line 2: ils_code is empty"),
        ("branches.csv", f"{HEADER}\naa,A,Q,,1,fmb_csv,,,,,,\n", "organisation Q, which is not in organisations.csv"),
        (
            "branches.csv",
            f"{HEADER}\naa,A,X,,1,fmb_csv,30-03-2024,,,,,\n",
            "line 2: opened_on cannot be read: 30-03-2024. Dates",
        ),
        ("branches.csv", f"{HEADER}\naa,A,X,,1,fmb_csv,,,52N,,,\n", "line 2: latitude cannot be read: 52N. Dates"),
        ("branches.csv", f"{HEADER}\nnetwork,A,X,,1,fmb_csv,,,,,,\n", "cannot be called 'network'"),
        ("branches.csv", f"{HEADER}\na,A,X,,1,fmb_csv,,,,,,\na,A,Y,,2,fmb_csv,,,,,,\n", "under two organisations"),
        ("branches.csv", f"{HEADER}\naa,A,X,,1,fmb,,,,,,\n", "line 2: there is no export format fmb. .*fmb_csv"),
        ("branches.csv", f"{HEADER}\naa,A,X,,1,excel,2024-02-01,2024-01-31,,,,\n", "line 2: .* closes before it opens"),
        ("published_figures.csv", "year,kpi,value,source\n2023,deliveries_total,1.234,x\n", "line 2: write the year"),
        ("parameters.yaml", "transit_norm: 2\n", "unknown parameter: transit_norm"),
        ("parameters.yaml", "a: 1\nb: [\n", "no readable YAML: look at line 3"),
        ("parameters.yaml", "time_zone: Nowhere/Land\n", "no time zone Nowhere/Land"),
        ("parameters.yaml", "time_zone: 2\n", "no time zone 2"),
        ("parameters.yaml", "- transit_norm: 2\n", "expected names with values"),
        ("parameters.yaml", "2: 2\n", "unknown parameter: 2"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, file: str, content: str, message: str) -> None:
    reference = write_reference(tmp_path)
    (reference / file).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as raised:
        read_reference(reference)
    assert file in str(raised.value)


def test_periods_that_follow_each_other(tmp_path: Path) -> None:
    reference = write_reference(tmp_path)
    later = "aa,A,X,,1,excel,2024-02-01,2024-02-01,,,,\naa,A,X,,1,excel,2024-02-02,,,,,\n"
    (reference / "branches.csv").write_text(f"{HEADER}\n{TWO}{later}", encoding="utf-8")
    assert [period.branch for period in read_reference(reference).branches] == ["aa", "bb", "aa", "aa"]


def test_another_encoding_is_told(tmp_path: Path) -> None:
    reference = write_reference(tmp_path)
    (reference / "organisations.csv").write_text(ORGANISATIONS, encoding="utf-16")
    with pytest.raises(UserError, match="UTF-8"):
        read_reference(reference)


def test_parameters_and_published_figures_may_be_left_out(tmp_path: Path) -> None:
    reference = write_reference(tmp_path)
    (reference / "published_figures.csv").unlink()
    found = read_reference(reference)
    assert (found.published, found.parameters) == ((), Parameters())


def test_holidays_of_2023() -> None:
    """254 weekdays without a public holiday: Good Friday is a working day."""
    off = public_holidays(Parameters(), [2023])
    days = [dt.date(2023, 1, 1) + dt.timedelta(days=i) for i in range(365)]
    assert sum(day.isoweekday() <= 5 and day not in off for day in days) == 254
    assert off[dt.date(2023, 4, 27)] == "Koningsdag"


def test_nothing_delivered_is_no_all_clear(tmp_path: Path) -> None:
    places = places_in(tmp_path, write_reference(tmp_path / "reference"))
    summary = night(places, dt.date(2024, 1, 1))
    run = figures.RunResult("r", "2024-01-01T03:15:00Z", "2024-01-01", published=True, summary=summary)
    assert not figures.arrived(summary)
    assert figures.needs_attention(run, summary)
