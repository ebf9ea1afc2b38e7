"""Readers' personal data: raw files can go without the figures moving, and nothing of a reader gets anywhere."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import os
import random
import re
import shutil
import sys
import textwrap
import zipfile
from pathlib import Path

import duckdb
import pytest

from bench.canaries import FAULTS, Canaries, planted_exports, planted_reference, run_pendel
from bench.canaries import contents as searched
from pendel import bronze, building, figures, purging
from pendel.places import Busy, Places, UserError, discreet
from pendel.reference import read_reference
from tests.pipeline import night
from tests.test_cli import Pendel, at, network, pendel, spoiled, write_result  # noqa: F401  # fixtures
from tests.test_properties import contents

TODAY = dt.date(2024, 1, 31)


@pytest.fixture
def places(spoiled: Places, tmp_path: Path) -> Places:  # noqa: F811
    """A year of exports, one row held, one file rejected; of its own, to purge."""
    shutil.copytree(spoiled.raw, tmp_path / "raw")
    shutil.copytree(spoiled.warehouse, tmp_path / "warehouse")
    return Places.of(raw=tmp_path / "raw", reference=spoiled.reference, warehouse=tmp_path / "warehouse")


def exports(places: Places) -> set[str]:
    return {path.relative_to(places.raw).as_posix() for path in places.raw.rglob("*") if path.is_file()} - {
        ".simulated"
    }


def published(places: Places) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(places.published), read_only=True) as con:
        return contents(con)


def exported_on(name: str) -> dt.date:
    return dt.datetime.strptime("".join(re.findall("[0-9]", name))[-8:], "%Y%m%d").date()


# ---------------------------------------------------------------------------------------------- purging


def test_the_figures_do_not_change(places: Places) -> None:
    night(places, TODAY)
    before = published(places)
    delivered = exports(places)
    planned = purging.plan(places, TODAY, older_than=30)
    gone = purging.purge(places, planned, dt.datetime(2024, 1, 31, 12))
    assert gone == planned.files
    expected = {name for name in delivered if name != "noord/lijst.csv" and exported_on(name) < dt.date(2024, 1, 1)}
    assert len(expected) > 700
    assert delivered - exports(places) == expected
    summary = night(places, TODAY)
    assert published(places) == before
    run = bronze.Run.start(TODAY)
    network_of = read_reference(places.reference)
    with bronze.locked(places, run), building.built(places, network_of, run, afresh=True) as build:
        assert contents(build.con) == before
    assert summary["legs"]["delivered"] == 1401


def test_every_purge_is_a_line(places: Places) -> None:
    planned = purging.plan(places, TODAY, older_than=60)
    purging.purge(places, planned, dt.datetime(2024, 1, 31, 12))
    first = [file.file_id for file in planned.files]
    planned = purging.plan(places, TODAY, older_than=28)
    purging.purge(places, planned, dt.datetime(2024, 2, 1, 12))
    lines = [json.loads(line) for line in (places.warehouse / "purges.jsonl").read_text().splitlines()]
    assert [(line["purged_at"], line["exported_before"], line["count"]) for line in lines] == [
        ("2024-01-31T12:00:00Z", "2023-12-02", len(first)),
        ("2024-02-01T12:00:00Z", "2024-01-03", len(planned.files)),
    ]
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        ledger = con.execute("SELECT file_id FROM file WHERE verdict <> 'rejected' ORDER BY ALL").fetchall()
    assert sorted(lines[0]["file_ids"] + lines[1]["file_ids"]) == [file_id for (file_id,) in ledger]
    assert exports(places) == {"noord/lijst.csv"}
    assert purging.purge(places, purging.plan(places, TODAY, 28), dt.datetime(2024, 2, 2)) == []
    assert len((places.warehouse / "purges.jsonl").read_text().splitlines()) == 2


def test_a_purged_file_that_comes_again_is_known(places: Places) -> None:
    night(places, TODAY)
    before = published(places)
    again = next(path for path in sorted((places.raw / "oost").rglob("*.tsv")) if path.stat().st_size > 500)
    content = again.read_bytes()
    purging.purge(places, purging.plan(places, TODAY, 30), dt.datetime(2024, 1, 31))
    assert not again.exists()
    again.write_bytes(content)
    elsewhere = again.with_name(f"{again.name}.gz")
    elsewhere.write_bytes(gzip.compress(content, mtime=0))
    shutil.copy(again, again.parent / f"copy {again.name}")
    night(places, TODAY)
    after = published(places)
    assert after["kpi.value"] == before["kpi.value"]
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        new = con.execute("SELECT verdict FROM file WHERE file_id > ?", [len(before["quality.file"])]).fetchall()
    # the very file is no line of the ledger again; the copy is skipped; the compressed one replaces
    assert sorted(new) == [("read",), ("skipped",)]
    gone = purging.purge(places, purging.plan(places, TODAY, 30), dt.datetime(2024, 2, 1))
    assert {file.file.path for file in gone} == {
        path.relative_to(places.raw).as_posix() for path in (again, elsewhere, again.parent / f"copy {again.name}")
    }


def test_what_is_kept(places: Places, tmp_path: Path) -> None:
    known = sorted(places.raw.glob("zuid/**/*.tsv"))[:100]
    same = [path for path in known if path.stat().st_size > 500]
    changed, linked, vanished = same[0], same[1], same[2]
    changed.write_bytes(changed.read_bytes() + b"\n")
    os.utime(changed, (1, 1))
    linked.rename(tmp_path / "elsewhere.tsv")
    linked.symlink_to(tmp_path / "elsewhere.tsv")
    vanished.unlink()
    (places.raw / "zuid" / "60-reservations-2001-01-01.tsv").write_text("new")
    os.utime(places.raw / "zuid" / "60-reservations-2001-01-01.tsv", (1, 1))
    rejected = places.raw / "noord" / "lijst.csv"
    shutil.copy(rejected, rejected.with_name("lijst 2.csv"))
    night_after = Places.of(raw=places.raw, reference=places.reference, warehouse=places.warehouse)
    night(night_after, TODAY)  # the copy of the rejected file is skipped as known, and must stay for all that
    changed.write_bytes(changed.read_bytes() + b"\n\n")
    (places.raw / "zuid" / "60-reservations-2001-01-02.tsv").write_text("newer")
    before = exports(places)
    planned = purging.plan(places, TODAY, older_than=29)
    assert planned.kept == {"recent": 1, "rejected": 4, "changed": 1, "unknown": 1}  # a link is rejected
    purging.purge(places, planned, dt.datetime(2024, 1, 31))
    kept = {linked, changed, rejected, rejected.with_name("lijst 2.csv"), *places.raw.glob("zuid/60-*2001*")}
    kept.add(places.raw / "noord" / "reserveringen_0060_20240102.csv")
    assert exports(places) == {path.relative_to(places.raw).as_posix() for path in kept} & before
    assert (tmp_path / "elsewhere.tsv").exists(), "what a link points to is not ours"


def test_a_file_whose_rows_are_not_in_bronze_is_kept(places: Places) -> None:
    with duckdb.connect(str(places.bronze)) as con:
        [(file_id, rows)] = con.execute(
            "SELECT file_id, rows_read FROM file WHERE verdict = 'read' AND rows_read > 3 ORDER BY ALL LIMIT 1"
        ).fetchall()
        con.execute(
            f"DELETE FROM row WHERE file_id = {file_id} AND row = (SELECT max(row) FROM row WHERE file_id = {file_id})"
        )
    planned = purging.plan(places, TODAY, older_than=29)
    assert planned.kept["not_stored"] == 1
    assert file_id not in {file.file_id for file in planned.files}
    assert rows


def test_a_file_that_changes_between_looking_and_removing_stays(places: Places) -> None:
    planned = purging.plan(places, TODAY, older_than=29)
    first, second = (places.raw / file.file.path for file in planned.files[:2])
    stat = first.stat()
    first.write_bytes(first.read_bytes().replace(b";", b",").replace(b"\t", b" "))
    os.utime(first, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second.unlink()
    gone = purging.purge(places, planned, dt.datetime(2024, 1, 31))
    assert gone == planned.files[2:]
    assert first.exists()


@pytest.mark.parametrize("text", ["90", "90 d", "0d", "-1d", "3m", "1y", "d", "", "1.5d", "٣d", "999999d"])
def test_an_age_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match="Write 90d for ninety days"):
        purging.days(text)


def test_an_age() -> None:
    assert [purging.days(text) for text in ("1d", "90d", " 365d")] == [1, 90, 365]


def test_purge_on_the_command_line(places: Places, pendel: Pendel, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    before = exports(places)
    asked = ["purge", "--older-than", "30d", *at(places)]
    done = pendel(*asked)
    assert done.code == 2
    assert (
        done.err
        == "Er is niets verwijderd: hier kan niemand antwoorden. Geef --yes om deze bestanden te verwijderen.\n"
    )
    assert re.search(r"vestiging +bestanden +grootte +oudste +nieuwste", done.out)
    assert re.search(r"noord +\d+ +0,\d+ MB +0\d-01-2023 +\d\d-01-2024", done.out)
    assert re.search(r"1 +afgekeurd: wordt opnieuw geprobeerd als het register verandert", done.out)
    assert exports(places) == before
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for answer in ("", "n", "nee", "x"):
        monkeypatch.setattr("click.prompt", lambda *_, answer=answer, **__: answer)
        done = pendel(*asked)
        assert (done.code, done.err) == (0, "Er is niets verwijderd.\n")
        assert exports(places) == before
    monkeypatch.setattr("click.prompt", lambda *_, **__: "ja")
    assert pendel(*asked, "--older-than", "1y").code == 2
    done = pendel(*asked)
    assert (done.code, done.err) == (0, "")
    n = len(before) - len(exports(places))
    assert n > 700
    assert done.out.endswith(f"{n} van de {n} bestanden verwijderd; de cijfers blijven zoals ze zijn.\n")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    done = pendel(*asked, "--yes")
    assert (done.code, done.err) == (0, "")
    assert "Er is niets te verwijderen." in done.out


def test_purge_without_a_run_or_beside_one(places: Places, tmp_path: Path, pendel: Pendel) -> None:  # noqa: F811
    done = pendel("purge", "--older-than", "90d", *at(places), "--warehouse", tmp_path / "none")
    assert done.code == 2
    assert "is nog geen verwerking geweest" in done.err
    with bronze.locked(places, bronze.Run.start(TODAY)):
        done = pendel("purge", "--older-than", "90d", "--yes", *at(places))
    assert (done.code, done.out) == (4, "")
    assert "Er is al een verwerking bezig" in done.err
    assert isinstance(Busy("x"), UserError)


# ---------------------------------------------------------------------------------------------- canaries


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries(random.Random(5))


@pytest.fixture(scope="module")
def planted(canaries: Canaries, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A network whose exports hold a canary in every place."""
    folder = tmp_path_factory.mktemp("planted")
    planted_reference(folder / "reference")
    (folder / "raw").mkdir()
    planted_exports(folder / "raw", canaries)
    return Places.of(raw=folder / "raw", reference=folder / "reference", warehouse=folder / "warehouse")


def found_in(canaries: Canaries, home: Path) -> list[str]:
    return sorted({f"{source} in {where}" for where, content in searched(home) for source in canaries.seen(content)})


def test_the_search_finds(canaries: Canaries, tmp_path: Path) -> None:
    """Of every kind, in every form in which it could stand there."""
    for kind in ("name", "mail", "citizen", "reader", "phone", "postcode"):
        value = canaries.new(kind, f"the test of {kind}")
        with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
            con.execute(
                "CREATE OR REPLACE TABLE t AS SELECT concat('x', ?::VARCHAR, 'y') AS v FROM range(5000)", [value]
            )
            con.execute(f"COPY t TO '{tmp_path / 'a.parquet'}'")
        (tmp_path / "a.xlsx").write_bytes(compressed(value.encode(), "sheet.xml"))
        (tmp_path / "utf16").write_bytes(f"{value}!".encode("utf-16-le"))
        (tmp_path / "upper").write_bytes(f"({value.upper()})".encode())
        (tmp_path / value).write_bytes(b"")
        told = {line.split(" in ")[1] for line in found_in(canaries, tmp_path) if f"test of {kind} " in line}
        expected = {
            "a.duckdb as tables",
            "a.parquet as a table",
            "a.xlsx/sheet.xml",
            "utf16",
            "upper",
            "the path of a file",
        }
        assert expected <= told, kind
        (tmp_path / value).unlink()


def compressed(content: bytes, name: str) -> bytes:
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return book.getvalue()


def test_no_canary_gets_anywhere(canaries: Canaries, planted: Places, pendel: Pendel) -> None:  # noqa: F811
    summary = night(planted, dt.date(2024, 3, 5))
    write_result(planted, dt.date(2024, 3, 5), summary)
    kinds = {source.rsplit("(", 1)[1] for source in canaries.planted.values()}
    assert len(kinds) == 6
    assert len(canaries.planted) > 400
    reasons = {item["rule"] for item in figures.quarantine(planted)}
    assert reasons >= {
        "archive_not_one_file", "broken_archive", "broken_export", "column_missing", "column_twice", "empty_file",
        "no_plain_file", "no_workbook", "not_parsable", "other_branch", "unknown_folder", "unknown_name",
        "wrong_encoding", "row_shape", "personal_data",
    }  # fmt: skip
    assert summary["rows"]["accepted"] > 500
    assert found_in(canaries, planted.warehouse) == []
    said = ""
    for command in (["status"], ["quarantine"], ["kpi", "--by", "lane"], ["purge", "--older-than", "1d"]):
        for lang in ("nl", "en"):
            done = pendel(*command, "--lang", lang, *at(planted))
            said += done.out + done.err
    for sql in ("FROM quality.quarantined_row", "FROM quality.file", "SELECT item_barcode::INT FROM marts.fct_leg"):
        done = pendel("query", sql, "--format", "csv", *at(planted))
        said += done.out + done.err
    assert len(said) > 50_000
    assert sorted(set(canaries.seen(said.encode()))) == []


LISTENERS = """
    import json, os
    from pathlib import Path
    from pendel import building
    create = building.create_models
    def mine():
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[stat.parent.name] = stat.read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                pass
        found = {str(os.getpid())}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found
    def listening():
        sockets = set()
        for pid in mine():
            for link in Path(f"/proc/{pid}/fd").glob("*"):
                try:
                    sockets.add(os.readlink(link))
                except OSError:
                    pass
        lines = [line.split() for name in ("tcp", "tcp6") if Path(f"/proc/net/{name}").exists()
                 for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
        return [line[1].split(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
    def looking(*given, **named):
        Path("{told}").write_text(json.dumps(listening()))
        return create(*given, **named)
    building.create_models = looking
"""


def test_a_real_night_that_goes_wrong(canaries: Canaries, planted: Places, tmp_path: Path) -> None:
    """Prefect keeps what an error says; its server listens on the loopback address alone."""
    told = tmp_path / "listening.json"
    before = "\n".join(
        textwrap.dedent(part)
        for part in (LISTENERS.replace("{told}", str(told)), FAULTS["an unexpected exception while reading"])
    )
    warehouse = tmp_path / "warehouse"
    folders = ["--raw", planted.raw, "--reference", planted.reference, "--warehouse", warehouse]
    done = run_pendel(before, "nightly", "--as-of", "2024-03-05", *map(str, folders))
    assert done.returncode in (0, 1), done.stderr
    [result] = [json.loads(path.read_text()) for path in warehouse.glob("runs/*/result.json")]
    assert {"noord", "oost"} <= set(result["failed_branches"])
    assert (warehouse / "prefect" / "prefect.db").exists()
    kept = [content for where, content in searched(warehouse) if where == "prefect/prefect.db as tables"]
    assert b"KeyError" in b"".join(kept), "the kind of the error is told"
    assert found_in(canaries, warehouse) == []
    assert sorted(set(canaries.seen(done.stdout + done.stderr))) == []
    if Path("/proc/net/tcp").exists():
        assert json.loads(told.read_text()) == ["0100007F"]


def test_an_unexpected_error_is_told_without_its_text(pendel: Pendel, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def unexpected(*_: object) -> None:
        {}["Q. Wolfswinkel"]

    monkeypatch.setattr(figures, "status", unexpected)
    done = pendel("status")
    assert done.code == 1
    assert "Wolfswinkel" not in done.err.replace('{}["Q. Wolfswinkel"]', "")  # a line of the program may be shown
    assert re.search(r"Onverwacht: KeyError in test_privacy.py, line [0-9]+\. Meer is niet te zien", done.err)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "/raw/Q. Wolfswinkel.csv"),
            "[Errno 2] No such file or directory",
        ),
        (PermissionError(13, "Permission denied", "/raw/Q. Wolfswinkel.csv"), "[Errno 13] Permission denied"),
        (OSError("Q. Wolfswinkel"), ""),
        (ValueError("Q. Wolfswinkel"), "ValueError in no place"),
        (UnicodeDecodeError("utf-8", b"Q. Wolfswinkel", 0, 1, "x"), "UnicodeDecodeError in no place"),
        (UserError("mend {this}", this="it"), "mend it"),
        (OSError(28, "No space left on device", "/raw/Q. Wolfswinkel.csv"), "[Errno 28] No space left on device"),
    ],
)
def test_what_is_told_of_an_error(error: Exception, told: str) -> None:
    found = discreet(error)
    assert str(found) == told
    assert isinstance(found, OSError) == isinstance(error, OSError)
    assert "Wolfswinkel" not in repr(found)
    assert found.__context__ is None
    assert discreet(found) is found or isinstance(found, OSError)


@pytest.mark.parametrize("text", ["Could not write all bytes: No space left on device", "fsync: File too large"])
def test_that_the_disk_is_full_is_told_whoever_says_it(text: str) -> None:
    found = discreet(duckdb.IOException(f"Q. Wolfswinkel: {text}"))
    assert (type(found), str(found)) == (OSError, "[Errno 28] No space left on device")
