"""Declared corrections: what they change, what they leave, and that they fail when they no longer apply."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pendel import building, contracts, figures, present
from pendel.contracts import Correction
from pendel.places import Places, UserError
from pendel.words import set_language
from tests.pipeline import night, simulated
from tests.test_simulate import YEAR, write_reference

AS_OF = dt.date(YEAR + 1, 1, 5)
Declare = Callable[..., None]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("year")
    return simulated(folder, write_reference(folder / "reference"), YEAR, AS_OF)


@pytest.fixture
def places(year: Places, tmp_path: Path) -> Places:
    shutil.copytree(year.warehouse, tmp_path / "warehouse")
    return Places(year.raw, year.reference, tmp_path / "warehouse")


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Declare corrections as the file would."""

    def declare(*given: Correction) -> None:
        monkeypatch.setattr(building, "corrections", lambda: given)
        building.models.cache_clear()

    yield declare
    monkeypatch.undo()
    building.models.cache_clear()


def rows(places: Places, sql: str) -> list[tuple[Any, ...]]:
    with figures.published(places) as con:
        return con.execute(sql).fetchall()


def a_delivery(places: Places) -> dict[str, Any]:
    """A delivery of June, and the file and row that it is counted by."""
    ((number, pickup, file, row, received),) = rows(
        places,
        "SELECT d.reservation_id, d.pickup_branch, f.file, d.pickup_row, d.received_at FROM marts.fct_delivery AS d "
        "JOIN quality.file AS f ON d.pickup_file_id = f.file_id WHERE d.month = 6 AND d.is_between_organisations "
        "AND (SELECT count(*) FROM marts.fct_leg AS l WHERE l.reservation_id = d.reservation_id) = 1 "
        "ORDER BY d.reservation_id LIMIT 1",
    )
    return {"reservation_id": number, "branch": pickup, "file": file, "row": row, "received_at": received}


def deliveries(places: Places, month: int = 0) -> int:
    ((value,),) = rows(
        places,
        f"SELECT value FROM kpi.value WHERE kpi = 'deliveries_total' AND year = {YEAR} AND month = {month} "
        "AND dimension = 'total'",
    )
    return int(value)


def test_a_row_that_is_dropped_does_not_count(places: Places, declare: Declare) -> None:
    before, found = deliveries(places), a_delivery(places)
    match = {name: found[name] for name in ("branch", "file", "row")}
    declare(Correction(1, match, "drop", "counted at the wrong desk", 1))
    summary = night(places, AS_OF, checked=True)
    assert deliveries(places) == before - 1
    assert rows(places, "SELECT file, row, rule FROM quality.quarantined_row WHERE NOT is_superseded") == [
        (found["file"], found["row"], "dropped_by_correction")
    ]
    assert summary["rows"]["quarantined"] == 1, "rows are conserved"
    assert {branch["rows_held"] for branch in summary["branches"]} == {0}, "and nobody needs to do anything"
    assert summary["corrections"] == [
        {"correction": 1, "action": "drop", "reason": "counted at the wrong desk", "expected_rows": 1,
         "corrected_rows": 1}
    ]  # fmt: skip
    set_language("nl")
    assert present._corrections(summary) == ["correctie 1: 1 rij; counted at the wrong desk"]
    # on a night that brings nothing it stays so; without the correction all is as it was
    night(places, AS_OF, checked=True)
    assert deliveries(places) == before - 1
    declare()
    night(places, AS_OF, checked=True)
    assert deliveries(places) == before


def test_a_value_that_is_overridden(places: Places, declare: Declare) -> None:
    june, july, found = deliveries(places, 6), deliveries(places, 7), a_delivery(places)
    moved = found["received_at"] + dt.timedelta(days=30)
    match = {name: found[name] for name in ("branch", "reservation_id", "received_at")}
    declare(Correction(1, match, "override", "the wrong month", 1, {"received_at": f"{moved:%Y-%m-%d %H:%M:%S}"}))
    night(places, AS_OF, checked=True)
    assert (deliveries(places, 6), deliveries(places, 7)) == (june - 1, july + 1)
    ((received, days),) = rows(
        places,
        "SELECT received_at, transit_calendar_days FROM marts.fct_delivery "
        f"WHERE reservation_id = '{found['reservation_id']}'",
    )
    assert received == moved
    assert days > 28, "durations follow"
    assert rows(places, "SELECT row, correction FROM quality.corrected_row") == [(found["row"], 1)]


def test_the_rules_look_at_the_corrected_row(places: Places, declare: Declare) -> None:
    before, found = deliveries(places), a_delivery(places)
    match = {"file": found["file"], "row": found["row"]}
    wrong = Correction(1, match, "override", "a slip", 1, {"supplying_branch": "no such code"})
    declare(wrong)
    night(places, AS_OF)
    assert deliveries(places) == before - 1
    assert [rule for (rule,) in rows(places, "SELECT rule FROM quality.quarantined_row")] == ["unknown_branch"]


def test_the_first_correction_that_matches_applies(places: Places, declare: Declare) -> None:
    before, found = deliveries(places), a_delivery(places)
    match = {"file": found["file"], "row": found["row"]}
    second = Correction(2, match, "drop", "never reached", 1)
    declare(Correction(1, match, "override", "first", 1, {"material_type": "DVD"}), second)
    summary = night(places, AS_OF)
    assert deliveries(places) == before
    assert [item["corrected_rows"] for item in summary["corrections"]] == [1, 0]


def test_a_correction_that_no_longer_matches_holds_the_publication_back(places: Places, declare: Declare) -> None:
    declare(Correction(1, {"reservation_id": "2024-01-01.999999"}, "drop", "gone", 1))
    with pytest.raises(AssertionError, match="correction_applies"):
        night(places, AS_OF, checked=True)


def test_what_ships_holds_no_correction() -> None:
    assert contracts.corrections() == ()


SOUND = "{match: {branch: a, row: 3}, action: override, set: {received_at: '2023-05-08 10:00'}, reason: b, expect: 1}"


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (SOUND, None),
        (SOUND.replace("expect: 1", "expect: 0"), "expect"),
        (SOUND.replace(", reason: b", ""), "reason"),
        (SOUND.replace("match: {branch: a, row: 3}", "match: {}"), "match"),
        (SOUND.replace("branch: a", "color: a"), "color"),
        (SOUND.replace("action: override", "action: forget"), "action"),
        (SOUND.replace("action: override", "action: drop"), "action"),
        (SOUND.replace("set: {received_at: '2023-05-08 10:00'}, ", ""), "action"),
        (SOUND.replace("2023-05-08", "8-5-2023"), "received_at"),
        (SOUND.replace("received_at", "row"), "row"),
        (SOUND.replace("expect: 1", "expect: 1, when: now"), "when"),
        ("just words", "just words"),
    ],
)
def test_how_a_correction_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, wrong: str | None
) -> None:
    (tmp_path / "corrections.yaml").write_text(f"corrections:\n- {spec}\n", encoding="utf-8")
    columns = contracts.columns()
    monkeypatch.setattr(contracts, "EXPECTATIONS", tmp_path)
    monkeypatch.setattr(contracts, "columns", lambda: columns)
    read = contracts.corrections.__wrapped__
    if wrong is None:
        (found,) = read()
        assert (found.number, found.match, found.expect) == (1, {"branch": "a", "row": 3}, 1)
    else:
        with pytest.raises(UserError, match=rf"corrections\.yaml, correction 1: {wrong} cannot be used"):
            read()
