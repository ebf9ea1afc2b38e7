"""Thousands of damaged exports: none stops a night, every row is accounted for, and an independent judge agrees.

    python bench/mutated_files.py 10000 1       rounds, seed

Sound exports of all four formats are damaged in one of many ways, and delivered a few hundred a night. What the product
makes of a night is compared with what `tests/oracle.py` makes of it, which reads with nothing but the standard library
and openpyxl: the verdict and the counts of every file, every held row and its rule, every value of an accepted row that
a figure rests on, and every delivery.
"""

from __future__ import annotations

import csv
import datetime as dt
import functools
import gzip
import io
import os
import random
import re
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import duckdb  # noqa: E402
import openpyxl  # noqa: E402
import xlsxwriter  # noqa: E402

from pendel.places import Places  # noqa: E402
from pendel.simulate import simulate  # noqa: E402
from tests import oracle  # noqa: E402
from tests.pipeline import night, places_in  # noqa: E402

AS_OF = dt.date(2025, 12, 31)
A_NIGHT = 250
"""Files a night: each in a folder of its branch, with an export date of its own."""

MOST_ROWS = 14
"""A sound export is cut to so many rows: damage to it then shows."""

ORGANISATIONS = "organisation,name\nX,Org X\nY,Org Y\n"
BRANCHES = """\
branch,name,organisation,municipality,ils_code,export_format,opened_on,closed_on,latitude,longitude,isil,note
aa,A one,X,,0060,fmb_csv,{open},,,,
ab,A two,X,,060,fmb_csv,{open},,,,
ba,B one,Y,,60,dnb_tsv,{open},,,,
bb,B two,Y,,0601,dnb_tsv,{open},,,,
bc,B three,Y,,7,excel,{open},,,,
"""
PUBLISHED = "year,kpi,value,source\n2024,deliveries_total,1500,none\n2024,deliveries_between_organisations,700,none\n"
NAMES = {
    "aa": "reserveringen_0060_{:%Y%m%d}.csv",
    "ab": "reserveringen_060_{:%Y%m%d}.csv",
    "ba": "60-reservations-{:%Y-%m-%d}.tsv",
    "bb": "0601-reservations-{:%Y-%m-%d}.tsv",
    "bc": "reserveringen 7 {:%Y-%m-%d}.xlsx",
    "network": "transfers_{:%Y-%m-%d}.csv",
}
COLUMNS = (*oracle.TEXT_COLUMNS, *oracle.TIME_COLUMNS)
KOHA = [*oracle.KOHA.values(), "reason", "comments"]

ODD = [
    "", " ", "0", "Z", "O", "Q", "zz", "0060", "060", "60", "0601", "7", "999", "-", "=1+1", "@", "x@y.nl", "111222333",
    "123456789", "2024-03-31 02:30:00", "31-03-2024 02:30", "2024-10-27T02:30:00", "30-02-2024 10:00", "1-1-2024 9:05",
    "2024-04-01T10:00:00Z", "2024-04-01 10:00", "31-12-1999 23:59", "01-01-2030 00:00", "01-01-0023 00:00",
    "03-04-2024  9:05", "24-04-2024 24:00", "2024-04-01.00001", "2024-04-01.1", "a;b", "a,b", "a\tb", "é",
    "€", "\u2028", "\x85",
    "\xa0x\xa0", "\x1f", "'", "NULL", "#N/A", "1e5", "١٢", "Reserve", "Canceled, new transfer",
]  # fmt: skip
"""Values that may stand in any cell."""

Table = list[list[str]]
Mutation = Callable[[random.Random, "Export"], None]


class Export:
    """An export on its way to be damaged: a table, then the bytes made of it."""

    def __init__(self, folder: str, table: Table) -> None:
        self.folder, self.table = folder, [list(line) for line in table]
        self.delimiter = {"a": ";", "b": "\t", "n": ","}[folder[0]]
        self.encoding = "cp1252" if folder[0] == "a" else "utf-8"
        self.is_workbook = folder == "bc"
        self.ending = ""

    def bytes(self) -> bytes:
        """The file as it would be delivered."""
        if self.is_workbook:
            return _workbook(self.table)
        out = io.StringIO()
        csv.writer(out, delimiter=self.delimiter, lineterminator="\n").writerows(self.table)
        return out.getvalue().encode(self.encoding, "replace")


def _workbook(table: Table) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        moment = book.add_format({"num_format": "dd-mm-yyyy hh:mm"})
        for number, line in enumerate(table):
            for column, cell in enumerate(line):
                if re.fullmatch(r"@[0-9]{4}-.*", cell):
                    sheet.write_datetime(number, column, dt.datetime.fromisoformat(cell[1:]), moment)
                elif cell:
                    sheet.write_string(number, column, cell)
    return out.getvalue()


# ------------------------------------------------------------------------------------------- damage to the table


def swap_lines(rng: random.Random, export: Export) -> None:
    """Two lines change places, the header too."""
    one, other = (rng.randrange(len(export.table)) for _ in range(2))
    export.table[one], export.table[other] = export.table[other], export.table[one]


def double_line(rng: random.Random, export: Export) -> None:
    """A line stands there twice."""
    export.table.insert(rng.randrange(len(export.table) + 1), list(rng.choice(export.table)))


def remove_line(rng: random.Random, export: Export) -> None:
    """A line is missing."""
    if len(export.table) > 1:
        del export.table[rng.randrange(len(export.table))]


def rename_column(rng: random.Random, export: Export) -> None:
    """A column bears another name, or one that is there already."""
    header = export.table[0]
    header[rng.randrange(len(header))] = rng.choice(
        ["", "Naam", "x", header[0], header[0].upper(), " Status ", "Status"]
    )


def swap_column_names(rng: random.Random, export: Export) -> None:
    """Two names of the header change places."""
    header = export.table[0]
    one, other = (rng.randrange(len(header)) for _ in range(2))
    header[one], header[other] = header[other], header[one]


def drop_column(rng: random.Random, export: Export) -> None:
    """A column is missing."""
    column = rng.randrange(min(map(len, export.table)) or 1)
    for line in export.table:
        del line[column : column + 1]


def double_column(rng: random.Random, export: Export) -> None:
    """A column stands there twice."""
    column = rng.randrange(len(export.table[0]) or 1)
    for line in export.table:
        line += line[column : column + 1]


def exchange_cells(rng: random.Random, export: Export) -> None:
    """Cells change places."""
    for _ in range(rng.choice([1, 3])):
        one, other = (rng.choice(export.table[1:] or export.table) for _ in range(2))
        i, j = rng.randrange(len(one) or 1), rng.randrange(len(other) or 1)
        if one and other:
            one[i], other[j] = other[j], one[i]


def odd_cells(rng: random.Random, export: Export) -> None:
    """Cells hold something else."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        line = rng.choice(export.table[1:] or export.table)
        if line:
            line[rng.randrange(len(line))] = rng.choice(ODD)


def ragged(rng: random.Random, export: Export) -> None:
    """A line has a field too few or too many."""
    line = rng.choice(export.table)
    if rng.random() < 0.5 and line:
        line.pop()
    else:
        line.append(rng.choice(ODD))


def blank_lines(rng: random.Random, export: Export) -> None:
    """A line without anything."""
    export.table.insert(rng.randrange(len(export.table) + 1), rng.choice([[], [""], [" "], [""] * 5]))


TABLE = [swap_lines, double_line, remove_line, rename_column, swap_column_names, drop_column, double_column,
         exchange_cells, odd_cells, odd_cells, ragged, blank_lines]  # fmt: skip

# ------------------------------------------------------------------------------------------- damage to the bytes


def flip_bytes(rng: random.Random, content: bytes) -> bytes:
    """Some bytes are others."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 10])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def flip_letters(rng: random.Random, content: bytes) -> bytes:
    """Some bytes are others that an export is made of."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 3, 10])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice(b'0123456789;,\t "\n\r-:.AOTZ')
    return bytes(changed)


def cut(rng: random.Random, content: bytes) -> bytes:
    """The beginning or the end is missing."""
    place = rng.randrange(len(content) + 1)
    return rng.choice([content[:place], content[:place], content[place:]])


def remove_piece(rng: random.Random, content: bytes) -> bytes:
    """A piece is missing."""
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.choice([1, 5, 50, 500]) :]


def insert_quotes(rng: random.Random, content: bytes) -> bytes:
    """Quotes stand somewhere."""
    for _ in range(rng.choice([1, 2, 5])):
        place = rng.randrange(len(content) + 1)
        content = content[:place] + b'"' * rng.choice([1, 1, 2, 3]) + content[place:]
    return content


def quote_cells(rng: random.Random, content: bytes) -> bytes:
    """A quote right after a delimiter opens a value."""
    places = [found.end() for found in re.finditer(rb"[;,\t\n]", content)]
    for place in sorted(rng.sample(places, min(len(places), rng.choice([1, 2, 3, 8]))), reverse=True):
        content = content[:place] + b'"' + content[place:]
    return content


def change_delimiter(rng: random.Random, content: bytes) -> bytes:
    """A line, or all, has another delimiter."""
    old, new = rng.choice(b";,\t"), rng.choice(b";,\t|")
    lines = content.split(b"\n")
    chosen = range(len(lines)) if rng.random() < 0.4 else [rng.randrange(len(lines))]
    for number in chosen:
        lines[number] = lines[number].replace(bytes([old]), bytes([new]))
    return b"\n".join(lines)


def mix_encodings(rng: random.Random, content: bytes) -> bytes:
    """A letter in another encoding."""
    place = rng.randrange(len(content) + 1)
    text = rng.choice(["é", "€", "ﬀ", "\u2028", "😀", "Ü"]).encode(
        rng.choice(["utf-8", "utf-8", "utf-16-le", "utf-16"])
    )
    return content[:place] + rng.choice([text, b"\xe9", b"\x80", b"\x81", b"\0", b"\xef\xbb\xbf"]) + content[place:]


def other_encoding(rng: random.Random, content: bytes) -> bytes:
    """All of it in another encoding."""
    if rng.random() < 0.5:
        return b"\xef\xbb\xbf" + content
    return content.decode("latin-1").encode(rng.choice(["utf-8", "utf-16", "utf-16-le", "utf-8-sig", "utf-32"]))


def line_ends(rng: random.Random, content: bytes) -> bytes:
    """Lines end in another way."""
    return content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\n\r", b" \n", b"\x0b", b"\x85", b"\n\n\n"]))


def error_line(rng: random.Random, content: bytes) -> bytes:
    """A report that broke off."""
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice([b"\n# ERROR 1064", b"# ERROR", b"\r# ERROR\r", b"#"]) + content[place:]


TEXT = [flip_bytes, flip_letters, flip_letters, cut, remove_piece, insert_quotes, quote_cells, quote_cells,
        change_delimiter, mix_encodings, other_encoding, line_ends, error_line]  # fmt: skip


def damage_part(rng: random.Random, content: bytes) -> bytes:
    """A part of the workbook is damaged, and zipped again so that its checksum is right."""
    parts = _parts(content)
    name = rng.choice([name for name in parts if name.startswith("xl/") and "theme" not in name])
    parts[name] = rng.choice([flip_bytes, flip_letters, cut, remove_piece])(rng, parts[name])
    return _zip(parts)


def damage_values(rng: random.Random, content: bytes) -> bytes:
    """Numbers between the tags of the sheet and of its texts are changed."""
    parts = _parts(content)
    name = rng.choice(["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"])
    part = bytearray(parts[name])
    places = [found.start(1) for found in re.finditer(rb">[^<]*?([0-9])", bytes(part))]
    for place in rng.sample(places, min(len(places), rng.choice([1, 3, 9]))):
        part[place] = rng.choice(b"0123456789")
    parts[name] = bytes(part)
    return _zip(parts)


def remove_part(rng: random.Random, content: bytes) -> bytes:
    """A part of the workbook is missing."""
    parts = _parts(content)
    del parts[rng.choice(sorted(parts))]
    return _zip(parts)


BOOK = [flip_bytes, cut, remove_piece, damage_part, damage_part, *[damage_values] * 6, remove_part]


def _parts(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(parts: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part, compression)
    return out.getvalue()


def mutated(rng: random.Random, folder: str, table: Table) -> tuple[str, bytes, list[str]]:
    """A damaged export: what comes after its name, its bytes, and what was done to it."""
    export = Export(folder, table)
    done: list[str] = []
    for _ in range(rng.choice([0, 1, 1, 2])):
        mutation = rng.choice(TABLE)
        if export.table and export.table[0]:
            mutation(rng, export)
            done.append(mutation.__name__)
    content = export.bytes()
    for _ in range(rng.choice([0, 1, 1, 2] if done else [1, 1, 2])):
        damage = rng.choice(BOOK if export.is_workbook else TEXT)
        try:
            content = damage(rng, content)
        except Exception:  # what was damaged before cannot be opened to be damaged more
            continue
        done.append(damage.__name__)
    ending = rng.choice(["", "", "", "", "", "", ".gz", ".zip"])
    if ending:
        plain = {"x": content, **({"y": b""} if rng.random() < 0.1 else {})}
        methods = [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        content = gzip.compress(content, mtime=0) if ending == ".gz" else _zip(plain, rng.choice(methods))
        done.append(f"wrap{ending}")
        if rng.random() < 0.5:
            damage = rng.choice([flip_bytes, cut, remove_piece])
            content = damage(rng, content)
            done.append(damage.__name__)
    return ending, content, done


# ------------------------------------------------------------------------------------------- sound exports


@functools.cache
def sound() -> dict[str, list[Table]]:
    """Sound exports by folder: those of a simulated network, and the same journeys as Koha would tell them."""
    found: dict[str, list[Table]] = {folder: [] for folder in NAMES}
    with tempfile.TemporaryDirectory() as name:
        reference = _reference(Path(name) / "reference", "2024-03-18,2024-04-27")
        simulate(2024, Path(name) / "raw", reference, seed=7)
        for path in sorted((Path(name) / "raw").rglob("*.*")):
            folder = path.relative_to(Path(name) / "raw").parts[0]
            found[folder].append(_table(path)[: MOST_ROWS + 1])
    for table in [table for folder in ("ba", "bb") for table in found[folder]]:
        found["network"].append([KOHA, *(_koha(number, line) for number, line in enumerate(table[1:]))])
    return {folder: [table for table in tables if len(table) > 3] for folder, tables in found.items()}


def _table(path: Path) -> Table:
    if path.suffix == ".xlsx":
        sheet = openpyxl.load_workbook(path).worksheets[0]
        return [[_cell(value) for value in line] for line in sheet.iter_rows(values_only=True)]
    with path.open(encoding="cp1252" if path.suffix == ".csv" else "utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=";" if path.suffix == ".csv" else "\t"))


def _cell(value: object) -> str:
    return f"@{value}" if isinstance(value, dt.datetime) else "" if value is None else str(value)


def _koha(number: int, line: list[str]) -> list[str]:
    told = dict(zip(oracle.ENGLISH, line, strict=False))
    row = {
        title: told[name].replace("T", " ") if name.endswith("_at") else told[name]
        for name, title in oracle.KOHA.items()
    }
    row["reserve_id"] = re.sub("[^0-9]", "", told["reservation_id"])[-9:]
    row["datecancelled"] = ""
    row["reason"] = "Manual" if number % 7 == 5 else "Reserve"
    row["comments"] = "Canceled, new transfer requested" if number % 9 == 4 else ""
    return [row[title] for title in KOHA]


def _reference(folder: Path, opened: str = ",") -> Path:
    folder.mkdir(parents=True)
    (folder / "branches.csv").write_text(BRANCHES.replace("{open}", opened), encoding="utf-8")
    (folder / "organisations.csv").write_text(ORGANISATIONS, encoding="utf-8")
    (folder / "published_figures.csv").write_text(PUBLISHED, encoding="utf-8")
    assumptions = ROOT / "data" / "reference" / "simulation.yaml"
    (folder / "simulation.yaml").write_text(assumptions.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def installation(folder: Path) -> Places:
    """An empty installation of the small network."""
    (folder / "warehouse").mkdir(parents=True)
    return places_in(folder, _reference(folder / "reference"))


# ------------------------------------------------------------------------------------------- comparing


def judged(places: Places) -> tuple[dict[str, Any], dict[tuple[str, int], Any], dict[tuple[str, int], str], list[Any]]:
    """What the product made of its files: files, accepted rows, held rows, deliveries."""
    with duckdb.connect(str(places.published), read_only=True) as con:
        con.execute(f"ATTACH '{places.bronze}' AS store (READ_ONLY)")
        files = {
            file: (state, *counts) if state in ("accepted", "partly_accepted") else (state,)
            for file, state, *counts in con.sql(
                "SELECT file, state, rows_read, rows_accepted, rows_quarantined, rows_duplicate, rows_other "
                "FROM quality.file"
            ).fetchall()
        }
        held = {
            (file, row): rule
            for file, row, rule in con.sql("SELECT file, row, rule FROM quality.quarantined_row").fetchall()
        }
        rows = {
            (file, row): tuple(values)
            for file, row, *values in con.sql(
                "SELECT f.path, r.row, reservation_id, status, shipped_at_utc, received_at_utc "
                "FROM store.row AS r "
                "JOIN store.file AS f ON r.file_id = f.file_id ANTI JOIN quality.quarantined_row AS q "
                "ON r.file_id = q.file_id AND r.row = q.row"
            ).fetchall()
        }
        deliveries = con.sql("SELECT delivered_on, supplying_branch, pickup_branch FROM marts.fct_delivery").fetchall()
    return files, rows, held, sorted(deliveries)


def compare(places: Places, reference: Path) -> tuple[list[str], Counter[str]]:
    """Where the product and the independent judge disagree, and what was counted."""
    files, rows, held, deliveries = judged(places)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl tells about what it makes of damaged workbooks
        verdict = oracle.judge(places.raw, reference)
    told: list[str] = []

    def differ(what: str, mine: dict[Any, Any], other: dict[Any, Any]) -> None:
        told.extend(
            f"{what} {key}: product {mine.get(key)}, judge {other.get(key)}"
            for key in sorted({*mine, *other})
            if mine.get(key) != other.get(key)
        )

    differ(
        "file",
        files,
        {
            path: (f.state, f.read, f.accepted, f.quarantined, f.duplicate, f.other_rows)
            if f.state in ("accepted", "partly_accepted")
            else (f.state,)
            for path, f in verdict.files.items()
        },
    )
    differ(
        "held",
        held,
        {(q.file, q.row): q.rule for q in verdict.quarantined if verdict.files[q.file].state != "rejected"},
    )
    differ(
        "row",
        rows,
        {
            (r.file, r.number): (r.reservation_id, r.status, _naive(r.shipped_at), _naive(r.received_at))
            for r in verdict.accepted
        },
    )
    expected = [(one.day, one.supplying_branch, one.pickup_branch) for one in verdict.deliveries]
    differ("deliveries", Counter(deliveries), Counter(expected))
    for path, (_, *counts) in files.items():
        if counts and counts[0] != counts[1] + counts[2] + counts[3]:
            told.append(f"file {path}: rows got lost")
    counted = Counter(state for state, *_ in files.values())
    counted["rows_read"] = sum(counts[0] for _, *counts in files.values() if counts)
    counted["rows_held"] = len(held)
    counted["deliveries"] = len(deliveries)
    return told, counted


def _naive(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.replace(tzinfo=None) if moment else None


def run(rounds: int, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Damage `rounds` exports, take them in, compare. Returns the figures; `disagreements` must be empty.

    `keep`: a folder in which the files about which there is disagreement are left.
    """
    total: Counter[str] = Counter()
    disagreements: list[str] = []
    for number, start in enumerate(range(0, rounds, A_NIGHT)):
        rng = random.Random(f"{seed} {number}")
        with tempfile.TemporaryDirectory() as name:
            places = installation(Path(name))
            done = _deliver(rng, places, min(A_NIGHT, rounds - start))
            night(places, AS_OF)
            told, counted = compare(places, Path(name) / "reference")
            if strict := [found[1] for line in told if (found := re.match(ONLY_THE_JUDGE, line))]:
                # openpyxl refuses what says nothing about rows, such as a colour: without those, once more
                total["refused_by_openpyxl_alone"] += len(strict)
                again = installation(Path(name) / "again")
                shutil.copytree(
                    places.raw, again.raw, dirs_exist_ok=True, ignore=lambda _, names: _without(strict, names)
                )
                night(again, AS_OF)
                told, counted = compare(again, Path(name) / "again" / "reference")
            total.update(counted)
            for line in told:
                path = next((path for path in done if path in line), "")
                disagreements.append(f"{line} (night {number}; {', '.join(done.get(path, []))})")
                if keep and path:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{number}-{path.replace('/', '-')}").write_bytes((places.raw / path).read_bytes())
        total["files"] += len(done)
        total["nights"] += 1
    names = (
        "nights",
        "files",
        "accepted",
        "partly_accepted",
        "rejected",
        "skipped",
        "refused_by_openpyxl_alone",
        "rows_read",
        "rows_held",
        "deliveries",
    )
    return {name: total[name] for name in names} | {"disagreements": disagreements}


ONLY_THE_JUDGE = r"file bc/(.*?): product \('(?:partly_)?accepted'.*judge \('rejected',\)"


def _without(strict: list[str], names: list[str]) -> list[str]:
    return [name for name in names if name in strict]


def _deliver(rng: random.Random, places: Places, count: int) -> dict[str, list[str]]:
    """Put damaged exports in the raw folder; what was done to each, by path."""
    done: dict[str, list[str]] = {}
    days: Counter[str] = Counter()
    for number in range(count):
        folder = rng.choice(["aa", "aa", "ab", "ba", "bb", "bb", "bc", "bc", "network", "network"])
        ending, content, what = mutated(rng, folder, rng.choice(sound()[folder]))
        days[folder] += 1
        path = f"{folder}/{NAMES[folder].format(dt.date(2024, 5, 1) + dt.timedelta(days=days[folder]))}{ending}"
        (places.raw / folder).mkdir(exist_ok=True)
        (places.raw / path).write_bytes(content)
        os.utime(places.raw / path, (1_720_000_000 + number, 1_720_000_000 + number))
        done[path] = what
    return done


def main() -> None:
    """Print the figures; exit code 1 when there is disagreement."""
    rounds, seed = (int(word) for word in (*sys.argv[1:3], "10000", "1")[:2]) if len(sys.argv) > 2 else (10_000, 1)
    told = run(rounds, seed, Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    for name, value in told.items():
        if name != "disagreements":
            print(f"{name:28}{value:10,}")
    print(f"{'disagreements':28}{len(told['disagreements']):10,}")
    print("\n".join(told["disagreements"]))
    sys.exit(bool(told["disagreements"]))


if __name__ == "__main__":
    main()
