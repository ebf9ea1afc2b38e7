"""Personal data planted in every place that an export has, and looked for in every place that pendel writes.

    python bench/canaries.py [ROUNDS] [SEED]

A round writes the exports of a small network, with a canary of its own in each of some hundreds of places: names,
e-mail addresses, citizen service numbers, reader numbers, telephone numbers, postcodes. They go through the real
`pendel nightly` with Prefect, also through nights that go wrong, and all commands that show something. None may be
found in what was printed, in any byte below the warehouse's folder (the morning page and the messages that were kept
are there), in any row of a database there, in a message that arrived, or in a backup, which holds no raw file either.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import http.server
import io
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
from openpyxl.comments import Comment
from openpyxl.packaging.custom import StringProperty
from openpyxl.workbook.defined_name import DefinedName

from pendel.contracts import columns, export_formats
from pendel.places import NOTIFICATIONS

ROOT = Path(__file__).resolve().parent.parent
BRANCHES = """\
branch,name,organisation,municipality,ils_code,export_format,opened_on,closed_on
noord,Noord,X,,0060,fmb_csv,,
oost,Oost,X,,060,dnb_tsv,,
zuid,Zuid,Y,,60,excel,,
"""
OTHER_CODES = BRANCHES.replace(",0060,", ",91,").replace(",060,", ",92,").replace(",60,", ",93,")
MONDAY = dt.date(2024, 3, 4)


FORMS = [re.compile(rb"(?=(q[bcdfghjklmnpqrstvwxz]{9}))"), re.compile(rb"(?=([1-9]{4} [bcdfghjklmnpqrstvwxz]{6}))")]
DIGITS = re.compile(rb"[1-9]{8,}")
"""What the looks of canaries have in common: names, addresses, postcodes; and numbers, in runs of digits."""


@dataclass
class Canaries:
    """Each planted value and where it was planted: every place has its own, so a leak tells where from."""

    rng: random.Random
    planted: dict[str, str] = field(default_factory=dict)

    def word(self) -> str:
        """A word that nothing else contains."""
        return "Q" + "".join(self.rng.choices("bcdfghjklmnpqrstvwxz", k=9))

    def digits(self, count: int) -> str:
        """Digits, none of them zero."""
        return "".join(self.rng.choices("123456789", k=count))

    def citizen_number(self) -> str:
        """Nine digits that pass the eleven test."""
        while True:
            digits = self.digits(8)
            check = sum((9 - at) * int(digit) for at, digit in enumerate(digits)) % 11
            if 0 < check < 10:
                return f"{digits}{check}"

    def new(self, kind: str, where: str) -> str:
        """A value of a kind, planted at `where`."""
        value, found = {
            "name": lambda: (lambda word: (f"{word} Van Dijk", word))(self.word()),
            "mail": lambda: (lambda word: (f"{word.lower()}@post.example", word))(self.word()),
            "citizen": lambda: (lambda number: (number, number))(self.citizen_number()),
            "reader": lambda: (lambda number: (number, number))("2" + self.digits(13)),
            "phone": lambda: (lambda number: (f"+31 6 {number}", number))(self.digits(8)),
            "postcode": lambda: (lambda a, b: (f"{a} {b}", f"{a} {b}"))(self.digits(4), f"{self.word()[1:7].upper()}"),
        }[kind]()
        self.planted[found.lower()] = f"{where} ({kind})"
        return value

    def any(self, where: str) -> str:
        """A value of some kind."""
        return self.new(self.rng.choice(["name", "mail", "citizen", "reader", "phone", "postcode"]), where)

    def seen(self, content: bytes) -> Iterator[str]:
        """Where the canaries in these bytes were planted; the bytes are UTF-8, one byte a sign, or UTF-16."""
        for text in {content, content.replace(b"\0", b"")}:
            lower = text.lower()
            found = {piece.decode() for form in FORMS for piece in form.findall(lower)}
            for run in DIGITS.findall(lower):
                found |= {run[at : at + n].decode() for n in (8, 9, 14) for at in range(len(run) - n + 1)}
            yield from (self.planted[piece] for piece in found & self.planted.keys())


def planted_reference(reference: Path) -> None:
    """A register of three branches."""
    reference.mkdir()
    (reference / "branches.csv").write_text(BRANCHES, encoding="utf-8")
    (reference / "organisations.csv").write_text("organisation,name\nX,Org X\nY,Org Y\n", encoding="utf-8")
    (reference / "published_figures.csv").write_text("year,kpi,value,source\n", encoding="utf-8")
    shutil.copy(ROOT / "data" / "reference" / "parameters.yaml", reference)


def planted_exports(raw: Path, canaries: Canaries) -> None:
    """The exports of one night, with a canary in every place."""
    number = iter(range(1, 100_000))
    codes = {"fmb_csv": "0060", "dnb_tsv": "060", "excel": "60", "koha_csv": ""}

    def row(name: str) -> dict[str, Any]:
        """A sound row."""
        spec, own = export_formats()[name], codes[name]
        other = {"0060": "060", "060": "60", "60": "0060", "": "060"}[own]
        told: Callable[[int, int], str] = lambda day, hour: dt.datetime(2024, 3, day, hour).strftime(  # noqa: E731
            spec.datetime_format
        )
        values = {
            "reservation_id": str(next(number)) if name == "koha_csv" else f"2024-03-01.{next(number):05}",
            "item_barcode": f"B{next(number)}", "material_type": "BOEK", "supplying_branch": own or "60",
            "pickup_branch": other, "status": "T", "close_reason": "0", "requested_at": told(1, 10),
            "shipped_at": told(1, 12), "received_at": "", "collected_at": "", "closed_at": "",
            "changed_at": told(1, 12),
        }  # fmt: skip
        return {title: values[column] for column, title in spec.columns.items()} | (
            {"reason": "Reserve", "comments": canaries.any(f"{name}: comments")} if name == "koha_csv" else {}
        )

    def rows(name: str) -> list[dict[str, Any]]:
        """Sound rows, and for every column and kind one in which it holds a canary; personal and unknown columns."""
        spec = export_formats()[name]
        found = [row(name) for _ in range(400)]
        for column, title in spec.columns.items():
            # a single word or a number can be a sound barcode; a mark of the other columns it cannot be
            kinds = ["name", "mail", "citizen", "phone", "postcode"] + (["reader"] if column != "item_barcode" else [])
            if (name, column) == ("koha_csv", "reservation_id"):
                kinds.remove("citizen")  # nine digits are a sound number of Koha's
            for kind in kinds:
                found.append(row(name) | {title: canaries.new(kind, f"{name}: {column}")})
                sound = str(row(name)[title])
                value = f"{sound} {canaries.new(kind, f'{name}: {column}, behind a sound value')}"
                found.append(row(name) | {title: value})
        extra = [*spec.personal_columns, "Opmerking", canaries.any(f"{name}: header"), ""]
        for one in found:
            one |= {
                title: canaries.any(f"{name}: column {title}") if number_of(found, one) < 3 else "x" for title in extra
            }
        return found

    def number_of(found: list[dict[str, Any]], one: dict[str, Any]) -> int:
        return next(at for at, other in enumerate(found) if other is one)

    def text(name: str, found: list[dict[str, Any]], broken: bool = True) -> str:
        mark = export_formats()[name].delimiter
        lines = [
            mark.join(found[0]),
            *(mark.join(f'"{v}"' if mark in str(v) else str(v) for v in r.values()) for r in found),
        ]
        if broken:
            lines += [
                canaries.any(f"{name}: line of one field"),
                mark.join([*map(str, found[0].values()), canaries.any(f"{name}: a field too many")]),
                mark.join(list(map(str, found[0].values()))[:-3]) + mark + canaries.any(f"{name}: too few fields"),
                mark.join(str(v) for v in found[1].values()) + f'"{canaries.any(f"{name}: quoted")}\nand on"',
                f'"{canaries.any(f"{name}: a quote that never closes")}{mark}',
            ]
        return "\n".join(lines) + "\n"

    def put(path: str, content: bytes) -> None:
        target = raw / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def name_of(format_name: str, day: int) -> str:
        date = MONDAY - dt.timedelta(days=day)
        return {
            "fmb_csv": f"reserveringen_0060_{date:%Y%m%d}.csv", "dnb_tsv": f"060-reservations-{date}.tsv",
            "excel": f"reserveringen 60 {date}.xlsx", "koha_csv": f"transfers_{date}.csv",
        }[format_name]  # fmt: skip

    def compressed(content: bytes, inner: str, where: str) -> bytes:
        book = io.BytesIO()
        with zipfile.ZipFile(book, "w") as archive:
            archive.comment = canaries.any(f"{where}: archive comment").encode()
            info = zipfile.ZipInfo(inner)
            info.comment = canaries.any(f"{where}: member comment").encode()
            archive.writestr(info, content)
        return book.getvalue()

    def workbook(found: list[dict[str, Any]]) -> bytes:
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.title = canaries.new("name", "excel: sheet name")
        sheet.append(list(found[0]))
        for one in found:
            values = [int(v) if str(v).isdigit() and len(str(v)) in (9, 14) else v for v in one.values()]
            sheet.append(values)
        sheet["A2"].comment = Comment(
            canaries.any("excel: cell comment"), canaries.new("name", "excel: comment author")
        )
        sheet["B2"].hyperlink = f"mailto:{canaries.new('mail', 'excel: hyperlink')}"
        sheet.column_dimensions["P"].hidden = True
        sheet.oddHeader.left.text = canaries.any("excel: page header")
        hidden = book.create_sheet(canaries.new("name", "excel: hidden sheet's name"))
        hidden.sheet_state = "hidden"
        hidden.append([canaries.any("excel: hidden sheet")])
        book.properties.creator = canaries.new("name", "excel: creator")
        book.properties.lastModifiedBy = canaries.new("name", "excel: last modified by")
        book.properties.title = canaries.any("excel: title")
        book.properties.description = canaries.any("excel: description")
        book.properties.keywords = canaries.any("excel: keywords")
        book.custom_doc_props.append(StringProperty(name="p", value=canaries.any("excel: custom property")))
        defined = canaries.word()
        canaries.planted[defined.lower()] = "excel: defined name (name)"
        book.defined_names[defined] = DefinedName(
            defined, attr_text=f'"{canaries.any("excel: value of a defined name")}"'
        )
        target = io.BytesIO()
        book.save(target)
        return target.getvalue()

    fmb, dnb = export_formats()["fmb_csv"].encoding, "utf-8"
    put(f"noord/{name_of('fmb_csv', 1)}", text("fmb_csv", rows("fmb_csv")).encode(fmb))
    put(f"oost/{name_of('dnb_tsv', 1)}", b"\xef\xbb\xbf" + text("dnb_tsv", rows("dnb_tsv")).encode(dnb))
    put(f"network/{name_of('koha_csv', 1)}", text("koha_csv", rows("koha_csv"), broken=False).encode())
    put(f"zuid/{name_of('excel', 1)}", workbook(rows("excel")))
    plain = text("fmb_csv", rows("fmb_csv"), broken=False)
    put(f"noord/{canaries.any('folder name')}/{name_of('fmb_csv', 2)}.gz", gzip.compress(plain.encode(fmb)))
    inner = f"{canaries.any('archive: member name')}/{name_of('dnb_tsv', 2)}"
    put("oost/archief.zip", compressed(text("dnb_tsv", rows("dnb_tsv")).encode(), inner, "zip"))
    # files of every reason for rejection, each with a name and rows that tell on somebody
    few = text("fmb_csv", rows("fmb_csv")[:3])
    tell: Callable[[str], str] = lambda reason: f"noord/{canaries.any(f'{reason}: file name')} "  # noqa: E731
    put(f"{tell('unknown name')}.csv", few.encode())
    put(f"{canaries.any('unknown folder')}/{name_of('fmb_csv', 1)}", few.encode())
    put(f"{canaries.any('file in no folder')}.csv", few.encode())
    put(f"noord/{canaries.any('other branch')}/reserveringen_060_20240301.csv", few.encode())
    for at, (reason, content) in enumerate(
        {
            "empty": b"",
            "wrong encoding": few.encode() + canaries.new("name", "wrong encoding").encode() + b"\x81\x8d",
            "binary": few.encode("utf-16"),
            "column missing": few.replace("Status", canaries.any("column missing"), 1).encode(),
            "column twice": few.replace("Naam", "Status", 1).encode(),
            "not parsable": (few + f'"{canaries.any("not parsable")};\n' * 1100).encode(),
        }.items(),
        3,
    ):
        put(f"noord/{canaries.any(f'{reason}: folder name')}/{name_of('fmb_csv', at)}", content)
    put(f"noord/x/{name_of('fmb_csv', 12)}.gz", b"\x1f\x8b" + few.encode())
    put(f"noord/x/{canaries.any('broken archive')}.zip", few.encode())
    two = io.BytesIO()
    with zipfile.ZipFile(two, "w") as archive:
        for _ in range(2):
            archive.writestr(canaries.any("two members"), few)
    put(f"noord/{name_of('fmb_csv', 13)}.zip", two.getvalue())
    put(f"zuid/{name_of('excel', 3)}", few.encode())
    put(f"network/{name_of('koha_csv', 3)}", f"# ERROR {canaries.any('broken export')}\n".encode())
    os.symlink(canaries.any("link target"), raw / "noord" / canaries.any("link"))


def later_exports(raw: Path, canaries: Canaries, day: int, where: str) -> Path:
    """One more export, for a night that goes wrong; its folder and rows tell on somebody."""
    spec = export_formats()["fmb_csv"]
    values = [canaries.new("mail", f"{where}: {column}") for column in columns()]
    folder = raw / "noord" / canaries.any(f"{where}: folder name")
    folder.mkdir()
    path = folder / f"reserveringen_0060_{MONDAY + dt.timedelta(days=day):%Y%m%d}.csv"
    path.write_text(";".join(spec.columns.values()) + "\n" + ";".join(values) + "\n", encoding=spec.encoding)
    return path


FAULTS = {
    "nothing": "",
    "an unreadable file": """
        from pendel import reading
        def unreadable(path, *rest, **named):
            if "{file}" in str(path):
                raise PermissionError(13, "Permission denied", path)
            return open(path, *rest, **named)
        reading.open = unreadable
    """,
    "a file that vanishes": """
        import os
        from pendel import reading
        def vanishing(path, *rest, **named):
            if "{file}" in str(path):
                os.unlink(path)
            return open(path, *rest, **named)
        reading.open = vanishing
    """,
    "an unexpected exception while reading": """
        from pendel import reading
        def unexpected(delivery, content, *rest):
            raise KeyError(content.decode("latin-1"), delivery.file.path)
        reading._csv = unexpected
    """,
    "SQL that fails on a value that came in": """
        from pendel import gates
        gates.judge_rows = lambda con, rules: con.execute("SELECT changed_at_text::DATE FROM delivered").fetchall()
    """,
    "a rule that fails on a value that came in": """
        import dataclasses
        from pendel import bronze, gates
        judge = gates.judge_rows
        gates.judge_rows = lambda con, rules: judge(
            con, [dataclasses.replace(rule, where="changed_at_text::DATE IS NULL") for rule in rules])
    """,
    "an unexpected exception while storing": """
        from pendel import bronze
        def unexpected(con, run, results):
            raise ValueError(str(con.execute("SELECT * FROM delivered").fetchall()))
        bronze._check_sums = unexpected
    """,
    "a run killed while storing": """
        import os
        from pendel import bronze
        bronze._check_sums = lambda *given: os._exit(9)
    """,
    "a run killed while building": """
        import os
        from pendel import building
        create = building.create_models
        def killed(*given, **named):
            create(*given, **named)
            os._exit(9)
        building.create_models = killed
    """,
}
"""What goes wrong in a night, as Python that is run before the command line."""


def run(rounds: int, seed: int) -> dict[str, Any]:
    """Rounds of nights; what was planted, what was searched, and the leaks: where a canary came from, and was found."""
    leaks: list[str] = []
    places = searched = 0
    for at in range(rounds):
        with tempfile.TemporaryDirectory(prefix="pendel-canaries-") as folder:
            canaries = Canaries(random.Random(seed + at))
            # a night that goes well, then two that do not; four rounds go through all that can go wrong
            well, *wrong = FAULTS
            chosen = [well, *(wrong[(2 * at + step) % len(wrong)] for step in (0, 1))]
            faults = {name: FAULTS[name] for name in chosen}
            found, size = round_of(Path(folder), canaries, faults)
            leaks += found
            places += len(canaries.planted)
            searched += size
    return {"rounds": rounds, "cases": places, "bytes_searched": searched, "failures": sorted(set(leaks))}


def round_of(folder: Path, canaries: Canaries, faults: dict[str, str]) -> tuple[list[str], int]:
    """One installation: a planted night, the faults, a night that is held back; leaks, and the bytes searched."""
    with listening() as (address, heard):
        return _round_of(folder, canaries, faults, address, heard)


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """Take messages on a port of this machine: its address as apprise knows it, and what arrives there."""
    heard: list[bytes] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"json://127.0.0.1:{server.server_address[1]}", heard
        finally:
            server.shutdown()
            thread.join()


def _round_of(
    folder: Path, canaries: Canaries, faults: dict[str, str], address: str, heard: list[bytes]
) -> tuple[list[str], int]:
    raw, reference, home = folder / "raw", folder / "reference", folder / "warehouse"
    raw.mkdir()
    planted_reference(reference)
    planted_exports(raw, canaries)
    (reference / NOTIFICATIONS).write_text(
        "recipients:\n  - {name: team, address_from: WHO_IS_TOLD, also_when_fine: true}\n", encoding="utf-8"
    )
    said: dict[str, bytes] = {}
    leaks: list[str] = []
    searched = 0

    def pendel(what: str, *arguments: str, before: str = "", exits: tuple[int, ...] = (0,)) -> None:
        places = "--raw", str(raw), "--reference", str(reference), "--warehouse", str(home)
        done = run_pendel(before, *arguments, *places, WHO_IS_TOLD=address)
        said[f"printed by {what}: pendel {arguments[0]}"] = done.stdout + done.stderr
        if done.returncode not in exits:
            leaks.append(f"{what}: pendel {arguments[0]} ended with {done.returncode}")

    def look(what: str) -> None:
        nonlocal searched
        messages = [("a message", content) for content in heard]
        for where, content in [*said.items(), *messages, *contents(home)]:
            searched += len(content)
            leaks.extend(f"{what}: {source} in {where}" for source in canaries.seen(content))
        if what in ("nothing", "held back"):
            for name in ("site/index.html", "site/zoeklijsten.html", "messages.jsonl"):
                if not (home / name).exists():
                    leaks.append(f"{what}: no {name} is there to be searched")
            if not heard:
                leaks.append(f"{what}: no message arrived that could be searched")
        said.clear()
        heard.clear()

    def look_into_a_backup() -> None:
        nonlocal searched
        pendel("backup", "backup", str(folder / "backup.zip"))
        originals = {hashlib.sha256(path.read_bytes()).hexdigest() for path in raw.rglob("*") if path.is_file()}
        with zipfile.ZipFile(folder / "backup.zip") as archive:
            for name in archive.namelist():
                of_raw = name.startswith("raw") or hashlib.sha256(archive.read(name)).hexdigest() in originals
                if of_raw and archive.getinfo(name).file_size:
                    leaks.append(f"backup: it holds the raw file {name}")
            archive.extractall(folder / "unpacked")
        if not (folder / "unpacked" / "warehouse" / "bronze.duckdb").exists():
            leaks.append("backup: no store is in it")
        for where, content in [*said.items(), *contents(folder / "unpacked")]:
            searched += len(content)
            leaks.extend(f"backup: {source} in {where}" for source in canaries.seen(content))
        said.clear()

    for day, (what, fault) in enumerate(faults.items()):
        path = later_exports(raw, canaries, day, what) if fault else None
        script = "\n".join(line[8:] for line in fault.replace("{file}", path.name if path else "").splitlines())
        night = str(MONDAY + dt.timedelta(days=day + 1))
        pendel(what, "nightly", "--as-of", night, before=script, exits=(0, 1, 9))
        show(pendel, what)
        look(what)
    (reference / "branches.csv").write_text(OTHER_CODES, encoding="utf-8")
    pendel("held back", "nightly", "--as-of", "2024-03-28", exits=(1,))
    show(pendel, "held back")
    look_into_a_backup()
    pendel("purge", "purge", "--older-than", "1d", "--yes")
    look("held back")
    return leaks, searched


def show(pendel: Callable[..., None], what: str) -> None:
    """Every command that shows something."""
    any_way = (0, 1, 2, 3)
    pendel(what, "status", exits=any_way)
    if what not in ("nothing", "held back"):
        return
    pendel(what, "quarantine", exits=any_way)
    for name in ("status", "quarantine"):
        pendel(f"{what} json", name, "--format", "json", exits=any_way)
    pendel(f"{what} figures", "kpi", "--by", "lane", exits=any_way)
    for command in (["lanes"], ["overdue"], ["diff"], ["watch"], ["trace", "deliveries_total", "--year", "2024"]):
        pendel(f"{what} {command[0]}", *command, exits=any_way)
    for at, sql in enumerate(
        [
            "SELECT * FROM quality.quarantined_row",
            "SELECT * FROM quality.file",
            "SELECT item_barcode::INT FROM marts.fct_leg",
        ]
    ):
        pendel(f"{what} {at}", "query", sql, "--format", "csv", exits=any_way)


def run_pendel(before: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """The real command line in a process of its own, after a few lines of Python, with `more` in its environment."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PENDEL_", "PREFECT_"))}
    path = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", f"{before}\nfrom pendel.cli import main\nmain()", *arguments],
        cwd=ROOT, capture_output=True, check=False,
        env={**environment, **more, "PYTHONPATH": path, "PYTHONUTF8": "1", "PENDEL_LANG": "nl", "COLUMNS": "200"},
    )  # fmt: skip


def contents(home: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder: its path, its bytes, and what is compressed in it as text."""
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        yield "the path of a file", name.encode("utf-8", "surrogateescape")
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield name, content
        if content[8:12] == b"DUCK":
            yield f"{name} as tables", duckdb_text(path)
        elif content.startswith(b"SQLite format 3"):
            yield f"{name} as tables", sqlite_text(path)
        elif content.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{name}/{member}", archive.read(member)) for member in archive.namelist())
        elif content.startswith(b"PAR1"):
            with duckdb.connect() as con:
                yield f"{name} as a table", str(con.read_parquet(str(path)).fetchall()).encode()


def duckdb_text(path: Path) -> bytes:
    """All tables of a DuckDB file, of a copy: a run that was killed left a write-ahead log."""
    with tempfile.TemporaryDirectory() as folder:
        for one in (path, Path(f"{path}.wal")):
            if one.exists():
                shutil.copy(one, folder)
        with duckdb.connect(str(Path(folder) / path.name)) as con:
            names = con.execute(
                "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
            ).fetchall()
            return "\n".join(str(con.table(f'"{s}"."{t}"').fetchall()) for s, t in names).encode("utf-8", "replace")


def sqlite_text(path: Path) -> bytes:
    """All tables of a database of Prefect's."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as con:
        names = con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return "\n".join(str(con.execute(f'SELECT * FROM "{name}"').fetchall()) for (name,) in names).encode()


def main() -> None:
    """Print the result; ends with 1 when there was a leak."""
    given = [int(argument) for argument in sys.argv[1:]]
    result = run(*(given + [1, 1][len(given) :]))
    print(json.dumps(result, indent=1))
    sys.exit(bool(result["failures"]))


if __name__ == "__main__":
    main()
