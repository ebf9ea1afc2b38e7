"""Figures with a memory: manifests, what changed between two runs, and years that are closed."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import duckdb
import pytest

from pendel import bronze, building, figures, history
from pendel.places import Places, UserError
from pendel.reference import Reference, read_reference
from pendel.simulate import simulate
from tests.pipeline import night, places_in
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
    reference = write_reference(folder / "reference")
    simulate(YEAR, folder / "raw", reference)
    places = places_in(folder, reference)
    night(places, AS_OF)
    return places


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


def test_nothing_changed(places: Places) -> None:
    night(places, AS_OF)
    found = history.diff(places, network(places), None, None)
    assert (found["figures"], found["rules"], found["files"]) == ([], [], [])


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
