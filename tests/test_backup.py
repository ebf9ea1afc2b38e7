"""A backup holds all that another machine needs, and nothing of a reader; what is damaged or foreign is refused."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import backup, bronze
from pendel.places import Places, UserError
from tests.pipeline import night, places_in
from tests.test_cli import Pendel, at, pendel  # noqa: F401
from tests.test_properties import AS_OF, Network, network  # noqa: F401

MADE_AT = dt.datetime(2024, 5, 1, 6, 30)


@pytest.fixture(scope="module")
def backed(network: Network, tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, list[Path], Path]:  # noqa: F811
    """An installation after a night, the exports that it has not taken in, and its backup."""
    folder = tmp_path_factory.mktemp("backed")
    places = network.install(folder)
    files = network.files()
    network.deliver(places, files[:-30])
    night(places, AS_OF)
    with bronze.locked(places, bronze.Run.start(AS_OF, places)):
        backup.back_up(places, folder / "backup.zip", MADE_AT)
    return places, files[-30:], folder / "backup.zip"


def restored(places: Places, source: Path) -> dt.datetime:
    with bronze.locked(places, bronze.Run.start(AS_OF, places)):
        return backup.restore(places, source)


def elsewhere(folder: Path) -> Places:
    """An empty installation, as after a fresh clone."""
    return Places.of(raw=folder / "raw", reference=folder / "reference", warehouse=folder / "warehouse")


def contents(places: Places) -> dict[str, Any]:
    """Every published relation but those on runs, as sorted rows."""
    with duckdb.connect(str(places.published), read_only=True) as con:
        names = con.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {
            name: con.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            for (name,) in names
            if not name.startswith("quality.run")
        }


def test_another_machine_has_the_same_figures_and_goes_on(
    backed: tuple[Places, list[Path], Path],
    network: Network,  # noqa: F811
    tmp_path: Path,
) -> None:
    before, later, source = backed
    there = elsewhere(tmp_path)
    assert restored(there, source) == MADE_AT
    assert contents(there) == contents(before)
    assert {path.name for path in there.runs.iterdir()} >= {path.name for path in before.runs.iterdir()}

    shutil.copytree(before.warehouse, tmp_path / "stayed" / "warehouse")
    here = places_in(tmp_path / "stayed", before.reference)
    for places in (there, here):
        network.deliver(places, later)
        night(places, AS_OF)
    assert contents(there)["marts.fct_leg"] != contents(before)["marts.fct_leg"]
    assert {name: rows for name, rows in contents(there).items() if name.startswith(("marts", "kpi"))} == {
        name: rows for name, rows in contents(here).items() if name.startswith(("marts", "kpi"))
    }


def test_the_raw_exports_are_not_in_it(backed: tuple[Places, list[Path], Path]) -> None:
    _, _, source = backed
    with zipfile.ZipFile(source) as archive:
        names = archive.namelist()
    assert "warehouse/bronze.duckdb" in names
    assert "reference/branches.csv" in names
    assert [name for name in names if name.startswith("raw/")] in ([], ["raw/.simulated"])


def test_a_register_that_differs_is_kept_beside_it(backed: tuple[Places, list[Path], Path], tmp_path: Path) -> None:
    there = elsewhere(tmp_path)
    there.reference.mkdir()
    (there.reference / "branches.csv").write_text("mine", encoding="utf-8")
    restored(there, backed[2])
    assert (there.reference / "branches.csv.before-restore").read_text(encoding="utf-8") == "mine"
    assert (there.reference / "branches.csv").read_bytes() == (backed[0].reference / "branches.csv").read_bytes()


def test_it_is_never_put_over_a_store(backed: tuple[Places, list[Path], Path]) -> None:
    with pytest.raises(UserError, match="never put over"):
        restored(backed[0], backed[2])


def test_it_can_be_begun_again_when_it_was_broken_off(
    backed: tuple[Places, list[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = elsewhere(tmp_path)
    moved = backup.os.replace

    def stops(source: Path, target: Path) -> None:
        if Path(target) == there.bronze:
            raise KeyboardInterrupt
        moved(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(backup.os, "replace", stops)
        with pytest.raises(KeyboardInterrupt):
            restored(there, backed[2])
    assert not there.bronze.exists()
    restored(there, backed[2])
    assert contents(there) == contents(backed[0])


def _remade(source: Path, to: Path, change: dict[str, bytes], listed: bool) -> Path:
    """A copy of a backup with other parts, which its listing tells of or not."""
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()} | change
    if listed:
        listing = json.loads(parts[backup.LISTING])
        listing["sha256"] |= {name: backup.hashlib.sha256(content).hexdigest() for name, content in change.items()}
        parts[backup.LISTING] = json.dumps(listing).encode()
    with zipfile.ZipFile(to, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return to


@pytest.mark.parametrize(
    ("change", "listed"),
    [
        ({"reference/branches.csv": b"branch"}, False),
        ({"reference/more.csv": b"x"}, False),
        ({"reference/../../above.csv": b"x"}, True),
        ({"/tmp/absolute.csv": b"x"}, True),
        ({"expectations/rules.yaml": b"x"}, True),
        ({"warehouse/site.html": b"x"}, True),
        ({backup.LISTING: b"{}"}, False),
    ],
)
def test_what_is_damaged_or_leads_elsewhere_is_refused(
    backed: tuple[Places, list[Path], Path], tmp_path: Path, change: dict[str, bytes], listed: bool
) -> None:
    there = elsewhere(tmp_path)
    with pytest.raises(UserError, match="no backup of pendel, or a damaged one"):
        restored(there, _remade(backed[2], tmp_path / "changed.zip", change, listed))
    assert not there.bronze.exists()
    assert not there.reference.exists()


@pytest.mark.parametrize("cut", [0, 1000, -30])
def test_half_a_backup_is_refused(backed: tuple[Places, list[Path], Path], tmp_path: Path, cut: int) -> None:
    (tmp_path / "half.zip").write_bytes(backed[2].read_bytes()[:cut])
    with pytest.raises(UserError, match="damaged"):
        restored(elsewhere(tmp_path), tmp_path / "half.zip")


def test_on_the_command_line(
    backed: tuple[Places, list[Path], Path],
    pendel: Pendel,  # noqa: F811
    tmp_path: Path,
) -> None:
    here, file = at(backed[0]), tmp_path / "b.zip"
    empty = pendel("backup", "--home", tmp_path / "empty", file)
    assert empty.code == 2
    assert "nog geen verwerking" in empty.err
    done = pendel("backup", *here, file)
    assert (done.code, done.err) == (0, "")
    assert "nagelezen" in done.out
    assert str(file) in done.out.replace("\n", "")
    again = pendel("backup", *here, file)
    assert again.code == 2
    assert "Kies een andere naam" in again.err
    assert "is geen map" in pendel("backup", *here, tmp_path / "nowhere" / "b.zip").err
    (tmp_path / "other" / "data" / "reference").mkdir(parents=True)
    other = ["--home", tmp_path / "other"]
    assert "is er niet" in pendel("restore", *other, tmp_path / "c.zip").err
    done = pendel("restore", *other, file)
    assert (done.code, done.err) == (0, "")
    assert "pendel nightly" in done.out
    assert "al een opslag" in pendel("restore", *other, file).err
    shown = [pendel("kpi", *place, "--year", 2024, "--format", "json").json["kpis"] for place in (here, other)]
    assert shown[0] == shown[1]
