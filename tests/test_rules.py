"""The row rules at their boundaries, through a whole night: every row is accepted, held or a duplicate."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pendel import bronze, figures, gates, present, reading, trace
from pendel.contracts import Rule, columns, rules
from pendel.places import Places
from pendel.reference import read_reference
from pendel.words import set_language
from tests import pipeline
from tests.test_reading import DUTCH, ENGLISH, koha_row, text_of, workbook

AS_OF = dt.date(2024, 1, 2)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")

REGISTER = """branch,name,organisation,ils_code,export_format,opened_on,closed_on
noord,Noord,NRD,0060,fmb_csv,,
oost,Oost,NRD,0070,fmb_csv,,2023-03-10
oost,Oost,NRD,0070,fmb_csv,2023-05-10,
eiland,Eiland,NRD,0307,excel,,
zuid,Zuid,ZD,0201,dnb_tsv,,
"""

NOORD = "noord/reserveringen_0060_20231231.csv"
ZUID = "zuid/0201-reservations-2023-12-31.tsv"
EILAND = "eiland/reserveringen 0307 2023-12-31.xlsx"
NETWORK = "network/transfers_2023-12-31.csv"

NAMES = {
    "id": "Reserveringsnummer",
    "item": "Exemplaarnummer",
    "material": "Materiaalsoort",
    "supplier": "Leverende vestiging",
    "pickup": "Afhaalvestiging",
    "status": "Status",
    "reason": "Afsluitreden",
    "requested": "Geplaatst op",
    "shipped": "Verzonden op",
    "received": "Ontvangen op",
    "collected": "Uitgeleend op",
    "closed": "Afgesloten op",
    "changed": "Gewijzigd op",
}
DATES = ("requested", "shipped", "received", "collected", "closed", "changed")


def dutch(number: int = 1, **changed: str) -> dict[str, str]:
    """A sound row of noord's export: it received an item of zuid."""
    sound = {
        "id": f"2023-06-01.{number:05d}",
        "item": f"3000{number:07d}",
        "material": "boek",
        "supplier": "0201",
        "pickup": "0060",
        "status": "O",
        "reason": "",
        "requested": "01-06-2023 10:00",
        "shipped": "02-06-2023 10:00",
        "received": "03-06-2023 10:00",
        "collected": "",
        "closed": "",
        "changed": "03-06-2023 10:00",
    }
    assert set(changed) <= set(sound)
    return {NAMES[name]: value for name, value in (sound | changed).items()}


@dataclass(frozen=True)
class Case:
    """A row, what is expected of it: the rule that holds it (None: it counts), the rules that warn of it."""

    what: str
    changed: dict[str, Any]
    held: str | None = None
    warned: tuple[str, ...] = ()
    file: str = NOORD


def case(what: str, held: str | None = None, warned: str = "", file: str = NOORD, **changed: Any) -> Case:
    return Case(what, changed, held, tuple(warned.split()), file)


NOT_SENT = {"status": "A", "shipped": "", "received": ""}
SENT = {"status": "T", "received": ""}

CASES = [
    case("sound"),
    # row_shape
    case("a field too many", "row_shape", material="boek;x"),
    case("a quote that never closes", "row_shape", material='"boek'),
    # personal_data
    case("an e-mail address", "personal_data", material="j.janssen@example.org"),
    case("an e-mail address among words", "personal_data", item="van <pietje@example.nl>"),
    case("an e-mail address for a status", "personal_data", status="kees@example.nl"),
    case("an at sign alone", material="boek @ home"),
    case("an at sign without a dot", material="boek@home"),
    case("a citizen service number", "personal_data", item="123456782"),
    case("a citizen service number between letters", "personal_data", item="NL111222333B"),
    case("a citizen service number for a branch", "personal_data", supplier="123456782"),
    case("a citizen service number for a reservation", "personal_data", id="123456782"),
    case("nine digits that fail the eleven test", item="123456783"),
    case("ten digits of which nine pass", item="1000000097"),
    case("nine zeros", item="000000000"),
    # reservation_number
    case("five digits", id="2023-06-01.90001"),
    case("six digits", id="2023-06-01.900001"),
    case("four digits", "reservation_number", id="2023-06-01.9001"),
    case("seven digits", "reservation_number", id="2023-06-01.9000001"),
    case("no reservation number", "reservation_number", id=""),
    case("a number without a date", "reservation_number", id="90001"),
    case("a date of loose digits", "reservation_number", id="2023-6-1.90001"),
    case("a reservation number and more", "reservation_number", id="2023-06-01.90001 b"),
    case("the first rule names the row", "reservation_number", id="", status="?", requested="?", pickup="?"),
    # unknown_status
    *(case(f"status {status}", status=status) for status in "OBURZ"),
    case("status A", **NOT_SENT),
    case("status T", **SENT),
    case("status 0 is the letter O", warned="zero_read_as_o", status="0"),
    *(case(f"no status {status}", "unknown_status", status=status) for status in ("o", "X", "00", "OO", "T,", "-")),
    # unknown_close_reason
    *(case(f"reason {code}", status="Z", reason=code) for code in "01456789"),
    *(case(f"no reason {code}", "unknown_close_reason", reason=code) for code in ("2", "3", "01", "10", "x")),
    # unreadable_datetime
    *(case(f"{name} cannot be read", "unreadable_datetime", **{name: "gisteren"}) for name in DATES),
    *(
        case(f"no date-time: {text}", "unreadable_datetime", closed=text)
        for text in (
            "29-02-2023 10:00", "31-06-2023 10:00", "00-06-2023 10:00", "03-13-2023 10:00", "03-06-2023 24:00",
            "03-06-2023 10:60", "03-06-2023", "03-06-2023 10:00:00", "3-6-2023 10:00", "03-06-23 10:00",
            "03-06-2023 9:00", "03-06-2023  10:00", "03/06/2023 10:00", "2023-06-03 10:00", "2023-06-03T10:00:00",
            "@2023-06-03 10:00:00", "10:00", "45080.5", "0",
        )
    ),
    case("29 February of a leap year", requested="29-02-2020 10:00"),
    case("the last minute of a day", closed="03-06-2023 23:59"),
    # needed_column_empty
    *(case(f"no {name}", "needed_column_empty", **{name: ""}) for name in ("status", "pickup", "requested", "changed")),
    case("sent without an item", "needed_column_empty", **SENT, item=""),
    case("sent without a supplier", "needed_column_empty", **SENT, supplier=""),
    case("received without an item", "needed_column_empty", item=""),
    case("a sending date and no item", "needed_column_empty", status="A", received="", item=""),
    case("a receipt and no supplier", "needed_column_empty", status="A", shipped="", supplier=""),
    case("on its way back without an item", "needed_column_empty", status="R", shipped="", received="", item=""),
    case("closed after the receipt without an item", "needed_column_empty", status="Z", reason="1", item=""),
    case("no material type", material=""),
    case("requested without a supplier", **NOT_SENT, item="", supplier=""),
    case("closed before it was sent", **(NOT_SENT | {"status": "Z"}), reason="5", item="", supplier=""),
    # receipt_before_2000
    case("received in 1999", "receipt_before_2000", requested="01-12-1999 10:00", shipped="01-12-1999 10:00",
         received="31-12-1999 23:59"),
    case("received in 2000", requested="01-12-1999 10:00", shipped="01-12-1999 10:00", received="01-01-2000 00:00"),
    # after_export_date: 31-12-2023
    *(
        case(f"{name} the day after", warned=warned, **{name: "01-01-2024 23:59"})
        for name, warned in (("requested", "sent_before_requested"), ("shipped", "received_before_sent"))
    ),
    case("received the day after", shipped="31-12-2023 10:00", received="01-01-2024 23:59"),
    *(
        case(f"{name} two days after", "after_export_date", **{name: "02-01-2024 00:00"})
        for name in ("requested", "shipped", "received")
    ),
    case("changed, collected and closed later", changed="02-01-2024 00:00", collected="02-01-2024 00:00",
         closed="02-01-2024 00:00"),
    # unknown_branch
    *(
        case(f"{code} is no supplier", "unknown_branch", supplier=code)
        for code in ("201", "0201.", "00201", "020", "9999", "zuid", "Jan Janssen")
    ),
    *(case(f"{code} is no pick-up branch", "unknown_branch", pickup=code) for code in ("060", "60", "0061", "NULL")),
    # exporter_not_involved
    case("of two others", "exporter_not_involved", supplier="0201", pickup="0307"),
    case("of another, and no supplier", "exporter_not_involved", **NOT_SENT, item="", supplier="", pickup="0201"),
    case("from its own shelf", supplier="0060"),
    case("supplied", supplier="0060", pickup="0201"),
    # receipt_date_missing
    *(case(f"{status} without a date", "receipt_date_missing", status=status, received="") for status in "OBU"),
    *(case(f"{status} needs no receipt", status=status, received="") for status in "RZ"),
    *(
        case(f"the supplier's {status} needs no date", supplier="0060", pickup="0201", status=status, received="")
        for status in "OBU"
    ),
    # branch_not_open: oost was closed from 11-03 to 09-05-2023
    *(
        case(f"oost on {day}", held, supplier="0070", requested="01-03-2023 10:00", shipped="02-03-2023 10:00",
             received=day)
        for day, held in (
            ("10-03-2023 23:59", None),
            ("11-03-2023 00:00", "branch_not_open"),
            ("09-05-2023 23:59", "branch_not_open"),
            ("10-05-2023 00:00", None),
        )
    ),
    case("to oost while it was closed", "branch_not_open", supplier="0060", pickup="0070", requested="01-03-2023 10:00",
         shipped="02-03-2023 10:00", received="01-04-2023 10:00"),
    case("sent and not received by a branch that is closed", **SENT, supplier="0070", requested="01-03-2023 10:00"),
    # what only warns
    case("received as it was sent", received="02-06-2023 10:00"),
    case("received before it was sent", warned="received_before_sent", received="02-06-2023 09:59"),
    case("received before it was sent by the clock alone", shipped="29-10-2023 02:59", received="29-10-2023 03:00"),
    case("sent as it was requested", shipped="01-06-2023 10:00"),
    case("sent before it was requested", warned="sent_before_requested", shipped="01-06-2023 09:59"),
    case("collected as it was received", status="U", collected="03-06-2023 10:00"),
    case("collected before it was received", warned="collected_before_received", collected="03-06-2023 09:59"),
    case("ninety days in transit", received="31-08-2023 10:00"),
    case("over ninety days in transit", warned="long_in_transit", received="31-08-2023 10:01"),
    case("ninety days and a change of the clock", requested="01-01-2023 10:00", shipped="01-01-2023 10:00",
         received="01-04-2023 11:00"),
    case("over ninety days and a change of the clock", warned="long_in_transit", requested="01-01-2023 10:00",
         shipped="01-01-2023 10:00", received="01-04-2023 11:01"),
    case("in transit without a date", warned="shipped_date_missing", status="T", shipped="", received=""),
    *(
        case(f"the clock: {clock}", warned=warned, requested="01-03-2023 10:00", shipped="01-03-2023 10:00",
             received=clock)
        for clock, warned in (
            ("26-03-2023 01:59", ""),
            ("26-03-2023 02:00", "missing_hour"),
            ("26-03-2023 02:30", "missing_hour"),
            ("26-03-2023 02:59", "missing_hour"),
            ("26-03-2023 03:00", ""),
        )
    ),
    case("the doubled hour", shipped="28-10-2023 10:00", received="29-10-2023 02:30"),
    case("the hour after the doubled one", shipped="28-10-2023 10:00", received="29-10-2023 03:00"),
    case("two warnings", warned="received_before_sent zero_read_as_o", status="0", received="01-06-2023 12:00"),
    case("a held row is not warned of", "reservation_number", id="", received="01-06-2023 12:00"),
    # the other formats
    case("sound", file=ZUID),
    case("a time of another format", "unreadable_datetime", file=ZUID, closed="03-06-2023 10:00:00"),
    case("a time without seconds", "unreadable_datetime", file=ZUID, closed="2023-06-03T10:00"),
    case("a time with a zone", "unreadable_datetime", file=ZUID, closed="2023-06-03T10:00:00Z"),
    case("a leap second", "unreadable_datetime", file=ZUID, closed="2023-06-03T10:00:60"),
    case("seconds", file=ZUID, closed="2023-06-03T10:00:59"),
    case("sound", file=EILAND),
    case("date cells", file=EILAND, received=dt.datetime(2023, 6, 3, 16, 5), closed=dt.datetime(2023, 6, 3)),
    case("a date cell in the missing hour", warned="missing_hour", file=EILAND, requested=dt.datetime(2023, 3, 1),
         shipped=dt.datetime(2023, 3, 2), received=dt.datetime(2023, 3, 26, 2, 30)),
    case("a date cell after the export date", "after_export_date", file=EILAND, received=dt.datetime(2024, 1, 2)),
    case("a time alone", "unreadable_datetime", file=EILAND, closed=(0.5,)),
    case("a code that lost its zero", "unknown_branch", file=EILAND, supplier=201),
    case("a citizen service number as a number", "personal_data", file=EILAND, item=123456782),
    case("sound", file=NETWORK),
    case("only asked for", file=NETWORK, datesent="", datearrived=""),
    case("ten digits", file=NETWORK, reserve_id="1234567890"),
    case("eleven digits", "reservation_number", file=NETWORK, reserve_id="12345678901"),
    case("a reason of its own", file=NETWORK, cancellation_reason="LOST", datecancelled="2023-05-09 10:00:00"),
    case("a date of another format", "unreadable_datetime", file=NETWORK, datesent="02-05-2023 10:00"),
    case("no date of request", "needed_column_empty", file=NETWORK, daterequested=""),
    case("between others is its business", file=NETWORK, frombranch="0307", tobranch="0070", datearrived=""),
    case("a branch it does not know", "unknown_branch", file=NETWORK, frombranch="AA"),
    case("an e-mail address", "personal_data", file=NETWORK, itype="els@example.nl"),
]  # fmt: skip

CANARIES = [
    "j.janssen", "pietje@", "kees@example", "els@example", "123456782", "NL111222333B", "111222333", "Jan Janssen",
    "Truus de Vries", "20184711", "Lief boek", "boek@home", "gisteren",
]  # fmt: skip


def iso(text: str) -> str:
    """A date-time of fmb_csv as dnb_tsv writes it; what is none is left."""
    try:
        return f"{dt.datetime.strptime(text, '%d-%m-%Y %H:%M'):%Y-%m-%dT%H:%M:%S}"
    except ValueError:
        return text


def export(path: str, cases: Sequence[Case]) -> bytes:
    """The cases as an export, from row 2 on; beside them what the contract drops."""
    if path == NETWORK:
        defaults = {"frombranch": "0201", "tobranch": "0060"}
        rows = [koha_row(number, **(defaults | item.changed)) for number, item in enumerate(cases, 1)]
        rows += [koha_row(999, reason="Manual")]
        return text_of([row | {"surname": "Truus de Vries"} for row in rows], ",").encode()
    pickup = {NOORD: "0060", ZUID: "0201", EILAND: "0307"}[path]
    start = {NOORD: 1, ZUID: 301, EILAND: 601}[path]
    supplier = "0060" if path == ZUID else "0201"
    rows = []
    for number, item in enumerate(cases, start):
        row: dict[str, Any] = dict(dutch(number, **({"supplier": supplier, "pickup": pickup} | item.changed)))
        rows.append({"Naam": "Truus de Vries", "Lezernummer": "20184711", "Titel": "Lief boek"} | row)
    if path == EILAND:
        return workbook([list(rows[0]), *(list(row.values()) for row in rows)])
    if path == ZUID:
        english = dict(zip(DUTCH, ENGLISH, strict=True))
        rows = [{english.get(name, name): iso(value) for name, value in row.items()} for row in rows]
        return text_of(rows, "\t").encode()
    return text_of([*rows, rows[0], rows[0]]).encode("cp1252")  # the first row twice more: duplicates


def deliver(places: Places, path: str, content: str | bytes, minute: int = 0) -> None:
    """Put a file in the raw folder, arrived at that minute."""
    target = places.raw / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode("cp1252"))
    arrived = dt.datetime(2024, 1, 1, 1, minute, tzinfo=dt.UTC).timestamp()
    os.utime(target, (arrived, arrived))


def network_in(folder: Path, register: str = REGISTER) -> Places:
    reference = folder / "reference"
    reference.mkdir()
    (reference / "branches.csv").write_text(register, encoding="utf-8")
    (reference / "organisations.csv").write_text("organisation,name\nNRD,Noordelijk\nZD,Zuidelijk\n", encoding="utf-8")
    return pipeline.places_in(folder, reference)


def ask(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as con:
        return con.execute(sql).fetchall()


def by_file(file: str) -> list[Case]:
    return [item for item in CASES if item.file == file]


def place_of(item: Case) -> tuple[str, int]:
    return item.file, by_file(item.file).index(item) + 2


@dataclass(frozen=True)
class Night:
    places: Places
    summary: dict[str, Any]
    held: dict[tuple[str, int], str]
    warned: dict[tuple[str, int], set[str]]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """All cases, taken in in one night."""
    places = network_in(tmp_path_factory.mktemp("rules"))
    for path in (NOORD, ZUID, EILAND, NETWORK):
        deliver(places, path, export(path, by_file(path)))
    summary = pipeline.night(places, AS_OF)
    held = {(f, r): rule for f, r, rule in ask(places.published, "SELECT file, row, rule FROM quality.quarantined_row")}
    warned: dict[tuple[str, int], set[str]] = {}
    for file, row, rule in ask(places.published, "SELECT file, row, rule FROM quality.warning"):
        warned.setdefault((file, row), set()).add(rule)
    return Night(places, summary, held, warned)


@pytest.mark.parametrize("item", CASES, ids=lambda item: f"{item.file.split('/')[0]}: {item.what}")
def test_a_row_is_held_or_warned_of_as_it_should(night: Night, item: Case) -> None:
    assert night.held.get(place_of(item)) == item.held
    assert night.warned.get(place_of(item), set()) == set(item.warned)


def test_every_case_has_a_row_of_its_own() -> None:
    assert len(CASES) == len({place_of(item) for item in CASES})


def test_every_rule_has_a_case() -> None:
    """A new rule without a case of its own is a rule that nobody saw at work."""
    held = {item.held for item in CASES} - {None} | {"dropped_by_correction"}  # seen in tests/test_corrections.py
    assert {rule.rule for rule in rules() if rule.action == "quarantine"} == held
    assert {rule.rule for rule in rules() if rule.action == "warn"} == {rule for item in CASES for rule in item.warned}


def test_the_contract_says_which_columns_a_row_needs() -> None:
    """What `needed` in the contract tells people is what the rules do, as the cases show."""
    for (name, _), column in zip(NAMES.items(), columns().values(), strict=True):
        is_held = any(item.held and item.changed in ({name: ""}, SENT | {name: ""}) for item in CASES)
        may_be_unsent = any(not item.held and item.changed.items() >= (NOT_SENT | {name: ""}).items() for item in CASES)
        needed = "no" if not is_held else "shipped" if may_be_unsent else "always"
        assert column.needed == needed, name


def test_rows_are_conserved(night: Night) -> None:
    sql = "SELECT file, rows_read, rows_accepted, rows_quarantined, rows_duplicate, rows_other, state FROM quality.file"
    found = {file: counts for file, *counts in ask(night.places.published, sql)}
    expected = {}
    for path in (NOORD, ZUID, EILAND, NETWORK):
        held = sum(1 for item in by_file(path) if item.held)
        duplicate = 2 if path == NOORD else 0
        read = len(by_file(path)) + duplicate
        other = 1 if path == NETWORK else 0
        expected[path] = [read, read - held - duplicate, held, duplicate, other, "partly_accepted"]
    assert found == expected
    rows = night.summary["rows"]
    assert rows["read"] == rows["accepted"] + rows["quarantined"] + rows["duplicate"]
    assert rows["quarantined"] == len(night.held)


def test_a_system_that_does_not_say_when_a_row_changed(night: Night) -> None:
    """Its row changed when the last of its dates says."""
    last = "greatest(requested_at, shipped_at, received_at, closed_at)"
    found = ask(
        night.places.bronze,
        f"SELECT changed_at = {last}, {last} = requested_at, {last} = shipped_at, {last} = received_at, "
        f"{last} = closed_at FROM bronze.row JOIN bronze.file USING (file_id) WHERE path = '{NETWORK}'",
    )
    assert all(is_last for is_last, *_ in found)
    assert all(any(row[which] for row in found) for which in range(1, 5)), "each date is the last one of some row"


def test_the_clock_is_read_as_the_contract_says(night: Night) -> None:
    stored = {
        (file, row): (local, utc)
        for file, row, local, utc in ask(
            night.places.bronze,
            "SELECT path, row, received_at, received_at_utc FROM bronze.row JOIN bronze.file USING (file_id)",
        )
    }

    def told(what: str) -> tuple[str, str]:
        found = next(item for item in CASES if item.what == what)
        local, utc = stored[place_of(found)]
        return f"{local:%d %H:%M}", f"{utc:%d %H:%M}"

    assert told("the clock: 26-03-2023 01:59") == ("26 01:59", "26 00:59")
    assert told("the clock: 26-03-2023 02:00") == ("26 03:00", "26 01:00")
    assert told("the clock: 26-03-2023 02:30") == ("26 03:30", "26 01:30")
    assert told("the clock: 26-03-2023 03:00") == ("26 03:00", "26 01:00")
    assert told("a date cell in the missing hour") == ("26 03:30", "26 01:30")
    assert told("the doubled hour") == ("29 02:30", "29 00:30")
    assert told("the hour after the doubled one") == ("29 03:00", "29 02:00")


def test_a_held_row_is_shown_with_its_sound_values(night: Night) -> None:
    item = next(item for item in CASES if item.what == "no reason 10")
    file, row = place_of(item)
    sql = "SELECT reservation_id, supplying_code, pickup_code, received_at FROM quality.quarantined_row "
    assert ask(night.places.published, f"{sql} WHERE file = '{file}' AND row = {row}") == [
        (f"2023-06-01.{row - 1:05d}", "0201", "0060", "03-06-2023 10:00")
    ]


def values_of(database: Path) -> Iterator[str]:
    """Every text of every table."""
    with duckdb.connect(str(database), read_only=True) as con:
        for schema, table in con.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            relation = con.sql(f'SELECT * FROM "{schema}"."{table}"')
            texts = [
                name for name, kind in zip(relation.columns, relation.types, strict=True) if "VARCHAR" in str(kind)
            ]
            for name in texts:
                values = con.execute(f'SELECT DISTINCT "{name}"::VARCHAR FROM "{schema}"."{table}"').fetchall()
                yield from (value for (value,) in values if value is not None)


def test_personal_data_reach_no_table_and_no_byte(night: Night) -> None:
    delivered = b"".join(export(path, by_file(path)) for path in (NOORD, ZUID, NETWORK)).decode("cp1252")
    assert [canary for canary in CANARIES if canary not in delivered] == []
    for database in (night.places.published, night.places.bronze):
        texts = "\n".join(values_of(database))
        assert [canary for canary in CANARIES if canary in texts] == []
    stored = b"".join(path.read_bytes() for path in night.places.warehouse.rglob("*") if path.is_file())
    assert [canary for canary in CANARIES if canary.encode() in stored] == []


# ------------------------------------------------------------------------------------------- the gate


def rules_but(name: str, where: str) -> Callable[[], tuple[Rule, ...]]:
    """The rules of the contract, one of them with another predicate."""
    changed = tuple(dataclasses.replace(rule, where=where) if rule.rule == name else rule for rule in rules())
    return lambda: changed


def test_the_gate_counts_what_the_quarantine_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations counts for every rule what plain SQL counts; a rule it cannot execute stops the run."""
    places = network_in(tmp_path)
    for path in (NOORD, ZUID, EILAND, NETWORK):
        deliver(places, path, export(path, by_file(path)))
    counted: list[tuple[list[bronze.RuleResult], list[bronze.RuleResult]]] = []
    judge_rows = gates.judge_rows

    def judge(con: Any, arrival: Any) -> list[bronze.RuleResult]:
        judged = judge_rows(con, arrival)
        sound = [rule for rule in arrival if "no_such_column" not in rule.where]
        counted.append((judged, pipeline.count_rules(con, sound)))
        return judged

    monkeypatch.setattr(gates, "judge_rows", judge)
    with monkeypatch.context() as broken:
        broken.setattr(bronze, "rules", rules_but("long_in_transit", "no_such_column > 0"))
        with pytest.raises(RuntimeError, match="could not be executed: long_in_transit"):
            pipeline.night(places, AS_OF, checked=True)
    assert not places.published.exists()
    assert ask(places.bronze, "SELECT (SELECT count(*) FROM bronze.file), (SELECT count(*) FROM bronze.row)") == [
        (0, 0)
    ]
    assert [result.rule for result in counted[0][0] if result.count is None] == ["long_in_transit"]

    pipeline.night(places, AS_OF, checked=True)
    assert counted[1][0] == counted[1][1]
    assert places.published.exists()
    held = dict(ask(places.published, "SELECT rule, count(*) FROM quality.quarantined_row GROUP BY rule"))
    for result in counted[1][0]:
        if result.action == "quarantine":
            assert result.count is not None
            assert result.count >= held[result.rule]  # a row that breaks several is held for the first


@pytest.mark.parametrize("where", ["no_such_column > 0", "material_type::INTEGER > 0"])
@pytest.mark.parametrize("name", ["after_export_date", "long_in_transit"])
def test_a_rule_that_cannot_be_executed_stops_the_run_and_quotes_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    """What DuckDB says of a value that it cannot convert quotes the value: it is not what the run may say."""
    places = network_in(tmp_path)
    deliver(places, NOORD, text_of([dutch(1, material="J. Janssen")]))

    def judge(con: Any, arrival: Any) -> list[bronze.RuleResult]:
        results = []
        for rule in arrival:
            try:
                results += pipeline_count(con, [rule])
            except duckdb.Error as error:
                results.append(bronze.RuleResult(rule.rule, rule.action, None, type(error).__name__))
        return results

    pipeline_count = pipeline.count_rules
    monkeypatch.setattr(pipeline, "count_rules", judge)
    monkeypatch.setattr(bronze, "rules", rules_but(name, where))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is looked at below
        pipeline.night(places, AS_OF)
    assert ask(places.bronze, "SELECT (SELECT count(*) FROM bronze.file), (SELECT count(*) FROM bronze.row)") == [
        (0, 0)
    ]
    assert "Janssen" not in str(raised.value)
    assert isinstance(raised.value, RuntimeError)
    assert name in str(raised.value)


def test_a_gate_that_counts_nothing_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = network_in(tmp_path)
    deliver(places, NOORD, text_of([dutch(1, status="X")]))

    def blind(con: Any, arrival: Any) -> list[bronze.RuleResult]:
        return [bronze.RuleResult(rule.rule, rule.action, 0) for rule in arrival]

    monkeypatch.setattr(pipeline, "count_rules", blind)
    with pytest.raises(RuntimeError, match="disagree"):
        pipeline.night(places, AS_OF)
    assert ask(places.bronze, "SELECT count(*) FROM bronze.file") == [(0,)]


# ------------------------------------------------------------------------------------------- one night and the next


def states(places: Places, state_sql: str = "state") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file, state in ask(places.published, f"SELECT file, {state_sql} FROM quality.file ORDER BY file_id"):
        found.setdefault(file, []).append(state)
    return found


def test_a_register_that_learns_releases_files_and_rows(tmp_path: Path) -> None:
    places = network_in(tmp_path)
    new = "west/reserveringen_0099_20231231.csv"
    deliver(places, NOORD, text_of([dutch(1, supplier="0099"), dutch(2), dutch(3, supplier="0098")]))
    deliver(places, new, text_of([dutch(1, supplier="0099")]))
    pipeline.night(places, AS_OF)
    assert states(places) == {
        "noord/" + NOORD.split("/")[1]: ["partly_accepted"],
        f"…/{new.split('/')[1]}": ["rejected"],
    }
    reasons = "SELECT reason FROM quality.file WHERE state = 'rejected'"
    assert ask(places.published, reasons) == [("unknown_folder",)]
    held = "SELECT row, rule FROM quality.quarantined_row ORDER BY row"
    assert ask(places.published, held) == [(2, "unknown_branch"), (4, "unknown_branch")]

    line = "west,West,NRD,0099,fmb_csv,,\n"
    (places.reference / "branches.csv").write_text(REGISTER + line, encoding="utf-8")
    summary = pipeline.night(places, AS_OF)
    assert states(places) == {NOORD: ["partly_accepted"], new: ["accepted"]}
    assert ask(places.published, held) == [(4, "unknown_branch")]
    assert summary["rows"] == {"read": 4, "accepted": 3, "quarantined": 1, "duplicate": 0}
    assert summary["legs"]["delivered"] == 2


def test_new_bytes_supersede_and_a_rejected_file_supersedes_nothing(tmp_path: Path) -> None:
    places = network_in(tmp_path)
    deliver(places, NOORD, text_of([dutch(1), dutch(2), dutch(3, status="X")]), minute=1)
    assert pipeline.night(places, AS_OF)["legs"]["delivered"] == 2

    deliver(places, NOORD, text_of([dutch(3)]), minute=2)
    summary = pipeline.night(places, AS_OF)
    assert states(places) == {NOORD: ["superseded", "accepted"]}
    assert summary["legs"]["delivered"] == 1
    assert summary["rows"] == {"read": 4, "accepted": 3, "quarantined": 1, "duplicate": 0}
    assert ask(places.published, "SELECT row, rule, is_superseded FROM quality.quarantined_row") == [
        (4, "unknown_status", True)
    ]

    again = "noord/again/" + NOORD.split("/")[1]
    deliver(places, NOORD, text_of([{k: v for k, v in dutch(4).items() if k != "Status"}]), minute=3)
    deliver(places, again, text_of([dutch(3)]), minute=4)
    summary = pipeline.night(places, AS_OF)
    assert list(states(places).values()) == [["superseded", "accepted", "rejected"], ["skipped"]]
    assert summary["legs"]["delivered"] == 1


def test_a_rejected_file_that_was_taken_away_asks_for_nothing_more(tmp_path: Path) -> None:
    places = network_in(tmp_path)
    day = "noord/reserveringen_0060_20231230.csv"

    def night() -> tuple[dict[str, list[str]], int, list[tuple[str]]]:
        """The states of all files, how many of noord ask for somebody, and whether Saturday's export is there."""
        summary = pipeline.night(places, AS_OF)
        (noord,) = (branch for branch in summary["branches"] if branch["branch"] == "noord")
        waits = [item["file"] for item in figures.quarantine(places) if item["row"] is None and not item["settled"]]
        assert len([file for file in waits if file.startswith("noord/")]) == noord["files_rejected"]
        feed = "SELECT state FROM marts.feed_day WHERE branch = 'noord' AND export_date = '2023-12-30'"
        return states(places, "if(is_settled, 'settled', state)"), noord["files_rejected"], ask(places.published, feed)

    first = "noord/reserveringen_0060_20231201.csv"
    deliver(places, first, text_of([dutch(9)]))
    content = text_of([dutch(1)])
    deliver(places, "noord/lijst.csv", content, minute=1)
    deliver(places, "noord/nieuw/lijst.csv", content, minute=2)
    deliver(places, day, text_of([{k: v for k, v in dutch(4).items() if k != "Status"}]), minute=3)
    deliver(places, "zuid/reserveringen_0060_20231229.csv", text_of([dutch(2)]), minute=4)
    rejected = {
        "noord/lijst.csv": ["rejected"],
        day: ["rejected"],
        "zuid/reserveringen_0060_20231229.csv": ["rejected"],
    }
    before = {**rejected, first: ["accepted"], "noord/nieuw/lijst.csv": ["skipped"]}
    assert night() == (before, 2, [("rejected",)])
    assert night() == (before, 2, [("rejected",)])

    # the first of two that are alike goes: the other one waits; what stood in a wrong folder was moved
    (places.raw / "noord/lijst.csv").unlink()
    (places.raw / "zuid/reserveringen_0060_20231229.csv").rename(places.raw / "noord/reserveringen_0060_20231229.csv")
    after = {
        **before,
        "noord/lijst.csv": ["settled"],
        "noord/nieuw/lijst.csv": ["rejected"],
        "zuid/reserveringen_0060_20231229.csv": ["settled"],
        "noord/reserveringen_0060_20231229.csv": ["accepted"],
    }
    assert night() == (after, 2, [("rejected",)])
    (moved,) = trace.files(places, "zuid/reserveringen_0060_20231229.csv")
    assert (moved["state"], moved["reason"]) == ("rejected", "unknown_name")
    set_language("nl")
    assert present.traced_file_lines([moved])[1][0][-1].endswith(
        " Het is vervangen of weggehaald en vraagt niets meer."
    )

    # nothing stands there any more: the day's export is missing, and no longer rejected
    (places.raw / "noord/nieuw/lijst.csv").rename(places.raw / "noord/reserveringen_0060_20231228.csv")
    (places.raw / day).unlink()
    after |= {
        "noord/nieuw/lijst.csv": ["settled"], day: ["settled"], "noord/reserveringen_0060_20231228.csv": ["accepted"],
    }  # fmt: skip
    assert night() == (after, 0, [("missing",)])

    # what was there and comes back is told again, and other bytes in its place make up for it
    deliver(places, day, text_of([{k: v for k, v in dutch(4).items() if k != "Status"}]), minute=3)
    deliver(places, "noord/lijst.csv", "x", minute=5)
    assert night() == ({**after, day: ["rejected"], "noord/lijst.csv": ["settled", "rejected"]}, 2, [("rejected",)])
    deliver(places, day, text_of([dutch(4)]), minute=6)
    deliver(places, "noord/lijst.csv", "y", minute=7)
    after |= {day: ["settled", "accepted"], "noord/lijst.csv": ["settled", "settled", "rejected"]}
    assert night() == (after, 1, [("late",)])

    # and a store that is made again does not miss what gave no row
    (places.raw / "noord/lijst.csv").unlink()
    count = pipeline.night(places, AS_OF)["legs"]
    assert pipeline.night(places, AS_OF, afresh=True)["legs"] == count
    assert sorted(states(places).values()) == [["accepted"]] * 4


def test_a_year_zero_does_not_stop_this_night_nor_the_next(tmp_path: Path) -> None:
    places = network_in(tmp_path)
    deliver(places, NOORD, text_of([dutch(n, **{name: "01-01-0000 00:00"}) for n, name in enumerate(DATES, 1)]))
    for _ in range(2):
        rows = pipeline.night(places, AS_OF)["rows"]
        assert rows["read"] == rows["accepted"] + rows["quarantined"] == len(DATES)


# ------------------------------------------------------------------------------------------- what always holds


def taken_in(folder: Path, content: str) -> tuple[Places, bronze.Intake]:
    """Read one export of noord and store it, without a build."""
    places = network_in(folder)
    places.warehouse.mkdir()
    deliver(places, NOORD, content.encode("cp1252"))
    reference = read_reference(places.reference)
    batch = reading.read_files(places.raw, reading.find_files(places.raw), set(), reference)
    return places, bronze.take_in(places, reference, bronze.Run.start(AS_OF), [batch], pipeline.count_rules)


BAD = st.sampled_from(
    ["", " ", "x", "0", "-", "'", "''); DROP", "%", "é", "@", "a@b.nl", "123456782", "9" * 40, '"', '""', '"a;b"', ";"]
)
TEXTS = BAD | st.text(st.characters(codec="cp1252", exclude_characters="\0"), max_size=6)
MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)).map(
    lambda moment: f"{moment:%d-%m-}{moment.year:04}{moment: %H:%M}"
)
GOOD = {
    "id": st.integers(0, 4).map(lambda n: f"2023-06-01.{n:05d}"),
    "supplier": st.sampled_from(["0060", "0070", "0201", "0307", "0099", ""]),
    "pickup": st.sampled_from(["0060", "0201"]),
    "status": st.sampled_from("ATOBURZ0"),
    "reason": st.sampled_from(["", "1", "8"]),
}
VALUES = {name: GOOD.get(name, MOMENTS if name in DATES else TEXTS) | TEXTS for name in NAMES}
ROWS = st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=40)  # fmt: skip


@settings(max_examples=6, deadline=None, database=None)
@given(ROWS, st.sampled_from(["\n", "\r\n"]))
@example([{}, {}, {"id": ""}], "\n")
def test_whatever_is_delivered_no_row_is_lost(rows: list[dict[str, str]], ending: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        content = text_of([dutch(), *(dutch(1, **changed) for changed in rows)]).replace("\n", ending)
        places, intake = taken_in(Path(folder), content)
        sums = (intake.rows_accepted, intake.rows_quarantined, intake.rows_duplicate)
        assert intake.rows_read == sum(sums)
        assert intake.files == {"read": 1}
        held = ask(places.bronze, "SELECT * FROM bronze.quarantine")
        assert len(held) == sums[1]
        assert "a@b.nl" not in repr(held + ask(places.bronze, "SELECT * FROM bronze.row"))


CHANGES = [dt.datetime(2023, 3, 26), dt.datetime(2023, 10, 29), dt.datetime(1996, 3, 31), dt.datetime(2000, 10, 29)]
MINUTES = st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2023, 12, 31)) | st.builds(
    lambda day, minute: day + dt.timedelta(minutes=minute), st.sampled_from(CHANGES), st.integers(0, 300)
)


@settings(max_examples=4, deadline=None, database=None)
@given(st.lists(MINUTES.map(lambda moment: moment.replace(second=0, microsecond=0)), min_size=1, max_size=80))
@example([day + dt.timedelta(minutes=minute) for day in CHANGES for minute in range(0, 300, 15)])
def test_a_minute_is_stored_as_it_was_written(minutes: list[dt.datetime]) -> None:
    """As the same local time, but for the hour that did not exist; and in UTC as the first of a doubled hour."""
    rows = [dutch(n, **NOT_SENT, requested=f"{minute:%d-%m-%Y %H:%M}") for n, minute in enumerate(minutes)]
    with tempfile.TemporaryDirectory() as folder:
        places, _ = taken_in(Path(folder), text_of(rows))
        stored = ask(places.bronze, "SELECT requested_at, requested_at_utc FROM bronze.row ORDER BY row")
        warned = ask(places.bronze, "SELECT row FROM bronze.warning WHERE rule = 'missing_hour' ORDER BY row")
    expected = []
    for minute in minutes:
        utc = minute.replace(tzinfo=AMSTERDAM, fold=0).astimezone(dt.UTC)
        expected.append((utc.astimezone(AMSTERDAM).replace(tzinfo=None), utc.replace(tzinfo=None)))
    assert stored == expected
    moved = [(n,) for n, (minute, (local, _)) in enumerate(zip(minutes, expected, strict=True), 2) if minute != local]
    assert warned == moved
