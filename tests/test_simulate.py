"""The simulator against an independent, naive re-count of the files that it wrote."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from pendel.simulate import SimulationError, SimulationSummary, simulate

PROJECT = Path(__file__).parents[1]
YEAR = 2024  # a leap year, in which a branch of the small register is closed for a while

BRANCHES = """\
branch,name,organisation,municipality,ils_code,export_format,opened_on,closed_on,latitude,longitude,isil,note
aa,A one,X,,0060,fmb_csv,,,,,,
ab,A two,X,,060,fmb_csv,,2024-03-30,,,,
ab,A two again,X,,061,dnb_tsv,2024-05-06,,,,,other code and format after the closing
ac,A three,X,,7,excel,,,,,,
ba,B one,Y,,60,dnb_tsv,,,,,,
bb,B two,Y,,0601,dnb_tsv,2024-02-01,,,,,
ca,C one,Z,,1060,fmb_csv,,,,,,
"""
ORGANISATIONS = "organisation,name\nX,Org X\nY,Org Y\nZ,Org Z\n"
PUBLISHED = "year,kpi,value,source\n2024,deliveries_total,4001,none\n2024,deliveries_between_organisations,1703,none\n"
# Public holidays that are not on a Sunday; written out, not computed.
FREE = {
    2023: {(4, 10), (4, 27), (5, 18), (5, 29), (12, 25), (12, 26)},
    2024: {(1, 1), (4, 1), (4, 27), (5, 9), (5, 20), (12, 25), (12, 26)},
}
DUTCH = {
    "Reserveringsnummer": "number",
    "Exemplaarnummer": "item",
    "Materiaalsoort": "material",
    "Leverende vestiging": "supplier",
    "Afhaalvestiging": "pickup",
    "Status": "status",
    "Afsluitreden": "reason",
    "Geplaatst op": "requested",
    "Verzonden op": "sent",
    "Ontvangen op": "received",
    "Uitgeleend op": "collected",
    "Afgesloten op": "closed",
    "Gewijzigd op": "changed",
}
ENGLISH = dict(
    zip(
        (
            *("reservationId", "itemId", "materialType", "supplyingBranchId", "pickupBranchId", "status"),
            *("closeReason", "placedAt", "shippedAt", "receivedAt", "checkedOutAt", "closedAt", "modifiedAt"),
        ),
        DUTCH.values(),
        strict=True,
    )
)
MOMENTS = ("requested", "sent", "received", "collected", "closed", "changed")


def write_reference(folder: Path, branches: str = BRANCHES, published: str = PUBLISHED) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "branches.csv").write_text(branches, encoding="utf-8")
    (folder / "organisations.csv").write_text(ORGANISATIONS, encoding="utf-8")
    (folder / "published_figures.csv").write_text(published, encoding="utf-8")
    assumptions = (PROJECT / "data/reference/simulation.yaml").read_text(encoding="utf-8")
    (folder / "simulation.yaml").write_text(assumptions, encoding="utf-8")
    return folder


@dataclass
class Register:
    """Read naively: (code -> branch), (branch -> organisation), open days."""

    rows: list[dict[str, str]]

    @classmethod
    def read(cls, reference: Path) -> Register:
        with (reference / "branches.csv").open(encoding="utf-8", newline="") as stream:
            return cls(list(csv.DictReader(stream)))

    def branch(self, code: str) -> str:
        (found,) = {row["branch"] for row in self.rows if row["ils_code"] == code}
        return found

    def organisation(self, branch: str) -> str:
        return next(row["organisation"] for row in self.rows if row["branch"] == branch)

    def on(self, branch: str, day: date) -> dict[str, str] | None:
        for row in self.rows:
            opened, closed = row["opened_on"] or "0001-01-01", row["closed_on"] or "9999-12-31"
            if row["branch"] == branch and opened <= day.isoformat() <= closed:
                return row
        return None


def moment(value: object) -> datetime | None:
    if value in (None, ""):
        return None
    if isinstance(value, datetime):
        return value
    text = str(value)
    if "T" in text:
        return datetime.fromisoformat(text)
    return datetime.strptime(text, "%d-%m-%Y %H:%M")


def export_date(name: str) -> date:
    found = re.search(r"(\d{4})-?(\d\d)-?(\d\d)\.(?:csv|tsv|xlsx)", name)
    assert found, name
    return date(*map(int, found.groups()))


def raw_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file by their canonical names, as text or as the workbook has them."""
    content, name = path.read_bytes(), path.name
    if name.endswith(".gz"):
        content, name = gzip.decompress(content), name[:-3]
    elif name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (inner,) = archive.namelist()
            content, name = archive.read(inner), inner
    if name.endswith(".xlsx"):
        sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
        table: list[list[Any]] = [[cell.value for cell in row] for row in sheet.iter_rows()]
    elif name.endswith(".csv"):
        table = list(csv.reader(io.StringIO(content.decode("cp1252"), newline=""), delimiter=";"))
    else:
        table = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter="\t"))
    names = [DUTCH.get(header) or ENGLISH.get(header) for header in table[0]]
    assert set(DUTCH.values()) <= set(names), path
    return [{key: value for key, value in zip(names, row, strict=True) if key} for row in table[1:]]


def read_all(raw: Path, skip: set[str], drop: set[tuple[str, int]]) -> list[dict[str, Any]]:
    """Rows of all files but the given ones, without the given rows; with exporter, export date and order of arrival."""
    rows: list[dict[str, Any]] = []
    for path in sorted(raw.rglob("*.*")):
        file = path.relative_to(raw).as_posix()
        if file in skip:
            continue
        for number, row in enumerate(raw_rows(path), start=2):
            if (file, number) in drop:
                continue
            row |= {name: moment(row[name]) for name in MOMENTS}
            row |= {"exporter": file.split("/")[0], "export": export_date(path.name), "file": file, "row": number}
            for name in ("number", "item", "supplier", "pickup", "status", "reason"):
                row[name] = str(row[name] or "")
            rows.append(row)
    return rows


def count_legs(
    rows: list[dict[str, Any]], register: Register
) -> dict[tuple[str, str, str], tuple[str, dict[str, Any]]]:
    """Key of a leg to its state and the row that is the authority for it, by the counting rules, one leg at a time."""
    reservations = defaultdict(list)
    for row in rows:
        pickup = register.branch(row["pickup"])
        reservations[register.organisation(pickup), row["number"]].append(row)
    result: dict[tuple[str, str, str], tuple[str, dict[str, Any]]] = {}
    for (organisation, number), told in reservations.items():
        told.sort(key=lambda row: (row["changed"], row["export"], row["row"]))
        by_pickup = [row for row in told if row["exporter"] == register.branch(row["pickup"])]
        newest_pickup = by_pickup[-1] if by_pickup else None
        suppliers = {row["supplier"] for row in told if row["supplier"]}
        for supplier in suppliers or {""}:
            branch = register.branch(supplier) if supplier else ""
            own = [row for row in told if row["supplier"] == supplier]
            theirs = [row for row in own if row in by_pickup]
            pick = theirs[-1] if theirs else None
            sent = [row for row in own if row["exporter"] == branch and row["sent"]]
            closing = pick or (newest_pickup if newest_pickup and newest_pickup["status"] == "Z" else None)
            newest = own[-1] if closing is None or own[-1]["changed"] > closing["changed"] else closing
            if newest_pickup and newest_pickup["supplier"] not in ("", supplier):
                state = "superseded"
            elif branch and branch == register.branch((pick or own[-1])["pickup"]):
                state = "local"
            elif pick and pick["received"]:
                state = "delivered"
            elif any(row["received"] for row in own if row not in by_pickup):
                state = "unconfirmed"
            elif newest["status"] == "Z":
                state = "cancelled"
            elif sent or (pick and pick["sent"]):
                state = "in_transit"
            else:
                state = "requested"
            result[organisation, number, supplier] = (state, pick or own[-1])
    return result


def check_against_truth(raw: Path, reference: Path, truth: dict[str, Any], year: int) -> list[dict[str, Any]]:
    """Re-count the files and compare every figure of the truth; returns the rows."""
    register = Register.read(reference)
    skip = {p["file"] for p in truth["planted"] if p["outcome"] in ("rejected", "skipped", "superseded")}
    drop = {(p["file"], p["row"]) for p in truth["planted"] if p["outcome"] in ("quarantined", "duplicate")}
    rows = read_all(raw, skip, drop)
    legs = count_legs(rows, register)
    figures = truth["deliveries"]

    delivered = []
    for (_, _, supplier), (state, row) in legs.items():
        if state == "delivered" and row["received"].year == year:
            delivered.append((register.branch(supplier), register.branch(row["pickup"]), row["received"]))
    lanes = Counter((supplier, pickup) for supplier, pickup, _ in delivered)
    pairs = Counter(
        (register.organisation(supplier), register.organisation(pickup)) for supplier, pickup, _ in delivered
    )
    months = Counter(f"{received:%Y-%m}" for _, _, received in delivered)

    assert len(delivered) == figures["total"]
    assert sum(n for (one, other), n in pairs.items() if one != other) == figures["between_organisations"]
    assert lanes == {(e["supplying_branch"], e["pickup_branch"]): e["value"] for e in figures["by_lane"]}
    assert pairs == Counter(
        {(e["supplying_organisation"], e["pickup_organisation"]): e["value"] for e in figures["by_organisation_pair"]}
    )
    assert months == Counter(figures["by_month"])
    assert Counter(state for state, _ in legs.values()) == Counter(truth["legs"])
    assert len(rows) == truth["expected"]["rows"]["accepted"] - sum(
        len(raw_rows(raw / p["file"])) for p in truth["planted"] if p["outcome"] == "superseded"
    )
    assert truth["files"] == sum(1 for _ in raw.rglob("*.*"))
    with (reference / "published_figures.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if int(row["year"]) == year:
                name = row["kpi"].removeprefix("deliveries_")
                assert figures[name] == int(row["value"]), row["kpi"]
    return rows


def digest(raw: Path) -> dict[str, str]:
    """Relative path to a digest of the bytes."""
    return {
        path.relative_to(raw).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(raw.rglob("*.*"))
    }


@dataclass
class Simulated:
    raw: Path
    reference: Path
    truth: dict[str, Any]
    summary: SimulationSummary
    rows: list[dict[str, Any]]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("small")
    reference = write_reference(folder / "reference")
    summary = simulate(YEAR, folder / "raw", reference, truth=folder / "truth.json")
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    rows = check_against_truth(folder / "raw", reference, truth, YEAR)
    return Simulated(folder / "raw", reference, truth, summary, rows)


@pytest.fixture(scope="session")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("spoiled")
    reference = write_reference(folder / "reference")
    summary = simulate(YEAR, folder / "raw", reference, imperfections=True, truth=folder / "truth.json")
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return Simulated(folder / "raw", reference, truth, summary, [])


def is_free(day: date) -> bool:
    return (day.month, day.day) in FREE[day.year]


def test_recount_equals_truth_and_published(small: Simulated) -> None:
    # The comparison itself is made where the rows are read.
    assert small.summary.deliveries == small.truth["deliveries"]["total"]
    assert small.summary.deliveries_between_organisations == small.truth["deliveries"]["between_organisations"]
    assert sum(small.summary.deliveries_by_organisation_pair.values()) == small.summary.deliveries
    assert small.summary.rows == small.truth["rows"] == len(small.rows)
    for state, legs in small.summary.legs.items():
        assert (legs > 0) == (state != "unconfirmed"), state


def test_a_file_for_every_branch_and_export_day(small: Simulated) -> None:
    register = Register.read(small.reference)
    expected = set()
    for offset in range(366):
        day = date(YEAR, 1, 1) + timedelta(days=offset)
        for branch in {row["branch"] for row in register.rows}:
            row = register.on(branch, day)
            if row is None or day.weekday() == 6 or is_free(day):
                continue
            name = {
                "fmb_csv": f"reserveringen_{row['ils_code']}_{day:%Y%m%d}.csv",
                "dnb_tsv": f"{row['ils_code']}-reservations-{day:%Y-%m-%d}.tsv",
                "excel": f"reserveringen {row['ils_code']} {day:%Y-%m-%d}.xlsx",
            }[row["export_format"]]
            expected.add(f"{branch}/{YEAR}/{name}")
    assert {path.relative_to(small.raw).as_posix() for path in small.raw.rglob("*.*")} == expected
    for file in expected:
        arrived = datetime.fromtimestamp((small.raw / file).stat().st_mtime, ZoneInfo("Europe/Amsterdam"))
        assert (arrived.date(), arrived.hour, arrived.minute) == (export_date(file), 22, 0)


def test_nothing_moves_on_a_forbidden_day(small: Simulated) -> None:
    register = Register.read(small.reference)
    for row in small.rows:
        supplier = register.branch(row["supplier"]) if row["supplier"] else None
        pickup = register.branch(row["pickup"])
        assert register.on(row["exporter"], row["export"]), row
        assert row["exporter"] in (supplier, pickup)
        if row["sent"]:
            assert row["sent"].weekday() < 5, row
            assert not is_free(row["sent"].date()), row
            assert register.on(str(supplier), row["sent"].date()), row
        if row["received"]:
            assert row["received"].weekday() < 6, row
            assert not is_free(row["received"].date()), row
            assert register.on(pickup, row["received"].date()), row
            assert register.on(str(supplier), row["received"].date()), row
            assert 9 <= row["received"].hour < 18
    assert any(row["received"] and row["received"].weekday() == 5 for row in small.rows)


def test_order_of_moments_and_shape_of_values(small: Simulated) -> None:
    for row in small.rows:
        steps = [row[name] for name in ("requested", "sent", "received", "collected", "closed") if row[name]]
        assert steps == sorted(steps), row
        assert row["changed"].date() <= row["export"], row
        assert row["changed"] >= steps[-1], row
        assert re.fullmatch(r"\d{4}-\d\d-\d\d\.\d{5,6}", row["number"])
        assert row["number"][:10] == row["requested"].date().isoformat()
        assert bool(row["supplier"]) == bool(re.fullmatch(r"\d{14}", row["item"])), row
        assert row["status"] in set("ATOBUZ")
        assert bool(row["reason"]) == (row["status"] == "Z")
        assert not (row["sent"] and row["received"]) or row["sent"].date() < row["received"].date()
        if row["status"] in "TOBU":
            assert row["export"] == (row["received"] or row["changed"]).date(), row


def test_every_leg_is_told_by_both_sides(small: Simulated) -> None:
    register = Register.read(small.reference)
    told = defaultdict(set)
    redirected = 0
    pickups = defaultdict(set)
    for row in small.rows:
        if row["supplier"]:
            key = (register.organisation(register.branch(row["pickup"])), row["number"], row["supplier"])
            told[key].add("supplier" if row["exporter"] == register.branch(row["supplier"]) else "pickup")
            pickups[key].add(row["pickup"])
    legs = count_legs(small.rows, register)
    for key, (state, _) in legs.items():
        if state == "delivered":
            assert told[key] == {"supplier", "pickup"}, key
            redirected += len(pickups[key]) > 1
    assert redirected
    numbers = defaultdict(set)
    for organisation, number, _ in legs:
        numbers[number].add(organisation)
    assert any(len(organisations) > 1 for organisations in numbers.values())


def test_same_seed_same_contents(small: Simulated, tmp_path: Path) -> None:
    simulate(YEAR, tmp_path / "again", small.reference)
    simulate(YEAR, tmp_path / "other", small.reference, seed=2)
    first, again, other = digest(small.raw), digest(tmp_path / "again"), digest(tmp_path / "other")
    assert first == again
    assert first.keys() == other.keys()
    assert first != other


def test_imperfections_change_no_figure(small: Simulated, spoiled: Simulated) -> None:
    check_against_truth(spoiled.raw, spoiled.reference, spoiled.truth, YEAR)
    assert spoiled.truth["deliveries"] == small.truth["deliveries"]
    assert spoiled.truth["legs"]["unconfirmed"] > 0
    assert {k: v for k, v in spoiled.truth["legs"].items() if k != "unconfirmed"} == {
        k: v for k, v in small.truth["legs"].items() if k != "unconfirmed"
    }
    expected = spoiled.truth["expected"]
    assert expected["rows"]["read"] == spoiled.truth["rows"]
    assert expected["rows"]["read"] == sum(expected["rows"][k] for k in ("accepted", "quarantined", "duplicate"))


def test_planted_things_are_where_the_truth_says(spoiled: Simulated) -> None:
    planted = spoiled.truth["planted"]
    assert spoiled.summary.planted == len(planted)
    by_kind = {entry["kind"]: entry for entry in planted}
    assert {p["outcome"] for p in planted} == {
        "quarantined", "duplicate", "corrected", "unconfirmed", "rejected", "skipped", "superseded", "accepted",
    }  # fmt: skip
    for entry in planted:
        path = spoiled.raw / entry["file"]
        assert path.is_file(), entry
        assert entry["file"].startswith(entry["branch"] + "/")
        kind = entry["kind"]
        if entry["row"] is not None:
            rows = raw_rows(path)
            row = rows[entry["row"] - 2]
            text = {key: str(value or "") for key, value in row.items()}
            if kind == "duplicate_row":
                assert row in rows[: entry["row"] - 2]
            elif kind == "status_zero":
                assert text["status"] == "0"
            elif kind == "reservation_number_missing":
                assert text["number"] == ""
            elif kind == "reservation_number_ill_formed":
                assert not re.fullmatch(r"\d{4}-\d\d-\d\d\.\d{5,6}", text["number"])
            elif kind == "email_address":
                assert "@" in text["material"]
            elif kind == "citizen_service_number":
                digits = [int(digit) for digit in text["material"]]
                weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
                assert sum(d * w for d, w in zip(digits, weights, strict=True)) % 11 == 0
            elif kind == "received_before_2000":
                received = moment(row["received"])
                assert received
                assert received.year == 1999
            elif kind == "received_after_export":
                received = moment(row["received"])
                assert received
                assert received.date() > export_date(path.name) + timedelta(days=1)
            elif kind.endswith("_missing"):
                column = {"supplying_branch": "supplier", "item_barcode": "item"}.get(
                    kind[:-8], kind[:-8].removesuffix("_at")
                )
                assert text[column] == ""
        elif entry["outcome"] == "rejected":
            good = spoiled.raw / entry["file"].removesuffix(".gz")
            if kind not in ("truncated_gzip", "wrong_file_name"):
                good = spoiled.raw / (entry["file"] + ".gz")
            if kind != "wrong_file_name":
                assert raw_rows(good)
                assert good.stat().st_mtime > path.stat().st_mtime
                with pytest.raises(Exception):  # noqa: B017, PT011
                    raw_rows(path)
        elif entry["outcome"] == "accepted":
            assert raw_rows(path)
    skipped, corrected = by_kind["repeated"], by_kind["corrected"]
    original = spoiled.raw / skipped["branch"] / str(YEAR) / Path(skipped["file"]).name
    assert original.read_bytes() == (spoiled.raw / skipped["file"]).read_bytes()
    assert corrected["outcome"] == "accepted"
    first = spoiled.raw / corrected["branch"] / str(YEAR) / Path(corrected["file"]).name
    assert first.stat().st_mtime < (spoiled.raw / corrected["file"]).stat().st_mtime
    personal = spoiled.raw / by_kind["personal_columns"]["file"]
    assert personal.suffix == ".xlsx" or "Kanarie" in personal.read_bytes().decode("cp1252")


def test_next_year_delivers_what_was_under_way(small: Simulated, tmp_path: Path) -> None:
    summary = simulate(YEAR + 1, tmp_path / "raw", small.reference, continues=True, truth=tmp_path / "truth.json")
    register = Register.read(small.reference)
    rows = read_all(tmp_path / "raw", set(), set())
    before = {key: state for key, (state, _) in count_legs(small.rows, register).items()}
    now = count_legs(rows, register)
    carried = [key for key, (state, _) in now.items() if key in before and state == "delivered"]
    assert carried
    assert {before[key] for key in carried} == {"in_transit"}
    # A key is never used for two journeys: whatever both years tell of was under way at the change of the year.
    assert {key for key in now if key in before} == set(carried)
    assert sum(1 for state, row in now.values() if state == "delivered") == summary.deliveries
    assert all(row["received"].date() < date(YEAR + 1, 1, 31) for key, (_, row) in now.items() if key in carried)
    assert summary.deliveries > small.summary.deliveries  # grown from the nearest published year


def test_reference_is_what_decides(tmp_path: Path) -> None:
    """Without published figures and assumptions, for one organisation."""
    reference = tmp_path / "reference"
    reference.mkdir()
    (reference / "branches.csv").write_text(
        "branch,organisation,ils_code,export_format,opened_on,closed_on\np,Q,1,dnb_tsv,,\nr,Q,01,fmb_csv,,\n"
        "s,Q,3,dnb_tsv,2030-01-01,\n",
        encoding="utf-8",
    )
    (reference / "published_figures.csv").write_text("year,kpi,value\n2020,deliveries_total,100\n", encoding="utf-8")
    calls: list[tuple[int, int]] = []
    summary = simulate(2023, tmp_path / "raw", reference, progress=lambda done, total: calls.append((done, total)))
    assert summary.deliveries_by_organisation_pair == {("Q", "Q"): 100}
    assert calls[-1] == (summary.files, summary.files)
    assert not (tmp_path / "raw/s").exists()


@pytest.mark.parametrize(
    ("branches", "published", "message"),
    [
        (BRANCHES.replace("excel", "koha_csv"), PUBLISHED, "row 5.*koha_csv"),
        (BRANCHES.replace("2024-03-30", "30-03-2024"), PUBLISHED, "row 3"),
        (BRANCHES.replace("opened_on", "open"), PUBLISHED, "opened_on"),
        (BRANCHES.splitlines()[0], PUBLISHED, "no branch"),
        (BRANCHES, PUBLISHED.replace("1703", "9999999"), "must lie between"),
        (BRANCHES, PUBLISHED.replace("4001", "many"), "row 2"),
        ("\n".join(BRANCHES.splitlines()[:2]), PUBLISHED, "no two such branches"),
    ],
)
def test_what_cannot_be_simulated_is_said(tmp_path: Path, branches: str, published: str, message: str) -> None:
    reference = write_reference(tmp_path / "reference", branches, published)
    with pytest.raises(SimulationError, match=message):
        simulate(YEAR, tmp_path / "raw", reference)
    assert not (tmp_path / "raw").exists()


def test_truth_does_not_stand_among_the_exports(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    with pytest.raises(SimulationError, match="among the exports"):
        simulate(YEAR, tmp_path / "raw", reference, truth=tmp_path / "raw" / "truth.json")


def test_real_register_meets_the_published_figures(tmp_path: Path) -> None:
    reference = PROJECT / "data/reference"
    summary = simulate(2023, tmp_path / "raw", reference)
    with (reference / "published_figures.csv").open(encoding="utf-8", newline="") as stream:
        published = {row["kpi"]: int(row["value"]) for row in csv.DictReader(stream) if row["year"] == "2023"}
    assert summary.deliveries == published["deliveries_total"]
    assert summary.deliveries_between_organisations == published["deliveries_between_organisations"]
    assert 280_000 <= summary.rows <= 320_000
    assert summary.legs["unconfirmed"] == 0
    # Something is received on both sides of the clock changes of 2023.
    big = next(row for row in Register.read(reference).rows if row["export_format"] == "dnb_tsv")["branch"]
    for day in ("2023-03-24", "2023-03-27", "2023-10-27", "2023-10-30"):
        (path,) = (tmp_path / "raw" / big / "2023").glob(f"*{day}.tsv")
        assert any(str(row["received"]).startswith(day) for row in raw_rows(path))
