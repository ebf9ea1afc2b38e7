"""From a figure to its rows and back: a figure is what its rows make of it, every row of a file is accounted for."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import random
import re
import shlex
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import contracts, figures, history, trace
from pendel.places import Busy, Places, UserError
from pendel.simulate import simulate
from tests import othernetwork
from tests.pipeline import AS_OF, BRANCHES, PUBLISHED, night, places_in, spied_on_databases
from tests.test_cli import Pendel, at, pendel  # noqa: F401
from tests.test_golden import compare
from tests.test_models import CODE, PLAIN, File, Row, Warehouse, World, day
from tests.test_simulate import write_reference

PARTS = ["supplying_organisation", "pickup_organisation", "supplying_branch", "pickup_branch", "branch"]
Evidence = tuple[str, int]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Two organisations, three formats, errors planted: taken in on a day on which much is still under way."""
    folder = tmp_path_factory.mktemp("simulated")
    reference = write_reference(folder / "reference", BRANCHES, PUBLISHED)
    places = places_in(folder, reference)
    simulate(2024, places.raw, reference, imperfections=True, truth=folder / "truth.json")
    for path in places.raw.rglob("*"):
        if path.is_file() and any(int(day) > 20240422 for day in re.findall(r"\d{8}", path.name.replace("-", ""))):
            path.unlink()
    night(places, dt.date(2024, 4, 23))
    return places


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> othernetwork.Planted:
    return othernetwork.build(tmp_path_factory.mktemp("othernetwork"))


@pytest.fixture(scope="module")
def other(planted: othernetwork.Planted, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """The network with every trap."""
    warehouse = tmp_path_factory.mktemp("warehouse")
    places = Places.of(raw=planted.raw, reference=planted.reference, warehouse=warehouse)
    night(places, dt.date(2024, 2, 1))
    return places


@pytest.fixture(params=["simulated", "other"])
def places(request: pytest.FixtureRequest) -> Places:
    found: Places = request.getfixturevalue(request.param)
    return found


# ---------------------------------------------------------------------------------------------- figures


def p90(values: list[float]) -> float:
    return values[0] if len(values) == 1 else statistics.quantiles(values, n=10, method="inclusive")[-1]


def what_follows(kpi: str, unit: str, values: list[float]) -> float | None:
    """The figure that the values of the rows make, worked out apart from the SQL."""
    if unit in ("reservations", "balance"):
        assert set(values) <= ({1} if unit == "reservations" else {1, -1})
        return sum(values)
    if unit == "pct":
        assert set(values) <= {0, 1}
        return 100 * sum(values) / len(values) if values else None
    if not values:
        return None
    return statistics.median(values) if kpi.endswith("median") else p90(values)


def test_every_figure_is_what_its_rows_make(places: Places) -> None:
    """Every figure, dimension, year and month: those without any row too."""
    seen = Counter[str]()
    with figures.published(places) as con:
        for name, which in (("leg", "<>"), ("feed_day", "=")):
            sql = contracts.sql_file("trace", name).sql
            # the parameters become columns: all figures in one question
            rows = re.sub(r"\$(\w+)", r"v.\1", re.sub("^ *--.*", "", sql, flags=re.M))
            for kpi, dimension, unit, value, values in con.execute(
                f"SELECT v.kpi, v.dimension, v.unit, v.value, coalesce(t.listed, []) FROM kpi.value AS v, "
                f"LATERAL (SELECT list(value) AS listed FROM ({rows})) AS t "
                f"WHERE v.kpi {which} 'feed_completeness_pct'"
            ).fetchall():
                expected = what_follows(kpi, unit, [float(one) for one in values])
                assert value == (None if expected is None else pytest.approx(expected)), (kpi, dimension, values)
                if unit == "reservations":
                    assert len(values) == value
                seen[kpi] += len(values)
        # a figure that rests on nothing would prove nothing
        kpis = {kpi for (kpi,) in con.execute("SELECT kpi FROM kpi.definition").fetchall()}
    assert set(seen) == kpis
    empty = {kpi for kpi in seen if not seen[kpi]}
    if "deliveries_within_duin" in kpis:
        assert empty == {"deliveries_within_duin"}
    else:
        assert empty <= {kpi for kpi in kpis if re.search("(_|^)z(_|$)", kpi)} | {"overdue", "unannounced"}


def test_the_selection_names_every_figure() -> None:
    """A figure that the selection does not know would be shown without any row."""
    sql = contracts.sql_file("trace", "leg").sql
    for kpi in trace_kpis():
        assert f"'{kpi}'" in sql or kpi == trace.FEED, kpi


def trace_kpis() -> list[str]:
    from pendel.contracts import kpis

    return [kpi for kpi in kpis() if "{" not in kpi]


def asked(con: duckdb.DuckDBPyConnection, count: int) -> list[dict[str, Any]]:
    """Some figures, as `pendel trace` would be asked for them: of each key figure and dimension."""
    rng = random.Random(4)
    found = defaultdict(list)
    for kpi, dimension, year, month, value, *scope in con.execute(
        f"SELECT kpi, dimension, year, month, value, {', '.join(PARTS)} FROM kpi.value "
        "WHERE value IS NOT NULL AND value <> 0 ORDER BY ALL"
    ).fetchall():
        supplier = scope[2] or scope[0]
        pickup = scope[3] or scope[1]
        found[kpi, dimension].append(
            {
                "kpi": kpi, "year": year, "month": month or None, "supplier": supplier or None,
                "pickup": pickup or None, "branch": scope[4] or None, "value": value,
            }
        )  # fmt: skip
    return [one for key in sorted(found) for one in rng.sample(found[key], min(count, len(found[key])))]


def test_as_it_is_asked_for(places: Places) -> None:
    """The scope of the command line leads to that figure and to its rows, with the evidence of both sides."""
    with figures.published(places) as con:
        questions = asked(con, 2)
        evidence = {
            (file, row)
            for file, row in con.execute(
                "SELECT file, row FROM (SELECT supplier_file_id AS file_id, supplier_row AS row FROM marts.fct_leg "
                "UNION SELECT pickup_file_id, pickup_row FROM marts.fct_leg) JOIN quality.file USING (file_id)"
            ).fetchall()
        }
    assert len(questions) > 40
    for question in questions:
        value = question.pop("value")
        found = trace.figure(places, **question)
        assert found["value"] == pytest.approx(value, abs=1e-6), question
        assert found["count"] == len(found["rows"])
        if found["method"] == "count":
            assert found["count"] == found["value"] == found["sum"]
        if found["method"] == "balance":
            assert found["sum"] == found["value"]
            parts = Counter(row["part"] for row in found["rows"])
            assert parts["supplied"] - parts["received"] == found["value"]
        if question["kpi"] == trace.FEED:
            continue
        for row in found["rows"]:
            sides = {(row[f"{side}_file"], row[f"{side}_row"]) for side in ("supplier", "pickup")} - {(None, None)}
            assert sides
            assert sides <= evidence
            happened = row["received_at"] or row["unconfirmed_received_at"]
            if happened:
                assert happened.year == question["year"]
                assert question["month"] in (None, happened.month)


def test_one_side_of_a_lane_is_the_sum_of_its_lanes(simulated: Places) -> None:
    parts = [trace.figure(simulated, "deliveries_total", 2024, None, supplier="aa", pickup=to) for to in ("ab", "ba")]
    parts.append(trace.figure(simulated, "deliveries_total", 2024, supplier="aa", pickup="bb"))
    whole = trace.figure(simulated, "deliveries_total", 2024, supplier="aa")
    assert whole["value"] == whole["count"] == sum(part["value"] for part in parts) > 0
    assert whole["dimension"] == {"supplying_branch": "aa"}
    across = trace.figure(simulated, "deliveries_total", 2024, supplier="A ONE", pickup="y")  # names, in any case
    assert across["dimension"] == {"pickup_organisation": "Y", "supplying_branch": "aa"}
    assert across["value"] == across["count"] == parts[1]["value"] + parts[2]["value"]


def test_a_limit_cuts_the_list_alone(simulated: Places) -> None:
    whole = trace.figure(simulated, "deliveries_total", 2024)
    cut = trace.figure(simulated, "deliveries_total", 2024, most=5)
    assert cut["rows"] == whole["rows"][:5]
    assert (cut["count"], cut["value"]) == (whole["count"], whole["value"])
    days = [row["received_at"] for row in whole["rows"]]
    assert days == sorted(days)


# ---------------------------------------------------------------------------------------------- files


def listed(places: Places) -> list[dict[str, Any]]:
    with figures.published(places) as con:
        result = con.execute("SELECT * FROM quality.file ORDER BY file_id")
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, line, strict=True)) for line in result.fetchall()]


@pytest.fixture(scope="module")
def traced(other: Places) -> dict[str, list[dict[str, Any]]]:
    """Every path that was delivered, traced."""
    places, found = other, dict[str, list[dict[str, Any]]]()
    for path in sorted(places.raw.rglob("*")):
        relative = path.relative_to(places.raw).as_posix()
        if path.is_file() and path.suffix != ".md":
            try:
                found[relative] = trace.files(places, str(path))
            except UserError:
                assert not {item["file"] for item in listed(places)} & {relative}
    return found


def test_every_row_of_every_file_is_accounted_for(other: Places, traced: dict[str, list[dict[str, Any]]]) -> None:
    """Evidence from the legs' side is the evidence from the files' side, and no row is told twice or not at all."""
    rows: dict[Evidence, dict[str, Any]] = {}
    states = Counter[str]()
    for items in traced.values():
        for item in items:
            states[item["state"]] += 1
            if item["state"] in ("accepted", "partly_accepted", "superseded"):
                assert len(item["rows"]) == item["rows_accepted"] + item["rows_quarantined"], item["file"]
                assert len(item["rows"]) == item["rows_read"] - item["rows_duplicate"]
                held = sum(row["fate"] == "held" for row in item["rows"])
                assert held == item["rows_quarantined"], item["file"]
            else:
                assert item["rows"] == []
            if item["state"] == "superseded":
                assert {row["fate"] for row in item["rows"]} <= {"superseded", "held"}
                assert item["replaced_by"]
            rows |= {(item["file"], row["row"]): row for row in item["rows"] if item["state"] != "superseded"}
    assert states == Counter(item["state"] for item in listed(other))
    fates = Counter(row["fate"] for row in rows.values())
    assert {"counts", "outvoted", "no_supplier", "closes", "held"} == set(fates)
    with figures.published(other) as con:
        legs = con.execute(
            "SELECT s.file, l.supplier_row, p.file, l.pickup_row, l.supplying_branch, l.pickup_branch, l.state "
            "FROM marts.fct_leg AS l LEFT JOIN quality.file AS s ON l.supplier_file_id = s.file_id "
            "LEFT JOIN quality.file AS p ON l.pickup_file_id = p.file_id"
        ).fetchall()
    expected: dict[Evidence, tuple[set[str], Any]] = {}
    for supplier_file, supplier_row, pickup_file, pickup_row, *leg in legs:
        for side, place in (("supplier", (supplier_file, supplier_row)), ("pickup", (pickup_file, pickup_row))):
            if place != (None, None):
                sides, told = expected.setdefault(place, (set(), leg))
                assert told == leg
                sides.add(side)
    counting = {place: row for place, row in rows.items() if row["fate"] == "counts"}
    assert set(counting) == set(expected)
    for place, row in counting.items():
        sides, leg = expected[place]
        assert ({"supplier", "pickup"} if row["side"] == "both" else {row["side"]}) == sides
        assert [row["supplying_branch"], row["pickup_branch"], row["leg_state"]] == leg
    for place, row in rows.items():
        if row["fate"] == "outvoted":
            newer = counting[row["newer_file"], row["newer_row"]]
            assert newer["reservation_id"] == row["reservation_id"]
            assert (row["newer_file"], row["newer_row"]) != place


def test_a_row_alone(simulated: Places) -> None:
    file = next(item for item in listed(simulated) if item["rows_quarantined"] and item["state"] == "partly_accepted")
    (whole,) = trace.files(simulated, file["file"])
    assert {row["fate"] for row in whole["rows"]} >= {"held", "counts"}
    for row in whole["rows"]:
        (alone,) = trace.files(simulated, file["file"], row["row"])
        assert alone["rows"] == [row]
    (header,) = trace.files(simulated, file["file"], 1)
    assert header["rows"] == []


def test_files_by_other_bytes_at_the_same_path(simulated: Places, tmp_path: Path) -> None:
    """A file that was overwritten is told twice: the newest counts, the one before left with it."""
    shutil.copytree(simulated.warehouse, tmp_path / "warehouse")
    shutil.copytree(simulated.raw, tmp_path / "raw")
    places = places_in(tmp_path, simulated.reference)
    file = next(item["file"] for item in listed(places) if item["state"] == "accepted" and item["format"] == "fmb_csv"
                and item["rows_read"] > 2 and item["file"].endswith(".csv"))  # fmt: skip
    path = places.raw / file
    lines = path.read_text(encoding="cp1252").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), encoding="cp1252", newline="")
    night(places, dt.date(2024, 4, 23))
    newest, before = trace.files(places, file)
    assert (newest["state"], before["state"], before["replaced_by"]) == ("accepted", "superseded", file)
    assert len(newest["rows"]) == len(before["rows"]) - 1


def test_what_did_not_publish_is_said_to(simulated: Places, tmp_path: Path) -> None:
    """A run that stored its files and was held back: the published warehouse knows nothing of them."""
    shutil.copytree(simulated.warehouse, tmp_path / "warehouse")
    shutil.copytree(simulated.raw, tmp_path / "raw")
    places = places_in(tmp_path, simulated.reference)
    before = places.published.read_bytes()
    file = next(item["file"] for item in listed(places) if item["format"] == "fmb_csv" and "20240420" in item["file"])
    late = places.raw / file.replace("20240420", "20240424")
    shutil.copyfile(places.raw / file, late)
    night(places, AS_OF)
    places.published.write_bytes(before)
    (item,) = trace.files(places, late.name)
    assert (item["state"], item["rows"]) == ("unpublished", [])


def test_a_register_that_changed_since(simulated: Places, tmp_path: Path) -> None:
    """What the register now says else than at the publication is left to the next run."""
    reference = tmp_path / "reference"
    shutil.copytree(simulated.reference, reference)
    register = reference / "branches.csv"
    register.write_text(register.read_text(encoding="utf-8").replace(",060,", ",999,"), encoding="utf-8")
    places = Places(simulated.raw, reference, simulated.warehouse)
    file = next(item for item in listed(simulated) if item["branch"] == "aa" and item["rows_accepted"] > 5)
    (changed,) = trace.files(places, file["file"])
    (same,) = trace.files(simulated, file["file"])
    assert {row["fate"] for row in changed["rows"]} >= {"rejudged"}
    assert "rejudged" not in {row["fate"] for row in same["rows"]}


def test_bronze_that_is_held(simulated: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    shutil.copytree(simulated.warehouse, tmp_path / "warehouse")
    places = places_in(tmp_path, simulated.reference)
    script = "import sys, duckdb; con = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(places.bronze)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(Busy, match="is held by a run that is busy"):
            trace.files(places, "x")
        with pytest.raises(Busy, match="is held by a run that is busy"):
            history.runs(places)
        process.communicate("")
    with pytest.raises(UserError, match="is no file that was taken in"):
        trace.files(places, "niets.csv")
    places.bronze.write_bytes(b"no store")
    with pytest.raises(UserError, match="cannot be opened"):
        history.runs(places)
    places.bronze.unlink()
    with pytest.raises(figures.NoFigures, match="what became of a file is kept in it"):
        trace.files(places, "x")


def test_bronze_is_let_go_of_and_left_as_it_was(simulated: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the answer is computed, a night can write."""
    before = simulated.bronze.read_bytes(), simulated.published.read_bytes()
    attached = spied_on_databases(monkeypatch)
    trace.files(simulated, listed(simulated)[0]["file"])
    assert "warehouse" in attached
    assert "store" not in attached
    assert (simulated.bronze.read_bytes(), simulated.published.read_bytes()) == before


def test_ways_to_name_a_file(simulated: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    file = next(item["file"] for item in listed(simulated) if item["branch"] == "ba" and item["state"] == "accepted")
    monkeypatch.chdir(simulated.raw.parent)
    for name in (file, f"raw/{file}", str(simulated.raw / file), file.split("/")[-1], file.replace("/", "\\")):
        (found,) = trace.files(simulated, name)
        assert found["file"] == file
    with pytest.raises(UserError, match=r"^\d+ files end in \.tsv: ab/.*, …\. Give more of the path\.$"):
        trace.files(simulated, ".tsv")


# ---------------------------------------------------------------------------------------------- on small tables


def said(file: int, number: str, way: str, status: str, *when: str, **more: str) -> Row:
    """`when`: changed, sent, received, as a day and time of March."""
    supplier, pickup = way.split(">")
    changed, sent, received = (f"2023-03-{moment}" if moment else "" for moment in (*when, "", "")[:3])
    return Row(file, number, CODE.get(supplier, supplier), CODE[pickup], status, changed, sent, received, **more)


XA, XB, YA, OLD, NEW, NETWORK, REJECTED, LATER = range(1, 9)
TOLD_FILES = [
    File("xa", day("2023-03-09")),
    File("xb", day("2023-03-09")),
    File("ya", day("2023-03-09")),
    File("xa", day("2023-03-10")),
    File("xa", day("2023-03-10")),
    File("network", day("2023-03-09"), format="koha_csv"),
    File("xb", day("2023-03-10"), verdict="rejected"),
    File("xb", day("2023-03-11")),
]
T, A, B, C, D = "09 08:00", "09 09:00", "09 10:00", "09 11:00", "09 12:00"
TOLD_ROWS = [
    said(NETWORK, "network", "xb>xa", "O", A, T, B),
    said(XB, "two sides", "xb>xa", "A", T),
    said(XB, "two sides", "xb>xa", "T", A, T),
    said(XA, "two sides", "xb>xa", "T", A, T),
    said(XA, "two sides", "xb>xa", "O", B, T, B),
    said(XA, "went on", ">xa", "A", T),
    said(XB, "went on", "xb>xa", "T", A, T),
    said(XB, "closes", "xb>xa", "T", A, T),
    said(XA, "closes", ">xa", "Z", B, reason="5"),
    said(XA, "closes, but for another organisation", ">xa", "Z", B, reason="5"),
    said(XB, "closes, but for another organisation", "xb>xa", "T", A, T),
    said(YA, "closes, but for another organisation", "xb>ya", "T", D, T),
    said(XA, "no longer closed", ">xa", "Z", T, reason="5"),
    said(XB, "no longer closed", "xb>xa", "T", A, T),
    said(XA, "no longer closed", "xb>xa", "T", B, T),
    said(XA, "received, then closed", "xb>xa", "O", A, T, A),
    said(XA, "received, then closed", ">xa", "Z", B, reason="5"),
    said(XB, "closed by its supplier", "xb>xa", "Z", A, reason="6"),
    said(XA, "closed by its supplier", ">xa", "A", B),
    said(XA, "nobody yet", ">xa", "A", A),
    said(XA, "another took over", ">xa", "A", T),
    said(XA, "another took over", "xb>xa", "T", A, D),
    said(XA, "another took over", "ya>xa", "O", B, A, B),
    said(XA, "the one that was sent last", ">xa", "A", T),
    said(XB, "the one that was sent last", "xb>xa", "T", A, T),
    said(YA, "the one that was sent last", "ya>xa", "T", A, A),
    said(XA, "the one that was received last", ">xa", "A", T),
    said(XB, "the one that was received last", "xb>xa", "T", A, D),
    said(YA, "the one that was received last", "ya>xa", "O", A, T, A),
    said(XA, "the one that was received", ">xa", "A", D),
    said(XA, "the one that was received", "xb>xa", "O", A, T, D),
    said(YA, "the one that was received", "ya>xa", "T", A, B),
    said(XA, "the one that was requested last", ">xa", "A", T),
    said(XB, "the one that was requested last", "xb>xa", "A", T),
    said(YA, "the one that was requested last", "ya>xa", "A", T, requested="2023-01-03 08:00"),
    said(XA, "two at once", ">xa", "A", T),
    said(YA, "two at once", "ya>xa", "T", A, T),
    said(XB, "two at once", "xb>xa", "T", A, T),
    said(XA, "unknown", "nobody>xa", "O", B, T, B),
    said(OLD, "unknown", "nobody>xa", "O", B, T, B),
    said(OLD, "replaced", "xb>xa", "O", B, T, B),
    said(NEW, "replaced", "xb>xa", "O", C, T, B),
    said(LATER, "two sides", "xb>xa", "T", D, A),
    said(XA, "kept", "xa>xa", "O", B, T, B),
    said(YA, "forgotten", "xb>ya", "O", B, T, B),
    said(XA, "closed by name", ">xa", "Z", T, reason="5"),
    said(XB, "closed by name", "xb>xa", "T", A, T),
    said(XA, "closed by name", "xb>xa", "Z", B, reason="5"),
    said(XB, "closes after all", "xb>xa", "T", A, T),
    said(XA, "closes after all", "xb>xa", "T", B, T),
    said(XA, "closes after all", ">xa", "Z", C, reason="5"),
    said(XA, "closes whatever its supplier says", ">xa", "Z", B, reason="5"),
    said(XB, "closes whatever its supplier says", "xb>xa", "T", D, T),
]
HELD = [(XA, 90, "unknown_status"), (OLD, 91, "unknown_status")]
FATES = """
1.2 two sides: outvoted, xb>xa delivered 10:00, newer: xa/file 1, 3
1.3 two sides: counts as pickup, xb>xa delivered 10:00
1.4 went on: no_supplier, xb>xa in_transit
1.5 closes: closes, xb>xa cancelled
1.6 closes, but for another organisation: closes, xb>xa cancelled
1.7 no longer closed: no_supplier, xb>xa in_transit
1.8 no longer closed: counts as pickup, xb>xa in_transit
1.9 received, then closed: counts as pickup, xb>xa delivered 09:00
1.10 received, then closed: no_supplier, xb>xa delivered 09:00
1.11 closed by its supplier: no_supplier, xb>xa cancelled
1.12 nobody yet: counts as pickup, >xa requested
1.13 another took over: no_supplier, ya>xa delivered 10:00
1.14 another took over: counts as pickup, xb>xa superseded
1.15 another took over: counts as pickup, ya>xa delivered 10:00
1.16 the one that was sent last: no_supplier, ya>xa in_transit
1.17 the one that was received last: no_supplier, xb>xa in_transit
1.18 the one that was received: no_supplier, xb>xa delivered 12:00
1.19 the one that was received: counts as pickup, xb>xa delivered 12:00
1.20 the one that was requested last: no_supplier, ya>xa requested
1.21 two at once: no_supplier, xb>xa in_transit
1.22 unknown: held by unknown_branch
1.23 kept: counts as both, xa>xa local 10:00
1.24 closed by name: no_supplier, xb>xa cancelled
1.25 closed by name: counts as pickup, xb>xa cancelled
1.26 closes after all: counts as pickup, xb>xa cancelled
1.27 closes after all: closes, xb>xa cancelled
1.28 closes whatever its supplier says: closes, xb>xa cancelled
1.90 None: held by unknown_status
2.2 two sides: outvoted, xb>xa delivered 10:00, newer: xb/file 8, 2
2.3 two sides: outvoted, xb>xa delivered 10:00, newer: xb/file 8, 2
2.4 went on: counts as supplier, xb>xa in_transit
2.5 closes: counts as supplier, xb>xa cancelled
2.6 closes, but for another organisation: counts as supplier, xb>xa cancelled
2.7 no longer closed: counts as supplier, xb>xa in_transit
2.8 closed by its supplier: counts as supplier, xb>xa cancelled
2.9 the one that was sent last: counts as supplier, xb>xa in_transit
2.10 the one that was received last: counts as supplier, xb>xa in_transit
2.11 the one that was requested last: counts as supplier, xb>xa requested
2.12 two at once: counts as supplier, xb>xa in_transit
2.13 closed by name: counts as supplier, xb>xa cancelled
2.14 closes after all: counts as supplier, xb>xa cancelled
2.15 closes whatever its supplier says: counts as supplier, xb>xa cancelled
3.2 closes, but for another organisation: counts as pickup, xb>ya in_transit
3.3 the one that was sent last: counts as supplier, ya>xa in_transit
3.4 the one that was received last: counts as supplier, ya>xa unconfirmed
3.5 the one that was received: counts as supplier, ya>xa in_transit
3.6 the one that was requested last: counts as supplier, ya>xa requested
3.7 two at once: counts as supplier, ya>xa in_transit
3.8 forgotten: rejudged
4.2 unknown: held by unknown_branch
4.3 replaced: superseded
4.91 None: held by unknown_status
5.2 replaced: counts as pickup, xb>xa delivered 10:00
6.2 network: counts as both, xb>xa delivered 10:00
8.2 two sides: counts as supplier, xb>xa delivered 10:00
"""


@pytest.fixture
def small() -> Iterator[Warehouse]:
    warehouse = Warehouse(World(PLAIN, day("2023-03-12"), TOLD_FILES, TOLD_ROWS, held=HELD))
    # as when the register lost a code since: the row is accepted, and nothing rests on it
    warehouse.con.execute("DELETE FROM staging.told WHERE reservation_id = 'forgotten'")
    # and as when it learned one: the row was held, whatever it says now
    for held in ("22 AS row", "4 AS file_id, 3 AS row"):
        warehouse.con.execute(
            f"INSERT INTO staging.told SELECT * REPLACE ({held}) FROM staging.told WHERE file_id = 1 AND row = 3"
        )
    yield warehouse
    warehouse.con.close()


def fates(warehouse: Warehouse, file: int, row: int = 0) -> list[str]:
    sql, parameters = trace._statement("row", {"file_id": file, "row": row})
    found = []
    for number, about, fate, side, rule, supplier, pickup, state, received, newer, newer_row in warehouse.con.execute(
        sql, parameters
    ).fetchall():
        found.append(
            f"{file}.{number} {about}: {fate}"
            + (f" as {side}" if side else "")
            + (f" by {rule}" if rule else "")
            + (f", {supplier}>{pickup} {state}" if (supplier, pickup, state) != (None, None, None) else "")
            + (f" {received:%H:%M}" if received else "")
            + (f", newer: {newer}, {newer_row}" if (newer, newer_row) != (None, None) else "")
        )
    return found


def test_what_became_of_each_row(small: Warehouse) -> None:
    found = [fate for file in range(1, len(TOLD_FILES) + 1) for fate in fates(small, file)]
    assert found == FATES.strip().splitlines()
    assert fates(small, XA, 90) == ["1.90 None: held by unknown_status"]
    assert fates(small, XA, 3) == ["1.3 two sides: counts as pickup, xb>xa delivered 10:00"]


def test_what_became_of_each_file(small: Warehouse) -> None:
    copies = [  # number, branch, format, date, verdict, bytes
        (11, "xa", "dnb_tsv", "2023-03-09", "skipped", "1"),
        (12, "xa", "dnb_tsv", "2023-03-09", "skipped", "1"),
        (13, "ya", "dnb_tsv", "2023-03-09", "skipped", "1"),
        (14, "xa", "dnb_tsv", "2023-03-20", "read", "14"),
    ]
    for number, branch, form, date, verdict, sha in copies:
        small.con.execute(
            "INSERT INTO bronze.file SELECT * REPLACE (? AS file_id, ? AS branch, ? AS format, ? AS export_date, "
            "? AS verdict, ? AS sha256, 'a copy' AS path) FROM bronze.file WHERE file_id = 1",
            [number, branch, form, date, verdict, sha],
        )
        if number < 14:
            small.con.execute(
                "INSERT INTO quality.file SELECT * REPLACE (? AS file_id, ? AS state, ? AS branch, 'a copy' AS file) "
                "FROM quality.file WHERE file_id = 1",
                [number, verdict, branch],
            )
    # as when the store was made again: a file of another run bears the number
    small.con.execute("UPDATE quality.file SET run_id = 'another' WHERE file_id = 3")
    # neither another branch, nor another format or day is what replaced it; nor is a file that does not count
    for number, change in (
        (21, "'yb' AS branch, 'y' AS file"), (22, "'excel' AS format, 'f' AS file"),
        (23, "DATE '2023-03-30' AS export_date, 'd' AS file"), (24, "'superseded' AS state, 's' AS file"),
    ):  # fmt: skip
        small.con.execute(
            f"INSERT INTO quality.file SELECT * REPLACE ({number} AS file_id, {change}) FROM quality.file "
            f"WHERE file_id = {NEW}"
        )
    # the one that did comes last
    small.con.execute(
        f"CREATE TABLE replacing AS FROM quality.file WHERE file_id = {NEW};"
        f"DELETE FROM quality.file WHERE file_id = {NEW}; INSERT INTO quality.file FROM replacing"
    )
    result = small.con.execute(trace._statement("file", {})[0])
    names = [column[0] for column in result.description or []]
    found = [dict(zip(names, line, strict=True)) for line in result.fetchall()]
    counts = ("rows_read", "rows_accepted", "rows_quarantined", "rows_duplicate", "rows_other")
    told = {
        item["file_id"]: (item["state"], item["reason"], *(item[name] for name in counts), item["replaced_by"])
        for item in found
    }
    assert list(told) == [14, 13, 12, 11, 8, 7, 6, 5, 4, 3, 2, 1]
    assert told == {
        1: ("partly_accepted", None, 28, 26, 2, 0, 0, None),
        2: ("accepted", None, 14, 14, 0, 0, 0, None),
        3: ("unpublished", None, 7, 7, 0, 0, 0, None),
        4: ("superseded", None, 3, 1, 2, 0, 0, "xa/file 5"),
        5: ("accepted", None, 1, 1, 0, 0, 0, None),
        6: ("accepted", None, 1, 1, 0, 0, 0, None),
        7: ("rejected", "broken_archive", 0, 0, 0, 0, 0, None),
        8: ("accepted", None, 1, 1, 0, 0, 0, None),
        11: ("skipped", None, 28, 26, 2, 0, 0, "xa/file 1"),
        12: ("skipped", None, 28, 26, 2, 0, 0, "xa/file 1"),
        13: ("skipped", None, 28, 26, 2, 0, 0, None),
        14: ("unpublished", None, 28, 27, 1, 0, 0, None),
    }
    first = found[-1]
    names = ["path_key", "file", "branch", "format", "export_date", "arrived_at", "detail"]
    assert [first[name] for name in names] == [
        "1", "xa/file 1", "xa", "dnb_tsv", dt.date(2023, 3, 9), dt.datetime(2023, 3, 9, 20), "{}",
    ]  # fmt: skip


def test_what_a_figure_rests_on() -> None:
    """Every column of one leg, and the part that each leg is listed under, in their order."""
    monday, tuesday, friday = (dt.datetime(2023, 3, date, 10) for date in (6, 7, 10))
    files = [File(branch, day("2023-03-11")) for branch in ("xb", "xa", "ya")]
    rows = [
        said(1, "none", "xb>xb", "A", "10 12:00"),
        said(1, "fast", "xb>xa", "T", "09 12:00", "06 10:00", item="77"),
        said(2, "slow", "xb>xa", "Z", "10 12:00", "06 10:00", "10 10:00", reason="8"),
        said(2, "fast", "xb>xa", "O", "10 12:00", "06 10:00", "07 10:00", item="88"),
        said(3, "away", "xa>ya", "O", "10 12:00", "", "07 10:00"),
        said(1, "told", "xb>ya", "O", "10 12:00", "06 10:00", "07 10:00"),
    ]
    warehouse = Warehouse(World(PLAIN, day("2023-03-12"), files, rows))

    def asked_for(kpi: str, **scope: str) -> list[tuple[Any, ...]]:
        period = {"kpi": kpi, "year": 2023, "month": 3}
        return warehouse.con.execute(*trace._statement("leg", period | dict.fromkeys(PARTS, "") | scope)).fetchall()

    fast, slow, away = asked_for("deliveries_total", pickup_organisation="X") + asked_for("deliveries_x_to_y")
    assert fast == ("", 1, "delivered", "fast", "77", "X", "xb", "xa", monday, "xb", "xb/file 1", 3, tuesday, None,
                    "xa", "xa/file 2", 3)  # fmt: skip
    assert slow == ("", 1, "delivered", "slow", "1", "X", "xb", "xa", monday, None, None, None, friday, None,
                    "xa", "xa/file 2", 2)  # fmt: skip
    assert away == ("", 1, "delivered", "away", "1", "Y", "xa", "ya", None, None, None, None, tuesday, None,
                    "ya", "ya/file 3", 2)  # fmt: skip
    (told,) = asked_for("unconfirmed")
    assert told == ("", 1, "unconfirmed", "told", "1", "Y", "xb", "ya", monday, "xb", "xb/file 1", 4, None, tuesday,
                    None, None, None)  # fmt: skip
    parts = {
        kpi: [(part, value, number) for part, value, _, number, *_ in asked_for(kpi, **scope)]
        for kpi, scope in {
            "lender_balance": {"branch": "xa"},
            "within_transit_norm_pct": {},
            "not_collected_pct": {},
            "transit_transport_days_p90": {},
            "transit_calendar_days_median": {},
            "deliveries_supplied": {"branch": "xa"},
            "deliveries_between_organisations": {},
            "unannounced": {"pickup_branch": "xa"},
        }.items()
    }
    assert parts == {
        "lender_balance": [("supplied", 1, "away"), ("received", -1, "fast"), ("received", -1, "slow")],
        "within_transit_norm_pct": [("within_norm", 1, "fast"), ("later", 0, "slow")],
        "not_collected_pct": [("not_collected", 1, "slow"), ("other", 0, "away"), ("other", 0, "fast")],
        "transit_transport_days_p90": [("", 4, "slow"), ("", 1, "fast")],
        "transit_calendar_days_median": [("", 4, "slow"), ("", 1, "fast")],
        "deliveries_supplied": [("", 1, "away")],
        "deliveries_between_organisations": [("", 1, "away")],
        "unannounced": [("", 1, "slow")],
    }
    sql, parameters = trace._statement("feed_day", {"year": 2023, "month": 3, "branch": "xb"})
    feed = warehouse.con.execute(sql, parameters).fetchall()
    assert feed[-1] == ("received", 1, "xb", dt.date(2023, 3, 11), "xb/file 1", dt.datetime(2023, 3, 11, 20))
    assert {line[:3] for line in feed[:-1]} == {("not_begun", 0, "xb")}


# ---------------------------------------------------------------------------------------------- the command line

WRONG = [
    ("trace", 2, "Geef een kerncijfer, zoals"),
    ("trace overdue --file x", 2, "Geef een kerncijfer, zoals"),
    ("trace overdue --row 2", 2, "Geef een kerncijfer, zoals"),
    ("trace --year 2024 --file x", 2, "Geef een kerncijfer, zoals"),
    ("trace geleverd", 2, "Kerncijfer geleverd bestaat niet. Wel: deliveries_total, "),
    ("trace overdue --from zz", 2, "zz staat niet in het register. Wel: aa, ab, ba, bb, X, Y."),
    ("trace overdue --branch X", 2, "X staat niet in het register. Wel: aa, ab, ba, bb."),
    ("trace overdue --branch aa --to ab", 2, "Geef --branch, of --from en --to: niet allebei."),
    ("trace overdue --from aa --to aa", 2, "Wat aa uit eigen bezit levert, telt in geen enkel cijfer mee."),
    ("trace lender_balance", 2, "lender_balance wordt daarvoor niet berekend, wel per: branch ("),
    ("trace fill_days_median --from aa", 2, "wel per: total, organisation, branch, lane ("),
    ("trace deliveries_x_to_y --branch aa", 2, "deliveries_x_to_y wordt daarvoor niet berekend, wel per: total ("),
    ("trace deliveries_total --year 1900", 3, "deliveries_total is er niet van 1900. Wel van: 2024."),
    ("trace overdue --month 3", 3, "overdue is er niet van 2024-03. Wel van: 2024, 2024-04."),
    ("trace --file niets.csv", 2, "….csv is niet ingelezen."),
]


@pytest.mark.parametrize(("line", "code", "text"), WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_use(line: str, code: int, text: str, simulated: Places, pendel: Pendel) -> None:  # noqa: F811
    done = pendel(*line.split(), *at(simulated))
    assert (done.code, done.out) == (code, "")
    assert text in done.err


def test_nothing_published(tmp_path: Path, pendel: Pendel) -> None:  # noqa: F811
    for command in (["trace", "overdue"], ["trace", "--file", "x"]):
        done = pendel(*command, "--warehouse", tmp_path)
        assert (done.code, done.out) == (3, "")
        assert "er is nog niets gepubliceerd" in done.err


def test_a_warehouse_of_an_earlier_version(simulated: Places, tmp_path: Path, pendel: Pendel) -> None:  # noqa: F811
    shutil.copytree(simulated.warehouse, tmp_path / "warehouse")
    places = places_in(tmp_path, simulated.reference)
    with duckdb.connect(str(places.published)) as con:
        con.execute("DROP TABLE marts.parameter")
    done = pendel("trace", "overdue", *at(places))
    assert (done.code, done.out) == (2, "")
    assert done.err == f"{places.published} is door een eerdere versie gemaakt. Start eerst `pendel nightly`.\n"


def test_whole_in_csv_and_json_cut_on_the_screen(simulated: Places, pendel: Pendel) -> None:  # noqa: F811
    command = ["trace", "deliveries_total", "--year", "2024"]
    found = pendel(*command, "--format", "json", *at(simulated)).json
    assert found["value"] == found["count"] == len(found["rows"]) > 40
    assert "columns" not in found
    lines = list(csv.DictReader(io.StringIO(pendel(*command, "--format", "csv", *at(simulated)).out)))
    assert [{name: str(value or "") for name, value in row.items()} for row in found["rows"]] == lines
    done = pendel(*command, *at(simulated))
    count = found["count"]
    assert done.out.startswith(f"Geleverde reserveringen, 2024: {count}\n{count} trajecten, elk één keer geteld.\n")
    assert done.err == f"De eerste 40 van {count} rijen. Voor allemaal: --format csv\n"
    assert sum(re.search(r"^ +\d{4}-\d\d-\d\d\.\d", line) is not None for line in done.out.splitlines()) == 40
    empty = pendel("trace", "deliveries_total", "--year", "2024", "--month", 1, "--format", "csv", *at(simulated)).out
    assert empty.splitlines() == [",".join(lines[0])]


def test_on_the_screen(other: Places, pendel: Pendel) -> None:  # noqa: F811
    """To the letter, in both languages; see tests/test_golden.py."""
    commands = [
        "trace deliveries_kust_to_veen --year 2023 --month 1",
        "trace lender_balance --branch turfstad --year 2023 --month 3",
        "trace within_transit_norm_pct --from KUST --to VEEN --year 2023 --month 10",
        "trace transit_calendar_days_p90 --branch duinoord --year 2023",
        "trace feed_completeness_pct --branch haven --year 2023 --month 5",
        "trace unconfirmed --year 2023 --lang en",
    ]
    for state in ("partly_accepted", "rejected", "superseded", "skipped"):
        file = next(item["file"] for item in listed(other) if item["state"] == state)
        commands += [f"trace --file '{file}'", f"trace --file '{file}' --row 2 --lang en"]
    said = {}
    for command in commands:
        done = pendel(*shlex.split(command), *at(other))
        assert done.code == 0, done.err
        said[command] = [line.rstrip() for line in done.out.splitlines()]
    compare("trace.json", said)


def test_files_as_csv_and_json(other: Places, pendel: Pendel) -> None:  # noqa: F811
    for state in ("partly_accepted", "rejected", "superseded", "skipped"):
        file = next(item["file"] for item in listed(other) if item["state"] == state)
        command = ["trace", "--file", file, *at(other)]
        (found,) = pendel(*command, "--format", "json").json
        lines = list(csv.DictReader(io.StringIO(pendel(*command, "--format", "csv").out)))
        assert {line["file"] for line in lines} == {file}
        assert {line["file_state"] for line in lines} == {found["state"]} == {state}
        assert [line["row"] for line in lines] == [str(row["row"]) for row in found["rows"]] or [""]
        assert all(line["message"] for line in lines)


def test_no_personal_data(other: Places, planted: othernetwork.Planted, traced: dict[str, Any]) -> None:
    said = json.dumps(
        [list(traced.values()), trace.figure(other, "deliveries_total", 2023)], default=str, ensure_ascii=False
    )
    with pytest.raises(UserError) as error:
        trace.files(other, f"zeedam/{othernetwork.PERSON}.csv")
    said += str(error.value)
    assert planted.canaries
    for canary in planted.canaries:
        assert canary not in said
