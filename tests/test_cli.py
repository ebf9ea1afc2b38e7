"""The command line as a user meets it: what it prints, in which language, and how it ends."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import openpyxl
import pytest

from pendel import cli, figures, present, words
from pendel.places import Busy, Places
from pendel.simulate import simulate
from tests.pipeline import night, places_in

PROJECT = Path(__file__).resolve().parent.parent
YEAR = 2023
COMMANDS = [
    "", "demo", "nightly", "serve", "watch", "install-service", "rebuild", "kpi", "lanes", "overdue", "forecast",
    "status", "quarantine", "trace", "query", "diff", "close-year", "simulate", "purge", "backup", "restore",
]  # fmt: skip
BRANCHES = """\
branch,name,organisation,municipality,ils_code,export_format,opened_on,closed_on,latitude,longitude,isil,note
noord,Noord,X,,0060,fmb_csv,,,,,,
oost,Oost,X,,060,dnb_tsv,,,,,,
zuid,Zuid,Y,,60,dnb_tsv,,,,,,
"""
PUBLISHED = (
    f"year,kpi,value,source\n{YEAR},deliveries_total,1401,none\n{YEAR},deliveries_between_organisations,502,none\n"
)
HEADER = (
    "Reserveringsnummer;Exemplaarnummer;Materiaalsoort;Leverende vestiging;Afhaalvestiging;Status;Afsluitreden;"
    "Geplaatst op;Verzonden op;Ontvangen op;Uitgeleend op;Afgesloten op;Gewijzigd op"
)
GOOD = "2024-01-02.00001;00123;BOEK;060;0060;A;0;02-01-2024 10:00;;;;;02-01-2024 10:00"
BAD = "2024-01-02.00002;00124;BOEK;060;0060;Q;0;02-01-2024 10:00;;;;;02-01-2024 10:00"


@dataclass
class Done:
    """How a command ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode("utf-8")

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Pendel = Callable[..., Done]


@pytest.fixture
def pendel(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Pendel:
    """Run the command line in this process, in Dutch unless asked otherwise."""
    for name in ("HOME", "RAW", "REFERENCE", "WAREHOUSE"):
        monkeypatch.delenv(f"PENDEL_{name}", raising=False)
    monkeypatch.setenv("PENDEL_LANG", "nl")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LANGUAGE", os.environ.get("LANGUAGE", ""))
    monkeypatch.setattr(words, "_language", words.language())
    monkeypatch.setattr(cli, "atexit", SimpleNamespace(register=lambda function: None))

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["pendel", *map(str, arguments)])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        written = capsysbinary.readouterr()
        return Done(code, written.out, written.err.decode("utf-8"))

    return run


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENDEL_")}
    environment |= {"PENDEL_LANG": "nl", "PYTHONUTF8": "1", "COLUMNS": "160"}
    command = [sys.executable, "-m", "pendel.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=PROJECT, **options
    )


def write_result(places: Places, as_of: date, summary: dict[str, Any], **told: Any) -> None:
    """What flows/nightly.py writes of a run."""
    day = as_of.isoformat()
    told = {"published": True, "finished_at": f"{day}T02:01:00Z", "summary": summary} | told
    figures.RunResult(f"{day}-run", f"{day}T02:00:00Z", day, **told).write(places)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A small network, simulated, taken in and published: all is well."""
    folder = tmp_path_factory.mktemp("network")
    reference = folder / "reference"
    reference.mkdir()
    (reference / "branches.csv").write_text(BRANCHES, encoding="utf-8")
    (reference / "organisations.csv").write_text("organisation,name\nX,Org X\nY,Org Y\n", encoding="utf-8")
    (reference / "published_figures.csv").write_text(PUBLISHED, encoding="utf-8")
    for name in ("parameters.yaml", "simulation.yaml"):
        shutil.copy(PROJECT / "data" / "reference" / name, reference)
    places = places_in(folder, reference)
    simulate(YEAR, places.raw, places.reference)
    as_of = date(YEAR + 1, 1, 1)
    write_result(places, as_of, night(places, as_of))
    return places


@pytest.fixture(scope="session")
def spoiled(network: Places, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """The night after: one row is held, one file is rejected, two branches delivered nothing."""
    folder = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(network.warehouse, folder / "warehouse")
    shutil.copytree(network.raw, folder / "raw")
    places = places_in(folder, network.reference)
    lines = "\n".join((HEADER, GOOD, BAD, ""))
    (places.raw / "noord" / "reserveringen_0060_20240102.csv").write_text(lines, encoding="cp1252")
    (places.raw / "noord" / "lijst.csv").write_text(HEADER, encoding="cp1252")
    as_of = date(YEAR + 1, 1, 3)
    write_result(places, as_of, night(places, as_of))
    return places


def at(places: Places) -> list[object]:
    return ["--raw", places.raw, "--reference", places.reference, "--warehouse", places.warehouse]


# --- help ---


def names() -> set[str]:
    """The words that stay as they are in every language: commands, options, choices, and what they are about."""
    found = {"pendel", "HOME", "Prefect", "SQL", "KPI", "data", "warehouse", "d", "h", "x", "id", "quality", "run"}
    found |= {"Linux", "Windows", "Excel", "systemd", "PREFECT", "API", "URL"}
    for command in (cli.cli, *cli.cli.commands.values()):
        found |= set(str(command.name).split("-"))
        for parameter in command.get_params(cli.cli.make_context("pendel", [], resilient_parsing=True)):
            found |= {word for option in parameter.opts for word in option.strip("-").split("-")}
            if isinstance(parameter.type, click.Choice):
                found |= set(parameter.type.choices)
    return found


ALSO_DUTCH = {"band", "code", "norm", "trend", "en", "in", "is", "late", "machine", "of", "parameters", "project",
              "register", "server", "zip"}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_in_both_languages(command: str, pendel: Pendel) -> None:
    arguments = [command] if command else []
    asked = {lang: pendel(*arguments, "--lang", lang, "--help") for lang in ("nl", "en", "nl")}
    assert all((done.code, done.err) == (0, "") for done in asked.values())
    dutch, english = asked["nl"].out, asked["en"].out
    assert dutch.startswith(f"Gebruik: pendel {command}".strip() + " [OPTIES]")
    assert english.startswith(f"Usage: pendel {command}".strip() + " [OPTIONS]")
    assert "Toon deze uitleg en stop." in dutch
    assert "Show this message and exit." in english
    words_of = {lang: set(re.findall(r"[^\W\d_]+", done.out)) for lang, done in asked.items()}
    assert words_of["nl"] & words_of["en"] - names() <= ALSO_DUTCH
    description = english.split("\nOptions:")[0].splitlines()[1:]
    assert all(re.fullmatch(r"(  \S.*)?", line) and "  " not in line.strip() for line in description)
    assert pendel("--lang", "en", *arguments, "-h").out == english
    assert pendel("--lang", "nl", *arguments, "-h").out == dutch


def test_every_command_is_looked_at() -> None:
    assert COMMANDS[1:] == list(cli.cli.commands)


def test_version(pendel: Pendel) -> None:
    assert re.fullmatch(r"pendel \d+\.\d+\.\d+\n", pendel("--version").out)


# --- usage errors ---

WRONG = [
    ("kpo", "Onbekende opdracht 'kpo'. Misschien bedoeld: 'kpi'.", "No such command 'kpo'."),
    ("kpi --nonsens", "Onbekende optie '--nonsens'.", "No such option '--nonsens'."),
    ("kpi --yearr 1", "Onbekende optie '--yearr'. Misschien bedoeld: '--year'.", "Did you mean '--year'?"),
    ("kpi --ho x", "'--ho'. (Misschien bedoeld: '--help', '--home'.)", "(Did you mean one of: '--help', '--home'?)"),
    ("kpi --year", "Bij optie '--year' hoort een waarde.", "Option '--year' requires an argument."),
    ("kpi --year dit", "Ongeldige waarde voor '--year': 'dit' is geen geheel getal.", "is not a valid integer."),
    ("kpi --month 13", "Ongeldige waarde voor '--month': 13 valt buiten het bereik 1<=x<=12.", "not in the range"),
    (
        "kpi --by dag",
        "'dag' is onbekend; kies uit 'total', 'organisation', 'branch', 'lane', 'month'.",
        "is not one of",
    ),
    ("kpi er bij", "Onverwachte extra argumenten (er bij)", "Got unexpected extra arguments (er bij)"),
    ("query 1 2", "Onverwacht extra argument (2)", "Got unexpected extra argument (2)"),
    ("kpi --home {file}", "'{file}' is een bestand, geen map.", "Directory '{file}' is a file."),
    ("nightly --as-of 31-12-2023", "'31-12-2023' is geen datum van de vorm '%Y-%m-%d'.", "does not match the format"),
    ("simulate --out x", "Ontbrekende optie '--year'.", "Missing option '--year'."),
    ("simulate --imperfections=2", "Bij optie '--imperfections' hoort geen waarde.", "does not take a value."),
]


@pytest.mark.parametrize(("line", "dutch", "english"), WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_use(line: str, dutch: str, english: str, pendel: Pendel) -> None:
    arguments = [part.replace("{file}", __file__) for part in line.split()]
    command = arguments[0] if arguments[0] in COMMANDS else ""
    done = pendel(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Fout: " in done.err
    assert dutch.replace("{file}", __file__) in done.err
    assert not re.search(r"\b(Usage|Error|Try|for help|OPTIONS|ARGS|Invalid|Missing)\b", done.err)
    if "hoort" not in dutch:
        assert f"Zie '{f'pendel {command}'.strip()} --help' voor uitleg." in done.err
    asked = pendel(*arguments, "--lang", "en") if command else pendel("--lang", "en", *arguments)
    if line != "kpi --year":  # takes what follows for its value
        assert asked.code == 2
        assert "Error: " in asked.err
        assert english.replace("{file}", __file__) in asked.err


def test_without_command_the_help(pendel: Pendel) -> None:
    done = pendel()
    assert done.code == 2
    assert "Opdrachten:" in done.err


def test_unknown_language(pendel: Pendel) -> None:
    done = pendel("kpi", "--lang", "fr")
    assert done.code == 2
    assert "'fr' is onbekend; kies uit 'nl', 'en'." in done.err


def test_unknown_language_of_the_machine(pendel: Pendel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENDEL_LANG", "de")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    done = pendel("kpi")
    assert (done.code, done.out) == (2, "")
    assert done.err == "PENDEL_LANG is de; pendel spreekt nl, en. Kies een daarvan, of haal de variabele weg.\n"


def test_wrong_use_in_a_process_of_its_own() -> None:
    done = process("kpi", "--nonsens")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Fout: Onbekende optie '--nonsens'." in done.stderr
    assert "Traceback" not in done.stderr


# --- what a user can mend ---


def test_no_data_ends_with_3(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    done = pendel("kpi", "--year", 1900, *at(network))
    assert (done.code, done.out) == (3, "")
    assert done.err == "Er zijn geen cijfers van 1900: van die periode is geen aanlevering ingelezen.\n"
    assert pendel("kpi", "--year", 1900, "--month", 2, *at(network)).err.startswith("Er zijn geen cijfers van 1900-02:")
    for command in (["kpi"], ["quarantine"], ["query", "SELECT 1"]):
        done = pendel(*command, "--warehouse", tmp_path)
        assert (done.code, done.out) == (3, "")
        assert done.err == (
            f"{tmp_path.resolve() / 'pendel.duckdb'} is er niet: er is nog niets gepubliceerd. "
            "Start eerst `pendel nightly`.\n"
        )
    assert "Run `pendel nightly` first." in pendel("kpi", "--warehouse", tmp_path, "--lang", "en").err


def test_never_run_asks_for_attention(tmp_path: Path, pendel: Pendel) -> None:
    done = pendel("status", "--warehouse", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"In {tmp_path.resolve()} is nog geen verwerking geweest. Start eerst `pendel nightly`.\n"


def test_busy_ends_with_4(monkeypatch: pytest.MonkeyPatch, pendel: Pendel) -> None:
    def busy(places: Places, as_of: date | None) -> int:
        raise Busy("Another run is busy: it holds {file}. Wait until it is done.", file="x.lock")

    monkeypatch.setattr(cli, "_nightly", busy)
    done = pendel("nightly")
    assert (done.code, done.out) == (4, "")
    assert done.err == "Er is al een verwerking bezig: die houdt x.lock vast. Wacht tot die klaar is.\n"


def test_wrong_folders_end_with_2(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    missing = tmp_path / "missing"
    done = pendel("nightly", *at(network), "--raw", missing, "--warehouse", tmp_path / "warehouse")
    assert done.code == 2
    assert done.err.startswith(f"{missing.resolve()} is geen map. Zet de aanleveringen van de vestigingen daar,")
    assert not (tmp_path / "warehouse").exists()
    done = pendel("nightly", *at(network), "--reference", tmp_path)
    assert done.code == 2
    assert " ontbreekt. Elk netwerk heeft het nodig: zie data/reference/README.md" in done.err
    (tmp_path / "branches.csv").write_text("branch\n", encoding="utf-8")
    (tmp_path / "organisations.csv").write_text("organisation,name\n", encoding="utf-8")
    done = pendel("nightly", *at(network), "--reference", tmp_path)
    assert done.code == 2
    assert re.search(r"branches\.csv: ontbrekende kolom: .*Zet die in de eerste regel\.$", done.err)
    page = network.page.read_text(encoding="utf-8")
    assert re.search(r"<h1>De verwerking kon niet beginnen: .*branches\.csv: ontbrekende kolom: .*</h1>", page)
    done = pendel("demo", *at(network))
    assert done.code == 2
    assert done.err == (
        f"In {network.raw} staan al aanleveringen die niet van een demo zijn. Geef de demo een eigen map met --home.\n"
    )


def test_simulate_tells_what_it_wrote(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    done = pendel("simulate", "--year", YEAR, "--out", tmp_path / "raw", *at(network))
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"aanleveringen van {YEAR} simuleren\n")
    assert re.search(r"^\d{3} gesimuleerde aanleveringen met \d\.\d{3} rijen in ", done.err, re.M)
    assert json.loads((tmp_path / f"raw-truth-{YEAR}.json").read_text(encoding="utf-8"))


# --- light ---


@pytest.mark.parametrize(
    "command",
    [["--help"], ["kpi"], ["status"], ["quarantine"], ["trace", "overdue"], ["query", "SELECT 1"]],
    ids=" ".join,
)
def test_starts_without_prefect_and_great_expectations(command: list[str], network: Places) -> None:
    script = (
        "import sys\nfrom pendel.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    arguments = command if command == ["--help"] else [*command, *map(str, at(network))]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, encoding="utf-8", cwd=PROJECT
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    assert {"click", "pendel"} <= loaded
    heavy = {"prefect", "great_expectations", "flows", "sqlalchemy", "pandas", "pyarrow"}
    assert loaded & heavy == set()
    if command == ["--help"]:
        assert loaded & {"rich", "babel", "yaml", "numpy"} == set()


# --- key figures ---

DIMENSIONS: dict[str, list[str]] = {
    "total": [],
    "organisation": ["supplying_organisation", "pickup_organisation"],
    "branch": ["branch"],
    "lane": ["supplying_branch", "pickup_branch"],
    "month": ["month"],
}


@pytest.mark.parametrize("by", DIMENSIONS)
def test_figures_as_json(by: str, network: Places, pendel: Pendel) -> None:
    done = pendel("kpi", "--year", YEAR, "--by", by, "--format", "json", *at(network))
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert list(found) == ["year", "generated_at", "kpis", "simulated", "exports_from"]
    assert (found["simulated"], found["exports_from"]) == (False, None)
    assert found["year"] == YEAR
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["generated_at"])
    for item in found["kpis"]:
        assert list(item) == [
            "id", "dimension", "value", "unit", "label", "completeness", "published", "difference"
        ]  # fmt: skip
        assert list(item["dimension"]) == DIMENSIONS[by]
        assert set(item["label"]) == {"nl", "en"}
        assert item["completeness"] == 1
        counts = [item[name] for name in ("value", "published", "difference") if item[name] is not None]
        if item["unit"] in ("reservations", "balance"):
            assert all(type(count) is int for count in counts)
        else:
            assert all(type(count) in (int, float) for count in counts)
    total = [item for item in found["kpis"] if item["id"] == "deliveries_total"]
    assert sum(item["value"] for item in total) == 1401
    if by == "total":
        assert [(item["published"], item["difference"]) for item in total] == [(1401, 0)]
    else:
        assert {item["published"] for item in total} == {None}
        parts = [tuple(item["dimension"].values()) for item in total]
        lanes = {(a, b) for a in ("noord", "oost", "zuid") for b in ("noord", "oost", "zuid") if a != b}
        assert len(parts) == len(set(parts))
        assert (
            set(parts)
            == {
                "organisation": {("X", "X"), ("X", "Y"), ("Y", "X"), ("Y", "Y")},
                "branch": {("noord",), ("oost",), ("zuid",)},
                "lane": lanes,
                "month": {(f"{YEAR}-{month:02}",) for month in range(1, 13)},
            }[by]
        )
    assert pendel("kpi", "--by", by, "--format", "json", "--lang", "en", *at(network)).json["kpis"] == found["kpis"]


def test_figures_of_one_month(network: Places, pendel: Pendel) -> None:
    found = pendel("kpi", "--year", YEAR, "--month", 5, "--format", "json", *at(network)).json
    by_month = pendel("kpi", "--year", YEAR, "--by", "month", "--format", "json", *at(network)).json
    assert (found["year"], found["month"]) == (YEAR, 5)
    may = {item["id"]: item["value"] for item in by_month["kpis"] if item["dimension"]["month"] == f"{YEAR}-05"}
    assert {item["id"]: item["value"] for item in found["kpis"]} == may


def test_figures_as_a_table(network: Places, pendel: Pendel) -> None:
    done = pendel("kpi", "--year", YEAR, *at(network))
    assert (done.code, done.err) == (0, "")
    lines = [re.split(r" {2,}", line.strip()) for line in done.out.splitlines()]
    assert [f"Kerncijfers van {YEAR}"] in lines
    assert ["kerncijfer", "berekend", "gepubliceerd", "verschil"] in lines
    assert ["Geleverde reserveringen", "1.401", "1.401", "0"] in lines
    english = pendel("kpi", "--year", YEAR, "--lang", "en", *at(network)).out
    assert re.search(r"Delivered reservations +1,401 +1,401 +0 ", english)
    # people read names, programs the codes
    lane = pendel("kpi", "--year", YEAR, "--month", 3, "--by", "lane", *at(network)).out
    assert f"Kerncijfers van maart {YEAR}" in lane
    assert re.search(r"^ +transportlijn ", lane, re.M)
    assert re.search(r"^ +Noord → Zuid +\d+ ", lane, re.M)


@pytest.mark.parametrize("by", DIMENSIONS)
def test_figures_as_csv(by: str, network: Places, pendel: Pendel) -> None:
    asked = ["kpi", "--year", YEAR, "--by", by, *at(network), "--format"]
    items = pendel(*asked, "json").json["kpis"]
    done = pendel(*asked, "csv")
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    fixed = ["value", "unit", "completeness", "published", "difference", "simulated", "exports_from"]
    assert list(rows[0]) == ["year", "id", "label", *DIMENSIONS[by], *fixed]
    assert [row["id"] for row in rows] == [item["id"] for item in items]
    assert [row["label"] for row in rows] == [item["label"]["nl"] for item in items]
    assert [row["value"] for row in rows] == ["" if item["value"] is None else str(item["value"]) for item in items]
    assert [[row[part] for part in DIMENSIONS[by]] for row in rows] == [list(i["dimension"].values()) for i in items]


def test_figures_as_markdown(network: Places, pendel: Pendel) -> None:
    done = pendel("kpi", "--year", YEAR, "--format", "md", *at(network))
    lines = done.out.splitlines()
    assert lines[:3] == [
        "| kerncijfer | berekend | gepubliceerd | verschil |",
        "| --- | ---: | ---: | ---: |",
        "| Geleverde reserveringen | 1.401 | 1.401 | 0 |",
    ]
    assert all(line.count("|") == 5 for line in lines)
    assert any(re.search(r"\| \d+,\d\u00a0% \|", line) for line in lines)
    months = pendel("kpi", "--year", YEAR, "--format", "md", "--by", "month", *at(network)).out
    assert re.search(r"\| Geleverde reserveringen \| januari \| \d+ \| – \| – \|", months)


@pytest.mark.parametrize("by", DIMENSIONS)
def test_figures_as_a_workbook(by: str, network: Places, pendel: Pendel) -> None:
    asked = ["kpi", "--year", YEAR, "--by", by, *at(network), "--format"]
    items = pendel(*asked, "json").json["kpis"]
    done = pendel(*asked, "xlsx")
    assert (done.code, done.err) == (0, "")
    book = openpyxl.load_workbook(io.BytesIO(done.raw))
    assert book.sheetnames == ["Kerncijfers"]
    header, *rows = book["Kerncijfers"].iter_rows()
    column = {cell.value: position for position, cell in enumerate(header)}
    assert len(rows) == len(items)
    for row, item in zip(rows, items, strict=True):
        assert not any(cell.data_type == "f" for cell in row)
        assert row[column["year"]].value == YEAR
        assert row[column["label"]].value == item["label"]["nl"]
        for name in ("value", "published", "difference", "completeness"):
            cell = row[column[name]]
            assert cell.value == item[name]
            assert cell.data_type == "n"


@pytest.mark.parametrize("lang", ["nl", "en"])
@pytest.mark.parametrize("by", DIMENSIONS)
def test_figures_fit_on_a_narrow_screen(
    by: str, lang: str, network: Places, pendel: Pendel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = {"noord": "Biddinghuizen-Noord", "oost": "Oost", "zuid": "Zuid"}
    monkeypatch.setattr(figures, "branch_names", lambda places: long)
    key_figures = figures.key_figures

    def many(*asked: Any) -> dict[str, Any]:
        found = key_figures(*asked)
        for item in found["kpis"]:
            item["value"] = item["value"] and item["value"] + {"reservations": 100_000, "balance": -9000}.get(
                item["unit"], 0
            )
        return found

    monkeypatch.setattr(figures, "key_figures", many)
    table = pendel("kpi", "--year", YEAR, "--by", by, "--lang", lang, *at(network)).out
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80
    heads = re.findall(r"^ (\w[\w ]*): \S", table, re.M)
    assert (len(heads) >= 4) == (by != "total")
    assert by != "branch" or "Biddinghuizen" in table
    head = re.split("─{9}", table)[0]
    for word in {word for text in heads for word in text.split()}:
        assert word in head
    assert re.search(r"10\d[.,]\d{3} ", table)


def test_simulated_figures_say_so_everywhere(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    note = "Deze aanleveringen zijn gesimuleerd"
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / ".simulated").touch()
    for by in DIMENSIONS:
        asked = ["kpi", "--year", YEAR, "--by", by, *at(network), "--raw", raw, "--format"]
        for form in ("table", "md"):
            assert pendel(*asked, form).out.count(note) == 1
            assert note not in pendel(*asked, form, "--raw", network.raw).out
        assert pendel(*asked, "json").json["simulated"] is True
        rows = list(csv.DictReader(io.StringIO(pendel(*asked, "csv").out, newline="")))
        assert {row["simulated"] for row in rows} == {"true"}
    rows = list(csv.DictReader(io.StringIO(pendel(*asked, "csv", "--raw", network.raw).out, newline="")))
    assert {row["simulated"] for row in rows} == {"false"}


def test_a_year_of_which_half_is_told_says_so(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    places = places_in(tmp_path, network.reference)
    for branch in network.raw.iterdir():
        shutil.copytree(branch, places.raw / branch.name, ignore=lambda folder, names: [
            name for name in names if re.search(r"2023-?0[1-5]", name)])  # fmt: skip
    night(places, date(YEAR + 1, 1, 1))
    found = pendel("kpi", "--year", YEAR, "--format", "json", *at(places)).json
    assert found["exports_from"] == f"{YEAR}-06-01"
    # half a year does not pass for a whole one, and yet nobody is asked for the other half
    assert {0.5 < item["completeness"] < 0.6 for item in found["kpis"]} == {True}
    with figures.published(places) as con:
        assert figures.summary(con)["feed"]["missing"] == 0
    assert pendel("kpi", "--year", YEAR, "--month", 6, "--format", "json", *at(places)).json["exports_from"] is None
    assert pendel("kpi", "--year", YEAR, "--month", 5, "--format", "json", *at(places)).json["exports_from"]
    text = f"Er zijn aanleveringen vanaf 01-06-{YEAR}: wat daarvoor geleverd is, telt niet of maar ten dele mee."
    assert text in pendel("kpi", "--year", YEAR, "--by", "month", *at(places)).out
    assert pendel("kpi", "--year", YEAR, "--format", "md", *at(places)).out.endswith(f"\n\n{text}\n")


def test_workbook_on_a_terminal_goes_to_a_file(
    network: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pendel: Pendel
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = pendel("kpi", "--year", YEAR, "--month", 5, "--by", "lane", "--format", "xlsx", *at(network))
    assert (done.code, done.out) == (0, f"Geschreven: pendel-{YEAR}-05-lane.xlsx\n")
    assert openpyxl.load_workbook(tmp_path / f"pendel-{YEAR}-05-lane.xlsx").sheetnames == ["Kerncijfers"]


# --- lanes ---


def test_lanes(network: Places, pendel: Pendel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked = ["lanes", "--year", YEAR, "--month", 5, *at(network)]
    found = pendel(*asked, "--format", "json").json
    assert (found["year"], found["month"], found["norm"], len(found["lanes"])) == (YEAR, 5, 2, 6)
    assert [lane["delivered"] for lane in found["lanes"]] == sorted(
        (lane["delivered"] for lane in found["lanes"]), reverse=True
    )
    assert {(lane["compared_year"], lane["compared_month"]) for lane in found["lanes"]} == {(YEAR, 4)}
    kpis = pendel("kpi", "--year", YEAR, "--month", 5, "--by", "lane", "--format", "json", *at(network)).json["kpis"]
    same = {"deliveries_total": "delivered", "within_transit_norm_pct": "within_transit_norm_pct"}
    for item in kpis:
        (lane,) = [lane for lane in found["lanes"] if item["dimension"].items() <= lane.items()]
        assert item["value"] == lane.get(same.get(item["id"], item["id"]), item["value"])
    done = pendel(*asked)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    assert f"Transportlijnen in mei {YEAR}" in done.out
    assert "vergeleken met april" in " ".join(done.out.split())
    assert re.search(r"^Noord → Zuid +\d+ +[+-]?\d+,\d.% +\d,\d +\d,\d +\d+,\d.% +\d+ +\d+ *$", done.out, re.M)
    rows = list(csv.reader(io.StringIO(pendel(*asked, "--format", "csv").raw.decode("utf-8-sig")), delimiter=";"))
    assert rows[0][:4] == ["year", "month", "supplying_branch", "pickup_branch"]
    assert len(rows) == 7
    assert pendel(*asked, "--format", "md").out.count("→") == 6
    book = openpyxl.load_workbook(io.BytesIO(pendel(*asked, "--format", "xlsx").raw))
    assert [row[6] for row in book["Transportlijnen"].iter_rows(min_row=2, values_only=True)] == [
        lane["delivered"] for lane in found["lanes"]
    ]
    year = pendel("lanes", *at(network))
    assert "geen eerdere periode" in " ".join(year.out.split())
    assert pendel("lanes", "--year", 1900, *at(network)).code == 3


def test_lending_balances(network: Places, pendel: Pendel) -> None:
    asked = ["lanes", "--by", "branch", "--year", YEAR, *at(network)]
    found = pendel(*asked, "--format", "json").json["branches"]
    assert [list(branch) for branch in found] == [["branch", "supplied", "received", "balance"]] * 3
    assert sum(branch["balance"] for branch in found) == 0
    assert [branch["balance"] for branch in found] == sorted((b["balance"] for b in found), reverse=True)
    assert sum(branch["supplied"] for branch in found) == 1401
    for form in ("table", "md"):
        assert re.search(r"alle vestigingen[ |]+1\.401[ |]+1\.401[ |]+0\b", pendel(*asked, "--format", form).out)


# --- search lists ---


@pytest.fixture(scope="session")
def missing(network: Places, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """The year a month before its end, and the exports of one branch of its last ten days not there."""
    folder = tmp_path_factory.mktemp("missing")
    places = places_in(folder, network.reference)
    for path in (path for path in network.raw.rglob("*") if path.is_file()):
        digits = re.sub(r"[^0-9]", "", path.name)[-8:]
        if digits <= f"{YEAR}1130" and not (path.parts[-3] == "zuid" and digits > f"{YEAR}1120"):
            target = places.raw / path.relative_to(network.raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    night(places, date(YEAR, 12, 1))
    return places


def test_search_lists(missing: Places, pendel: Pendel) -> None:
    done = pendel("overdue", "--format", "json", *at(missing))
    assert (done.code, done.err) == (0, "")
    assert done.json["as_of"] == f"{YEAR}-12-01"
    items = done.json["items"]
    assert {"find_at_pickup", "find_at_supplier"} <= {item["task"] for item in items}
    one = [(i["pickup_organisation"], i["reservation_id"]) for i in items if i["task"] == "find_at_pickup"]
    other = [(i["pickup_organisation"], i["reservation_id"]) for i in items if i["task"] == "find_at_supplier"]
    assert sorted(one) == sorted(other)  # both ends look
    for branch, task in {(item["branch"], item["task"]) for item in items}:
        days = [i["waiting_transport_days"] for i in items if (i["branch"], i["task"]) == (branch, task)]
        assert days == sorted(days, reverse=True)
        if task.startswith("find"):
            assert min(days) > 5
    for item in items:
        side = "pickup" if item["task"].startswith(("find_at_pickup", "deliver", "register")) else "supplying"
        assert item["branch"] == item[f"{side}_branch"]
        assert item["supplier_file"].startswith(item["supplying_branch"] + "/")
    mine = pendel("overdue", "--branch", "ZUID", "--format", "json", *at(missing)).json["items"]
    assert mine == [item for item in items if item["branch"] == "zuid"]
    assert mine


def test_search_lists_in_eighty_columns(missing: Places, pendel: Pendel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    items = pendel("overdue", "--branch", "zuid", "--format", "json", *at(missing)).json["items"]
    done = pendel("overdue", "--branch", "zuid", *at(missing))
    assert (done.code, done.err) == (0, "")
    assert f"Zoeklijst van Zuid, 01-12-{YEAR}: {len(items)} exemplaren" in done.out
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = [line.split() for line in lines if re.match(r" *[0-9]+ +[0-9]{8,} ", line)]
    assert [(line[0], line[1]) for line in shown] == [
        (str(item["waiting_transport_days"]), item["item_barcode"]) for item in items
    ]
    assert "Had er al moeten zijn: zoek in de kratten" in done.out
    assert all(item["reservation_id"] in done.out for item in items)
    found = re.findall(r"[0-9]{2}-[0-9]{2}-[0-9]{4} r\. [0-9]+", done.out)
    assert len(found) == sum((i["supplier_row"] is not None) + (i["pickup_row"] is not None) for i in items)
    english = pendel("overdue", "--lang", "en", *at(missing)).out
    assert f"Search list of Zuid, {YEAR}-12-01" in english


def test_search_lists_as_excel_opens_them(missing: Places, pendel: Pendel) -> None:
    items = pendel("overdue", "--format", "json", *at(missing)).json["items"]
    done = pendel("overdue", "--format", "csv", *at(missing))
    assert done.raw.startswith(b"\xef\xbb\xbfvestiging;wat te doen;transportdagen;sinds;exemplaarnummer;")
    rows = list(csv.DictReader(io.StringIO(done.raw.decode("utf-8-sig"), newline=""), delimiter=";"))
    book = openpyxl.load_workbook(io.BytesIO(pendel("overdue", "--format", "xlsx", *at(missing)).raw))
    header, *cells = book["Zoeklijst"].iter_rows(values_only=True)
    assert list(header) == list(rows[0])
    assert len(rows) == len(cells) == len(items)
    for item, row, cell in zip(items, rows, cells, strict=True):
        assert row["exemplaarnummer"] == dict(zip(header, cell, strict=True))["exemplaarnummer"] == item["item_barcode"]
        assert row["sinds"] == "-".join(reversed(item["since"].split("-")))
        assert cell[2:4] == (item["waiting_transport_days"], datetime.fromisoformat(item["since"]))


def test_search_list_of_an_unknown_branch(missing: Places, pendel: Pendel) -> None:
    done = pendel("overdue", "--branch", "west", *at(missing))
    assert (done.code, done.out) == (2, "")
    assert "west staat niet in het register. Wel: noord, oost, zuid." in done.err


def test_excel_takes_no_text_for_a_formula() -> None:
    line = ["=1+1", "+x", "-x", "@x", "a;b", -3, 0.5, -2.25, date(YEAR, 5, 1), None]
    assert present.as_excel_csv(["a"], [line]).decode("utf-8-sig") == (
        f"a\r\n'=1+1;'+x;'-x;'@x;\"a;b\";-3;0,5;-2,25;01-05-{YEAR};\r\n"
    )


# --- status and quarantine ---


def test_status_when_all_is_well(network: Places, pendel: Pendel) -> None:
    done = pendel("status", *at(network))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Gepubliceerd; alle vestigingen hebben aangeleverd, niets staat in quarantaine.")
    assert re.search(r"aanleveringen +(\d+) van de \1 verwachte, 0 te laat", done.out)
    assert re.search(r"Noord +(\d+)/\1 +30-12-2023 +geen", done.out)
    english = pendel("status", "--lang", "en", *at(network))
    assert english.out.startswith("Published; all branches delivered, nothing is held.")
    assert "2023-12-30" in english.out


def test_status_as_json(network: Places, spoiled: Places, pendel: Pendel) -> None:
    fine, attention = (pendel("status", "--format", "json", *at(places)) for places in (network, spoiled))
    assert (fine.code, attention.code) == (0, 1)
    for done in (fine, attention):
        found = done.json
        assert {"last_run", "files", "rows", "legs"} <= set(found)
        assert {"id", "started_at", "published", "held_back_by"} <= set(found["last_run"])
        assert list(found["files"]) == ["accepted", "partly_accepted", "rejected", "superseded", "skipped"]
        assert list(found["rows"]) == ["read", "accepted", "quarantined", "duplicate"]
        assert list(found["legs"]) == [
            "requested", "in_transit", "delivered", "local", "unconfirmed", "cancelled", "superseded"
        ]  # fmt: skip
        for part in ("files", "rows", "legs"):
            assert all(type(count) is int for count in found[part].values())
        rows = found["rows"]
        assert rows["read"] == rows["accepted"] + rows["quarantined"] + rows["duplicate"]
        assert found["last_run"]["held_back_by"] == []
    before, after = fine.json, attention.json
    assert before["legs"]["delivered"] == after["legs"]["delivered"] == 1401
    assert after["files"] == before["files"] | {"partly_accepted": 1, "rejected": 1}
    assert [after["rows"][name] - before["rows"][name] for name in before["rows"]] == [2, 1, 1, 0]


def test_status_tells_what_needs_attention(spoiled: Places, pendel: Pendel) -> None:
    done = pendel("status", *at(spoiled))
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("Gepubliceerd; 3 vestigingen vragen aandacht.")
    assert re.search(r"Noord .* 1 bestand afgekeurd, 1 rij in quarantaine", done.out)
    assert re.search(r"Oost .* 1 aanlevering ontbreekt", done.out)
    assert "Rijen in quarantaine, naar reden (zie `pendel quarantine`):\n  1  De status is onbekend\n" in re.sub(
        r" +\n", "\n", done.out
    )


def test_status_when_held_back(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    well = figures.last_run(network)
    assert well
    places = places_in(tmp_path, network.reference)
    held = ["kpi.value: some check"]
    write_result(places, date(YEAR + 1, 1, 2), well.summary, published=False, held_back_by=held)
    done = pendel("status", *at(places))
    assert done.code == 1
    assert done.out.startswith(
        "De publicatie van 02-01-2024 is tegengehouden; het vorige warehouse blijft gepubliceerd."
    )
    assert f"tegengehouden door: {held[0]}" in done.out
    found = pendel("status", "--format", "json", *at(places))
    assert found.code == 1
    assert (found.json["last_run"]["published"], found.json["last_run"]["held_back_by"]) == (False, held)
    write_result(places, date(YEAR + 1, 1, 3), {}, published=False, error="OSError")
    done = pendel("status", "--warehouse", places.warehouse)
    assert (done.code, done.out) == (1, "")
    assert "er is nog niets gepubliceerd" in done.err


def test_quarantine(spoiled: Places, network: Places, pendel: Pendel) -> None:
    done = pendel("quarantine", "--format", "json", *at(spoiled))
    assert (done.code, done.err) == (0, "")
    found = done.json
    keys = ["branch", "file", "row", "rule", "message", "export_date", "columns", "settled"]
    assert [list(item) for item in found] == [keys] * 2
    by_rule = {item["rule"]: item for item in found}
    assert by_rule["unknown_name"]["row"] is None
    assert by_rule["unknown_name"]["message"].startswith("De bestandsnaam past niet bij het aanleverformaat. Verwacht:")
    held = by_rule["unknown_status"]
    assert (held["branch"], held["row"], type(held["row"])) == ("noord", 3, int)
    assert held["file"].endswith("noord/reserveringen_0060_20240102.csv")
    assert held["message"].startswith("De status is onbekend.")
    assert held["message"].endswith(" (Status: Q)")
    assert held["columns"] == [{"column": "status", "header": "Status", "value": "Q"}]
    assert (held["export_date"], held["settled"]) == ("2024-01-02", False)
    english = pendel("quarantine", "--format", "json", "--lang", "en", *at(spoiled)).json
    assert {item["rule"]: item["message"].split(".")[0] for item in english}[
        "unknown_status"
    ] == "The status is unknown"
    rows = list(csv.DictReader(io.StringIO(pendel("quarantine", "--format", "csv", *at(spoiled)).out)))
    same = [name for name in keys if name not in ("columns", "settled")]
    assert [[row[name] for name in same] for row in rows] == [
        ["" if item[name] is None else str(item[name]) for name in same] for item in found
    ]
    assert [row["settled"] for row in rows] == ["false", "false"]
    table = pendel("quarantine", *at(spoiled))
    assert (table.code, table.err) == (0, "")
    assert table.out.startswith("1 bestand, unknown_name\n") or table.out.startswith("1 rij, unknown_status\n")
    assert "\n    Noord: 1, nieuwste van 02-01-2024\n" in table.out
    assert re.search(r"^ noord/reserveringen_0060_20240102\.csv +3 +De status is onbekend +$", table.out, re.M)
    assert re.search(r"^ +Status: Q +$", table.out, re.M)
    assert re.search(r"^ noord/lijst\.csv +alle +De bestandsnaam past niet ", table.out, re.M)
    assert pendel("quarantine", *at(network)).out == "Er staat niets in quarantaine.\n"
    assert pendel("quarantine", "--format", "json", *at(network)).json == []


def test_quarantine_of_a_branch_rule_or_file(spoiled: Places, pendel: Pendel) -> None:
    def rules(*asked: str) -> list[str]:
        done = pendel("quarantine", *asked, "--format", "json", *at(spoiled))
        assert (done.code, done.err) == (0, "")
        return sorted(item["rule"] for item in done.json)

    assert rules("--branch", "noord") == rules("--branch", "Noord") == ["unknown_name", "unknown_status"]
    assert rules("--branch", "oost") == []
    assert rules("--rule", "unknown_status") == ["unknown_status"]
    assert rules("--rule", "row_shape") == []
    assert rules("--file", "20240102") == ["unknown_status"]
    assert rules("--file", "20240102", "--rule", "unknown_name") == []
    done = pendel("quarantine", "--branch", "west", *at(spoiled))
    assert (done.code, done.err) == (2, "west is geen vestiging. Bekend zijn: noord, oost, zuid.\n")
    done = pendel("quarantine", "--rule", "zero_read_as_o", *at(spoiled))
    assert done.code == 2
    assert done.err.startswith("zero_read_as_o is geen regel. Bekend zijn: row_shape, personal_data,")


def test_quarantine_is_cut_on_the_screen_alone(
    spoiled: Places, pendel: Pendel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "MOST_LINES", 1)
    monkeypatch.setenv("COLUMNS", "80")
    done = pendel("quarantine", *at(spoiled))
    assert max(map(len, done.out.splitlines())) <= 80
    assert "reserveringen_0060" in done.out, "the newest"
    assert "lijst.csv" not in done.out
    assert done.err == "De 1 nieuwste van 2 rijen. Kies met --branch, --rule of --file; alles: --format csv\n"
    assert len(pendel("quarantine", "--format", "json", *at(spoiled)).json) == 2


def test_a_rejected_file_that_was_replaced_needs_nobody(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    places = places_in(tmp_path, network.reference)
    folder = places.raw / "noord"
    folder.mkdir()
    for day in ("20240102", "20240103"):
        (folder / f"reserveringen_0060_{day}.csv").write_text(f"no column of {day}\n", encoding="cp1252")
    night(places, date(2024, 1, 4))
    assert pendel("quarantine", *at(places)).out.startswith("2 bestanden, column_missing\n")
    good = "\n".join((HEADER, GOOD, ""))
    (folder / "reserveringen_0060_20240102.csv").write_text(good, encoding="cp1252")
    night(places, date(2024, 1, 4))
    table = pendel("quarantine", *at(places)).out
    assert table.startswith("1 bestand, column_missing\n")
    assert "1 afgekeurd bestand is vervangen of weggehaald en vraagt niets meer." in table
    assert "reserveringen_0060_20240103.csv" in table
    assert "reserveringen_0060_20240102.csv" not in table
    found = pendel("quarantine", "--format", "json", *at(places)).json
    assert [(item["export_date"], item["settled"]) for item in found] == [("2024-01-02", True), ("2024-01-03", False)]
    again = good.replace("00001", "00002")
    (folder / "again").mkdir()  # in another place: what was rejected still lies there
    (folder / "again" / "reserveringen_0060_20240103.csv").write_text(again, encoding="cp1252")
    night(places, date(2024, 1, 4))
    assert pendel("quarantine", *at(places)).out == (
        "2 afgekeurde bestanden zijn vervangen of weggehaald en vragen niets meer.\n"
    )


# --- queries ---


def test_query(network: Places, pendel: Pendel) -> None:
    sql = "SELECT sum(delivered)::INTEGER AS n, NULL AS leeg FROM marts.agg_lane_day"
    assert pendel("query", sql, "--format", "json", *at(network)).json == [{"n": 1401, "leeg": None}]
    assert pendel("query", sql, "--format", "csv", *at(network)).raw == b"n,leeg\r\n1401,\r\n"
    assert re.search(r"^ +1401 +$", pendel("query", sql, *at(network)).out, re.M)
    formula = pendel("query", "SELECT '=1+1' AS a, -3 AS b", "--format", "csv", *at(network))
    assert formula.raw == b"a,b\r\n'=1+1,-3\r\n"


def test_questions_one_a_line(network: Places) -> None:
    done = process("query", "--warehouse", network.warehouse, input="SELECT 6 * 7 AS n\nSELEC\nSELECT 8 * 9 AS n\n\n")
    assert done.returncode == 0
    assert re.search(r"\b42\b.*\b72\b", done.stdout, re.S)
    assert done.stderr.startswith("DuckDB meldt: Parser Error")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE kpi.mine AS SELECT 1",
        "CREATE OR REPLACE VIEW kpi.value AS SELECT 1",
        "INSERT INTO quality.run SELECT * FROM quality.run",
        "UPDATE kpi.published SET published = 0",
        "DELETE FROM kpi.value",
        "DROP TABLE kpi.value",
        "COPY kpi.value TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{folder}/out.parquet'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/out.duckdb'",
        "ATTACH ':memory:' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{canary}')",
        "SELECT * FROM '{canary}'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT 1; COPY (SELECT 1) TO '{folder}/out.csv'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET enable_external_access",
    ],
)
def test_query_only_reads_the_warehouse(sql: str, network: Places, tmp_path: Path, pendel: Pendel) -> None:
    canary = tmp_path / "canary.csv"
    canary.write_text("geheim,kanarie\n1,2\n", encoding="utf-8")
    before = hashlib.sha256(network.published.read_bytes()).digest()
    done = pendel("query", sql.format(folder=tmp_path, canary=canary), *at(network))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        ("DuckDB meldt: ", "Het gepubliceerde warehouse wordt alleen gelezen", "Dit is meer dan")
    )
    assert "Traceback" not in done.err
    assert "kanarie" not in done.err
    assert "root:" not in done.err
    assert list(tmp_path.iterdir()) == [canary]
    assert hashlib.sha256(network.published.read_bytes()).digest() == before


def test_a_long_answer_is_cut_on_the_screen_alone(network: Places, pendel: Pendel) -> None:
    done = pendel("query", "SELECT i FROM range(1234) AS r (i)", *at(network))
    assert done.code == 0
    assert "De eerste 200 van 1.234 rijen" in done.err
    assert " 199 " in done.out
    assert " 200 " not in done.out
    assert (
        pendel("query", "SELECT i FROM range(1234) AS r (i)", "--format", "csv", *at(network)).out.count("\n") == 1235
    )


# --- forecast ---


def test_forecast_in_every_form(network: Places, monkeypatch: pytest.MonkeyPatch, pendel: Pendel) -> None:
    found = pendel("forecast", *at(network), "--format", "json").json
    assert (found["as_of"], found["by"], found["crates_are"]) == (f"{YEAR + 1}-01-01", "branch", "estimate")
    days = sorted({row["date"] for row in found["forecast"]})
    assert len(days) == 10
    assert len(found["forecast"]) == 10 * 3 * 2
    assert all(row["low"] <= row["items"] <= row["high"] for row in found["forecast"])
    assert {row["scope"] for row in found["backtest"]} >= {"all_lanes", "branch_in", "branch_out", "network"}
    lanes = list(csv.DictReader(pendel("forecast", *at(network), "--by", "lane", "--format", "csv").out.splitlines()))
    assert len(lanes) == 10 * 3 * 2
    of_one = pendel("forecast", *at(network), "--by", "lane", "--branch", "noord", "--format", "json").json["forecast"]
    assert len(of_one) == 10 * 4
    assert all("noord" in (row["supplying_branch"], row["pickup_branch"]) for row in of_one)
    assert len(pendel("forecast", *at(network), "--format", "md").out.splitlines()) == 2 + 10 * 3 * 2
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in ([], ["--branch", "noord"], ["--by", "lane"]):
        shown = pendel("forecast", *at(network), *arguments)
        assert (shown.code, shown.err) == (0, "")
        assert max(map(len, shown.out.splitlines())) <= 80
        assert "Kratten: een schatting, bij 30 exemplaren per krat (aanname)." in shown.out
        assert "Noord" in shown.out


def test_forecast_of_nothing(network: Places, tmp_path: Path, pendel: Pendel) -> None:
    unknown = pendel("forecast", *at(network), "--branch", "west")
    assert (unknown.code, unknown.err) == (2, "Er is geen vestiging west. Bekend zijn: noord, oost, zuid.\n")
    assert pendel("forecast", "--home", tmp_path).code == 3
