"""From raw files to figures, by the command line, for a network that the product has never heard of.

What comes out is compared with what was planted by hand and with what the independent judge says of the same files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests import oracle, othernetwork

ROOT = Path(__file__).resolve().parent.parent
AS_OF = "2024-02-01"
YEARS = (2022, 2023, 2024)


@dataclass
class Product:
    """The product as its users meet it: a command line and a folder."""

    raw: Path
    reference: Path
    home: Path
    said: list[bytes] = field(default_factory=list)
    delivered: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse"

    def run(self, *command: str, exits: tuple[int, ...] = (0,)) -> str:
        folders = ["--raw", str(self.raw), "--reference", str(self.reference), "--warehouse", str(self.warehouse)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PENDEL_", "PREFECT_"))}
        done = subprocess.run(
            [sys.executable, "-m", "pendel.cli", *command, *folders],
            cwd=ROOT,
            env={**environment, "COLUMNS": "160", "PREFECT_HOME": str(self.home / "prefect"), "PYTHONUTF8": "1"},
            capture_output=True,
            timeout=600,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
        told = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        assert done.returncode in exits, (command, done.returncode, *told)
        assert "Traceback" not in told[1], told[1]
        return told[0]

    def nightly(self, exits: tuple[int, ...] = (0,)) -> None:
        told = self.run("nightly", "--as-of", AS_OF, exits=exits)
        assert str(self.warehouse / "site" / "index.html") in told

    def json(self, *command: str, exits: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self.run(*command, "--format", "json", exits=exits))

    def status(self) -> Any:
        return self.json("status", exits=(0, 1))

    def deliveries(self, by: str, year: int = 2023) -> list[tuple[dict[str, str], int]]:
        told = self.json("kpi", "--year", str(year), "--by", by)
        assert told["year"] == year
        values = [(one["dimension"] or {}, one["value"]) for one in told["kpis"] if one["id"] == "deliveries_total"]
        assert all(type(value) is int for _, value in values), values
        return values

    def total(self, year: int = 2023) -> int:
        [(_, value)] = self.deliveries("total", year)
        return value

    def by_month(self, year: int = 2023) -> dict[str, int]:
        return once((d["month"], value) for d, value in self.deliveries("month", year))

    def by_lane(self) -> dict[tuple[str, str], int]:
        return once(((d["supplying_branch"], d["pickup_branch"]), value) for d, value in self.deliveries("lane"))

    def by_pair(self) -> dict[tuple[str, str], int]:
        return once(
            ((d["supplying_organisation"], d["pickup_organisation"]), value)
            for d, value in self.deliveries("organisation")
        )

    def quarantine(self) -> list[str]:
        """As sorted texts `file row rule`; of a rejected file the reason is free."""
        return listed(
            (item["file"], item["row"], None if item["row"] is None else item["rule"])
            for item in self.json("quarantine")
        )

    def everything(self) -> dict[str, Any]:
        status = self.status()
        return {
            "files": status["files"],
            "rows": status["rows"],
            "legs": status["legs"],
            "total": {year: self.total(year) for year in YEARS},
            "month": self.by_month(),
            "lane": self.by_lane(),
            "pair": self.by_pair(),
            "quarantine": self.quarantine(),
        }


def once(pairs: Any) -> dict[Any, int]:
    """A dictionary of what stands there once: a dimension that is told twice is an error."""
    told = list(pairs)
    assert len(dict(told)) == len(told), told
    return dict(told)


def listed(items: Any) -> list[str]:
    return sorted(f"{file} {row} {rule}" for file, row, rule in items)


def with_zeros(months: dict[str, int], year: int) -> dict[str, int]:
    return {f"{year}-{month:02d}": 0 for month in range(1, 13)} | months


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> othernetwork.Planted:
    return othernetwork.build(tmp_path_factory.mktemp("othernetwork"))


@pytest.fixture(scope="module")
def verdict(planted: othernetwork.Planted) -> oracle.Verdict:
    return oracle.judge(planted.raw, planted.reference)


@pytest.fixture(scope="module")
def product(planted: othernetwork.Planted, tmp_path_factory: pytest.TempPathFactory) -> Product:
    product = Product(planted.raw, planted.reference, tmp_path_factory.mktemp("product"))
    product.delivered = snapshot(planted.raw)
    product.nightly()
    return product


def test_the_run_is_published(product: Product) -> None:
    last = product.status()["last_run"]
    assert last["published"] is True
    assert last["held_back_by"] == []


def test_files_and_rows(product: Product, planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    status = product.status()
    assert status["files"] == planted.file_states == verdict.file_states()
    assert status["rows"] == planted.rows == verdict.rows()


def test_quarantine(product: Product, planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    assert product.quarantine() == listed(planted.listed_quarantine)
    assert product.quarantine() == listed(verdict.listed_quarantine())
    branches = {item["file"]: item["branch"] for item in product.json("quarantine") if item["row"] is not None}
    assert branches == {file: planted.files[file].branch for file in branches}


def test_legs(product: Product, planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    assert product.status()["legs"] == planted.leg_states == verdict.leg_states()


@pytest.mark.parametrize("year", YEARS)
def test_total(product: Product, planted: othernetwork.Planted, verdict: oracle.Verdict, year: int) -> None:
    assert product.total(year) == planted.total(year) == verdict.total(year)


@pytest.mark.parametrize("year", YEARS)
def test_by_month(product: Product, planted: othernetwork.Planted, verdict: oracle.Verdict, year: int) -> None:
    assert with_zeros(product.by_month(year), year) == planted.by_month(year) == verdict.by_month(year)


def test_by_lane(product: Product, planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    """All lanes, those without a delivery included."""
    assert product.by_lane() == planted.by_lane(2023) == verdict.by_lane(2023)


def test_by_organisation(product: Product, planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    """All ordered pairs, each organisation with itself included."""
    assert product.by_pair() == planted.by_pair(2023) == verdict.by_pair(2023)


def test_the_parts_have_key_figures_of_their_own(product: Product, planted: othernetwork.Planted) -> None:
    told = product.json("kpi", "--year", "2023", "--by", "total")["kpis"]
    values = once((one["id"], one["value"]) for one in told)
    pairs = planted.by_pair(2023)
    for (supplier, pickup), count in pairs.items():
        if supplier != pickup:
            assert values[f"deliveries_{supplier.lower()}_to_{pickup.lower()}"] == count
        else:
            assert values[f"deliveries_within_{supplier.lower()}"] == count
    between = sum(count for (supplier, pickup), count in pairs.items() if supplier != pickup)
    assert values["deliveries_between_organisations"] == between


def test_the_published_figures_stand_beside_them(product: Product, planted: othernetwork.Planted) -> None:
    told = product.json("kpi", "--year", "2023", "--by", "total")["kpis"]
    [total] = [one for one in told if one["id"] == "deliveries_total"]
    assert (total["published"], total["difference"]) == (planted.total(2023), 0)


def test_raw_files_are_left_alone(product: Product) -> None:
    assert snapshot(product.raw) == product.delivered


def test_another_night_changes_nothing(product: Product) -> None:
    before = product.everything()
    product.nightly()
    assert product.everything() == before


def test_two_deliveries_tell_the_same_as_one_and_raw_can_go(
    product: Product, planted: othernetwork.Planted, tmp_path: Path
) -> None:
    """Half of the files on one evening, the rest on another; then nothing is left of them but the figures."""
    slow = Product(tmp_path / "raw", planted.reference, tmp_path / "product")
    files = sorted((path for path in planted.raw.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime)
    half = files[len(files) // 2].stat().st_mtime
    for evening in ([p for p in files if p.stat().st_mtime < half], [p for p in files if p.stat().st_mtime >= half]):
        for path in evening:
            target = slow.raw / path.relative_to(planted.raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        slow.nightly(exits=(0, 1))
    expected = product.everything()
    assert slow.everything() == expected
    shutil.rmtree(slow.raw)
    slow.raw.mkdir()
    slow.nightly()
    assert slow.everything() == expected


def test_no_personal_data_anywhere(product: Product, planted: othernetwork.Planted) -> None:
    """Neither in the bytes of any file nor, uncompressed, in any table, nor in what was said."""
    for by in ("total", "organisation", "branch", "lane", "month"):
        product.run("kpi", "--year", "2023", "--by", by, "--format", "table")
    product.run("status", "--format", "table", exits=(0, 1))
    product.run("quarantine", "--format", "table")
    product.run("quarantine", "--format", "json")

    places = {f"output {number}": content for number, content in enumerate(product.said)}
    for path in product.home.rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes()
            if path.suffix == ".duckdb":
                places |= {f"{path} {table}": text for table, text in tables(path).items()}
            if path.suffix == ".parquet":
                places[f"{path} as text"] = rows_as_text(duckdb.connect(), f"read_parquet('{path.as_posix()}')")
    found = [
        (canary, place)
        for place, content in places.items()
        for canary in planted.canaries
        if any(canary.encode(encoding) in content for encoding in ("utf-8", "cp1252", "utf-16-le"))
    ]
    assert found == []


def tables(path: Path) -> dict[str, bytes]:
    """Every relation of a database as text: inside the file strings may be compressed."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema <> 'information_schema'"
        ).fetchall()
        return {f"{schema}.{name}": rows_as_text(connection, f'"{schema}"."{name}"') for schema, name in names}


def rows_as_text(connection: duckdb.DuckDBPyConnection, relation: str) -> bytes:
    rows = connection.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {relation}").fetchall()
    return "\n".join(str(value) for row in rows for value in row if value is not None).encode()
