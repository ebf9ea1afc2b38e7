"""Figures with a memory: manifests, what changed between two runs, and years that are closed."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import bronze, building, figures, history
from pendel.places import Places, UserError
from pendel.reference import Reference, read_reference
from tests.pipeline import night, places_in, simulated, spied_on_databases
from tests.test_models import PLAIN, File, Row, Warehouse, World, day, deliveries
from tests.test_simulate import YEAR, write_reference

AS_OF = dt.date(YEAR + 1, 1, 5)
HEADER = (
    "Reserveringsnummer;Exemplaarnummer;Leverende vestiging;Afhaalvestiging;Status;Geplaatst op;Verzonden op;"
    "Ontvangen op;Gewijzigd op\n"
)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A year of a small network, taken in and published."""
    folder = tmp_path_factory.mktemp("year")
    return simulated(folder, write_reference(folder / "reference"), YEAR, AS_OF)


@pytest.fixture
def places(year: Places, tmp_path: Path) -> Places:
    """The same in a folder of its own."""
    for name in ("raw", "reference", "warehouse"):
        shutil.copytree(year.raw.parent / name, tmp_path / name)
    return places_in(tmp_path, tmp_path / "reference")


def network(places: Places) -> Reference:
    return read_reference(places.reference)


def one(places: Places, sql: str) -> object:
    with figures.published(places) as con:
        row = con.execute(sql).fetchone()
    return row[0] if row else None


def deliver(places: Places, rows: list[str], branch: str, day: dt.date) -> str:
    """An export of an fmb_csv branch, newer than all others: its path below the raw folder."""
    code = next(p.ils_code for p in network(places).branches if p.branch == branch)
    name = f"{branch}/reserveringen_{code}_{day:%Y%m%d}.csv"
    (places.raw / name).write_text(HEADER + "\n".join(rows) + "\n", encoding="cp1252")
    return name


def a_receipt(places: Places, number: str) -> tuple[str, str]:
    """A new delivery received in the year, in an export of after it: the row, and its branch."""
    branches = {p.branch: p for p in network(places).branches}
    pickup = next(p for p in branches.values() if p.export_format == "fmb_csv" and p.closed_on is None)
    supplier = next(p for p in branches.values() if p.organisation != pickup.organisation and p.closed_on is None)
    day = f"15-12-{YEAR}"
    row = f"{number};123456;{supplier.ils_code};{pickup.ils_code};O;{day} 09:00;{day} 10:00;{day} 16:00;{day} 16:00"
    return row, pickup.branch


def test_a_run_leaves_its_manifest(places: Places) -> None:
    (run_id,) = history.runs(places)
    found = history.manifest(places, run_id[:12])
    assert found["run_id"] == run_id
    assert found["as_of"] == str(AS_OF)
    files = [path for path in places.raw.rglob("*") if path.is_file()]
    assert len(found["inputs"]) == len(files)
    known = {item["path_key"]: item for item in found["inputs"]}
    for path in files[:5]:
        item = known[bronze.path_key(path.relative_to(places.raw).as_posix())]
        assert item["size_bytes"] == path.stat().st_size
        assert item["verdict"] == "read"
    assert found["rows"]["kpi.value"] == one(places, "SELECT count(*) FROM kpi.value")
    assert found["rows"]["marts.fct_leg"] == one(places, "SELECT count(*) FROM marts.fct_leg")
    for name in ("sql/marts/fct_leg.sql", "expectations/rules.yaml", "reference/branches.csv", "pendel/reading.py",
                 "duckdb"):  # fmt: skip
        assert found["ingredients"][name]
    with duckdb.connect() as con:
        kept = con.execute(
            f"SELECT value FROM '{places.runs / run_id / 'figures.parquet'}' "
            f"WHERE kpi = 'deliveries_total' AND year = {YEAR} AND month = 0 AND dimension = 'total'"
        ).fetchall()
    total = f"SELECT value FROM kpi.value WHERE kpi = 'deliveries_total' AND year = {YEAR} AND month = 0"
    assert kept == [(one(places, f"{total} AND dimension = 'total'"),)]


def test_what_a_new_file_changed(places: Places) -> None:
    row, branch = a_receipt(places, "2024-12-15.900001")
    file = deliver(places, [row], branch, AS_OF)
    night(places, AS_OF + dt.timedelta(days=1))
    found = history.diff(places, network(places), None, None)
    assert found["rules"] == []
    assert [(f["file"], f["deliveries_appeared"], f["deliveries_vanished"]) for f in found["files"]] == [(file, 1, 0)]
    changed = {
        (f["kpi"], f["month"]): f["difference"]
        for f in found["figures"]
        if f["year"] == YEAR and f["dimension"] == "total"
    }
    assert changed["deliveries_total", 0] == 1
    assert changed["deliveries_total", 12] == 1
    assert changed["deliveries_between_organisations", 0] == 1
    assert ("deliveries_total", 11) not in changed
    # a corrected export of the same day takes it away again, and puts two others in its place
    (first, second) = history.runs(places)
    later = places.raw / branch / "again"
    later.mkdir()
    deliver(
        places, [a_receipt(places, "2024-12-15.900002")[0], a_receipt(places, "2024-12-15.900003")[0]], branch, AS_OF
    )
    corrected = later / Path(file).name
    (places.raw / file).rename(corrected)
    os.utime(corrected)
    night(places, AS_OF + dt.timedelta(days=1))
    found = history.diff(places, network(places), second, None)
    assert [(f["deliveries_appeared"], f["deliveries_vanished"]) for f in found["files"]] == [(2, 1)]
    whole = history.diff(places, network(places), first, history.runs(places)[-1])
    totals = {f["year"]: f["difference"] for f in whole["figures"] if (f["kpi"], f["month"]) == ("deliveries_total", 0)}
    assert totals[YEAR] == 2
    assert history.diff(places, network(places), history.runs(places)[-1], first) == whole, "in the order of time"
    assert [(f["deliveries_appeared"], f["deliveries_vanished"]) for f in whole["files"]] == [(2, 0), (0, 0)]


def test_what_a_changed_rule_changed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.reference / "parameters.yaml").write_text("transit_norm_transport_days: 1\n", encoding="utf-8")
    night(places, AS_OF)
    found = history.diff(places, network(places), None, None)
    assert found["rules"] == ["reference/parameters.yaml"]
    assert found["files"] == []
    assert {figure["kpi"] for figure in found["figures"]} == {"within_transit_norm_pct"}


def test_nothing_changed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    night(places, AS_OF)
    attached = spied_on_databases(monkeypatch)
    found = history.diff(places, network(places), None, None)
    assert (found["figures"], found["rules"], found["files"]) == ([], [], [])
    assert attached.count("reference") == 2
    assert "store" not in attached, "while it is computed, a night can write"


def test_a_run_that_is_none(places: Places) -> None:
    with pytest.raises(UserError, match=r"There are no two runs"):
        history.diff(places, network(places), None, None)
    with pytest.raises(UserError, match=r"1999 is no run.*" + history.runs(places)[0]):
        history.diff(places, network(places), "1999", history.runs(places)[0])


# ---------------------------------------------------------------------------------------------- years that are closed


def test_a_closed_year_keeps_its_figures(places: Places) -> None:
    total = f"SELECT value FROM kpi.value WHERE kpi = 'deliveries_total' AND year = {YEAR} AND month = 0 "
    before = one(places, total + "AND dimension = 'total'")
    assert isinstance(before, float)
    closing = history.close_year(places, network(places), YEAR, "the coordinator")
    assert closing["run_id"] == history.runs(places)[0]
    night(places, AS_OF, checked=True)
    assert one(places, "SELECT count(*) FROM kpi.restatement") == 0
    with figures.published(places) as con:
        closed = figures.summary(con)["closed_years"]
    assert [(c["year"], c["closed_by"], c["restated_figures"], c["late_files"]) for c in closed] == [
        (YEAR, "the coordinator", 0, 0)
    ]
    row, branch = a_receipt(places, "2024-12-15.900001")
    file = deliver(places, [row], branch, AS_OF)
    for _ in range(2):  # and it stays restated on nights that bring nothing
        night(places, AS_OF + dt.timedelta(days=1), checked=True)
        with figures.published(places) as con:
            restated = con.execute(
                "SELECT frozen, computed, difference, late_files, changed_rules FROM kpi.restatement "
                "WHERE kpi = 'deliveries_total' AND month = 0 AND dimension = 'total'"
            ).fetchall()
            (closed_year,) = figures.summary(con)["closed_years"]
        assert restated == [(before, before + 1, 1, 1, [])]
        assert closed_year["last_late_files"] == [file]
        assert closed_year["restatements"][0]["kpi"] == "deliveries_total"
        assert closed_year["restatements"][0]["difference"] == 1
    with pytest.raises(UserError, match=r"closed already.*the coordinator"):
        history.close_year(places, network(places), YEAR, "another")


def test_a_changed_rule_restates_a_closed_year(places: Places) -> None:
    history.close_year(places, network(places), YEAR, "me")
    (places.reference / "parameters.yaml").write_text("transit_norm_transport_days: 1\n", encoding="utf-8")
    night(places, AS_OF, checked=True)
    with figures.published(places) as con:
        found = con.execute("SELECT DISTINCT kpi, late_files, changed_rules FROM kpi.restatement").fetchall()
    assert found == [("within_transit_norm_pct", 0, ["reference/parameters.yaml"])]


def test_an_unexplained_change_of_a_closed_year_holds_the_publication_back(places: Places) -> None:
    """A row that vanished from the store, by no export and no rule."""
    history.close_year(places, network(places), YEAR, "me")
    with duckdb.connect(str(places.bronze)) as con:
        con.execute(
            "DELETE FROM row WHERE reservation_id = (SELECT min(reservation_id) FROM row WHERE received_at IS NOT NULL)"
        )
    with pytest.raises(AssertionError, match="restatement_is_explained"):
        night(places, AS_OF, checked=True)


@pytest.mark.parametrize(("when", "message"), [(YEAR, f"{YEAR} is not over"), (YEAR - 3, "There are no figures of")])
def test_a_year_that_cannot_be_closed(places: Places, when: int, message: str) -> None:
    night(places, dt.date(YEAR, 12, 31))
    with pytest.raises(UserError, match=message):
        history.close_year(places, network(places), when, "me")
    assert not places.closed.exists()


def test_a_year_is_closed_upon_the_rules_of_now(places: Places) -> None:
    (places.reference / "parameters.yaml").write_text("transit_norm_transport_days: 1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"before reference/parameters\.yaml changed"):
        history.close_year(places, network(places), YEAR, "me")


def test_the_ingredients_name_what_changed() -> None:
    assert building.changed_ingredients({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == ["a", "b", "c"]
    assert building.changed_ingredients({"a": "1"}, {"a": "1"}) == []


def test_the_manifest_is_json(year: Places) -> None:
    (run,) = history.runs(year)
    assert json.loads((year.runs / run / "manifest.json").read_text(encoding="utf-8"))["gates"] == []


# ---------------------------------------------------------------------------------------------- on small tables

CLOSED_YEARS = (2022, 2023)


def closed_world(files: list[File], rows: list[Row], last_file: int) -> Warehouse:
    """A world of which 2022 and 2023 were closed, when that was the number of the last file."""
    warehouse = Warehouse(World(PLAIN, dt.date(2024, 1, 1), files, rows))
    for year in CLOSED_YEARS:
        warehouse.con.execute(
            "INSERT INTO reference.closed_year VALUES (?, TIMESTAMP '2024-03-01 12:00:00', 'me', 'a run', ?)",
            [year, last_file],
        )
    close_again(warehouse)
    return warehouse


def close_again(warehouse: Warehouse) -> None:
    names = ("marts.closed_year_file", "kpi.closed_year", "kpi.restatement")
    building.create_models(warehouse.con, [model for model in building.models() if model.relation in names])


def test_which_late_files_tell_of_a_closed_year() -> None:
    def row(file: int, *days: str) -> Row:
        """Requested, sent and received on these days."""
        requested, sent, received = (f"{date} 12:00" if date else "" for date in days)
        return Row(file, f"{file} {days}", "1", "01", "O", "2024-02-02 12:00", sent, received, requested)

    def file(branch: str, date: str, **more: Any) -> File:
        return File(branch, dt.date.fromisoformat(date), **more)

    before = [
        file("xb", "2022-06-01"),  # 1
        file("xb", "2023-06-01"),
        file("xb", "2024-01-15"),
        file("xb", "2024-01-16", verdict="rejected"),
        file("ya", "2021-12-31"),
        file("xb", "2024-01-17"),  # 6: the last
    ]
    late = [
        (file("xa", "2023-12-31"), {2023}),  # 7: dated in it
        (file("xa", "2024-01-10"), set()),
        (file("xa", "2024-01-11"), {2023}),  # 9: something was requested, sent, received in it
        (file("xa", "2024-01-12"), {2023}),
        (file("xa", "2024-01-13"), {2022, 2023}),
        (file("xa", "2024-01-14"), set()),
        (file("xb", "2024-01-15"), {2022, 2023}),  # 13: replaces one that was there
        (file("xb", "2024-01-17"), {2022, 2023}),
        (file("ya", "2021-12-31"), set()),  # 15: replaces one of before both years
        (file("xa", "2024-01-10"), set()),  # 16: replaces a late one
        (file("xb", "2024-01-16"), set()),  # 17: replaces a rejected one
        (file("xa", "2024-01-15"), set()),  # another branch, format, day than the one that was there
        (file("xb", "2024-01-15", format="excel"), set()),
        (file("xb", "2024-01-18"), set()),
        (file("xa", "2023-12-30", verdict="rejected"), set()),
        (file("xb", "2023-06-01"), {2022, 2023}),  # 22
        (file("xb", "2022-06-01"), {2022}),
    ]
    rows = [
        row(6, "2023-05-01", "2023-05-02", "2023-05-03"),
        row(8, "2021-05-01", "2021-05-02", "2024-05-03"),
        row(9, "2023-12-31", "2024-01-01", "2024-01-02"),
        row(9, "2023-12-31", "2024-01-01", "2024-01-03"),
        row(10, "", "2023-12-31", "2024-01-02"),
        row(11, "2021-12-31", "2022-12-31", "2023-01-02"),
        row(12, "2021-12-31", "", ""),
    ]
    warehouse = closed_world([*before, *(made for made, _ in late)], rows, last_file=len(before))
    expected = sorted(
        (year, number, made.branch, f"{made.branch}/file {number}", made.date)
        for number, (made, years) in enumerate(late, start=len(before) + 1)
        for year in years
    )
    assert warehouse.rows("SELECT * FROM marts.closed_year_file ORDER BY year, file_id") == expected
    assert warehouse.rows("SELECT year, late_files FROM kpi.closed_year ORDER BY year") == [
        (year, sum(line[0] == year for line in expected)) for year in CLOSED_YEARS
    ]
    # a year that was closed later knows fewer late files
    warehouse.con.execute("UPDATE reference.closed_year SET last_file_id = 21 WHERE year = 2022")
    close_again(warehouse)
    assert warehouse.rows("SELECT file_id FROM marts.closed_year_file WHERE year = 2022 ORDER BY file_id") == [
        (22,), (23,)
    ]  # fmt: skip


def test_why_a_closed_year_can_be_restated() -> None:
    warehouse = closed_world([File("xa", day("2023-03-13"))], [], last_file=1)
    warehouse.con.execute(
        "INSERT INTO reference.changed_ingredient VALUES (2023, 'sql/b'), (2023, 'sql/a'), (2023, 'sql/c'), (2021, 'd')"
    )
    close_again(warehouse)
    assert warehouse.rows("SELECT * FROM kpi.closed_year ORDER BY year") == [
        (2022, dt.datetime(2024, 3, 1, 12), "me", "a run", 0, []),
        (2023, dt.datetime(2024, 3, 1, 12), "me", "a run", 0, ["sql/a", "sql/b", "sql/c"]),
    ]


SCOPE = {
    "total": "('total', '', '', '', '', '')",
    "pair": "('organisation', 'X', 'Y', '', '', '')",
    "lane": "('lane', 'X', 'X', 'xa', 'xb', '')",
    "branch": "('branch', '', '', '', '', 'xa')",
    "gone": "('branch', '', '', '', '', 'zz')",
}
OF = "(dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch, branch)"
FROZEN = "UPDATE reference.frozen_figure SET value ="
MARCH = "WHERE kpi = 'deliveries_total' AND year = 2023 AND month = 3 AND"


@pytest.mark.parametrize(
    ("what", "done", "expected"),
    [
        ("nothing", "", []),
        *(
            (f"one more: {name}", f"{FROZEN} value - 1 {MARCH} {OF} = {SCOPE[name]}", [(name, 3, count - 1, count)])
            for name, count in (("total", 11), ("pair", 3), ("lane", 5), ("branch", 3))
        ),
        ("what is no difference", f"{FROZEN} value + 1e-10 {MARCH} dimension = 'total'", []),
        ("hardly a difference", f"{FROZEN} value + 1e-8 {MARCH} dimension = 'total'", [("total", 3, 11 + 1e-8, 11)]),
        ("no figure then", f"{FROZEN} NULL {MARCH} dimension = 'total'", [("total", 3, None, 11)]),
        (
            "not there then",
            f"DELETE FROM reference.frozen_figure {MARCH} dimension = 'total'",
            [("total", 3, None, 11)],
        ),
        (
            "not there then, and nothing to tell",
            "DELETE FROM reference.frozen_figure WHERE month = 4 AND coalesce(value, 0) = 0",
            [],
        ),
        (
            "not there any more",
            "INSERT INTO reference.frozen_figure SELECT * REPLACE ('zz' AS branch) "
            f"FROM reference.frozen_figure {MARCH} {OF} = {SCOPE['branch']}",
            [("gone", 3, 3, None)],
        ),
        (
            "nothing then, and not there any more",
            "INSERT INTO reference.frozen_figure SELECT * REPLACE ('zz' AS branch, 0 AS value) "
            f"FROM reference.frozen_figure {MARCH} {OF} = {SCOPE['branch']}",
            [("gone", 3, 0, None)],
        ),
    ],
)
def test_a_figure_that_is_computed_differently_is_a_restatement(
    what: str, done: str, expected: list[tuple[str, int, float | None, float | None]]
) -> None:
    under_way = Row(1, "under way", "1", "01", "T", "2023-03-13 12:00", "2023-03-13 12:00")
    rows = [*deliveries({"xa>xb": 5, "xb>xa": 2, "xa>ya": 3, "ya>xa": 1}), under_way]
    files = [File("network", day("2023-03-13"), format="koha_csv"), File("xa", day("2023-04-01"))]
    warehouse = closed_world(files, rows, last_file=1)
    # what is under way on the day of the run is frozen of no year
    warehouse.con.execute(
        f"INSERT INTO reference.frozen_figure SELECT {history.FIGURES}, value FROM kpi.value "
        "WHERE year = 2023 AND kpi NOT IN ('in_transit', 'overdue');"
        "INSERT INTO reference.changed_ingredient VALUES (2023, 'sql/a');" + done
    )
    close_again(warehouse)
    assert warehouse.figure("in_transit", 2023) == warehouse.figure("overdue", 2023) == 1
    found = warehouse.rows(
        f"SELECT {history.FIGURES}, frozen, computed, difference, late_files, changed_rules FROM kpi.restatement"
    )
    assert [
        (kpi, year, month, repr((*scope,)), frozen, computed, difference, late, rules)
        for kpi, year, month, *scope, frozen, computed, difference, late, rules in found
    ] == [
        ("deliveries_total", 2023, month, SCOPE[name], frozen, computed,
         None if None in (frozen, computed) else pytest.approx(computed - frozen), 1, ["sql/a"])
        for name, month, frozen, computed in expected
    ]  # fmt: skip
