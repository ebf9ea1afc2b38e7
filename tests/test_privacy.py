"""Readers' personal data: raw files can go without the figures moving, and nothing of a reader gets anywhere."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import re
import shutil
import sys
from pathlib import Path

import duckdb
import pytest

from pendel import bronze, purging
from pendel.places import Busy, Places, UserError
from pendel.reference import read_reference
from tests.pipeline import night
from tests.test_cli import Pendel, at, network, pendel, spoiled  # noqa: F401  # fixtures
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
    with bronze.locked(places, run):
        from pendel import building

        with building.built(places, read_reference(places.reference), run, afresh=True) as build:
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
    assert planned.kept == {"recent": 1, "rejected": 3, "changed": 1, "unknown": 1, "unreadable": 1}
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
