"""The flow when the ground gives way: a damaged store, a raw folder that goes away between finding and reading, a disk
that fills up, a kill between the publication and the telling.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pendel import bronze, building, figures, nights, notify, page
from pendel.places import Damaged, Places
from pendel.simulate import simulate
from tests import pipeline
from tests.flows.test_nightly import AS_OF, delivered, figures_of, places, run  # noqa: F401
from tests.flows.test_nightly import pytestmark as pytestmark
from tests.test_properties import Network
from tests.test_simulate import write_reference
from tests.test_survival import contents


def test_a_damaged_store_is_made_again(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from flows import nightly

    run(places)
    before = figures_of(places)
    places.bronze.write_bytes(places.bronze.read_bytes()[:20000])
    state, results = run(places)
    assert state.is_failed()
    with pytest.raises(Damaged, match="pendel rebuild"):
        state.result()
    assert results[0].error == "Damaged"
    assert figures_of(places) == before
    continued = []
    monkeypatch.setattr(building, "_renew", lambda *given: continued.append(given))
    folders = (str(places.raw), str(places.reference), str(places.warehouse))
    state = nightly.nightly(*folders, AS_OF, afresh=True, return_state=True)
    assert state.is_completed()
    assert not continued, "nothing of the warehouse of before is carried over"
    assert figures_of(places) == before
    assert len(list(places.warehouse.glob("bronze.duckdb.set-aside-*"))) == 1
    last = figures.last_run(places)
    assert last is not None
    assert last.published


def test_a_folder_that_goes_away_half_way(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Between finding and reading a branch's files, as when a share is disconnected: the others go on."""
    from flows import nightly

    folder, away = places.raw / "ba", places.raw.parent / "ba-is-away"
    plan = bronze.plan

    def then_it_goes(*given: Any) -> bronze.Plan:
        found = plan(*given)
        folder.rename(away)
        return found

    monkeypatch.setattr(nightly.read_exports, "retry_delay_seconds", 0)
    with monkeypatch.context() as patched:
        patched.setattr(bronze, "plan", then_it_goes)
        try:
            state, results = run(places)
        finally:
            away.rename(folder)
    assert state.is_completed()
    assert results[0].failed_branches == ["ba"]
    assert figures.needs_attention(results[0], results[0].summary)
    assert figures_of(places)["deliveries_total"] < 4001
    run(places)
    assert figures_of(places)["deliveries_total"] == 4001, "the next run makes it good"


def test_a_run_is_not_over_before_it_told(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Killed then, it is noticed and caught up, although it had published: nobody would hear of it otherwise."""
    on_disk = []
    write, tell = page.write, notify.tell_run

    def look() -> None:
        last = figures.last_run(places)
        assert last is not None
        on_disk.append(last.finished_at)

    monkeypatch.setattr(page, "write", lambda *given: (look(), write(*given)))
    monkeypatch.setattr(notify, "tell_run", lambda *given: (look(), tell(*given)))
    run(places)
    assert on_disk == [None, None]
    last = figures.last_run(places)
    assert last is not None
    assert last.finished_at is not None
    assert not nights.was_killed(last, places)


# ---------------------------------------------------------------------------------------------- a disk that fills up


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a hundred and twenty megabytes: more than a run asks for before it begins."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


FILLS_UP = """
    import sys
    from pendel import {module}
    from pendel.cli import main
    before = {module}.{function}
    def then(*given, **named):
        for size in (1 << 20, 4096, 1):
            try:
                with open({filler!r}, "ab", 0) as file:
                    while True:
                        file.write(b"x" * size)
            except OSError:
                pass
        return before(*given, **named)
    {module}.{function} = then
    main()
"""


def a_night(places: Places, script: str) -> subprocess.CompletedProcess[str]:  # noqa: F811
    """`pendel nightly`, in Dutch, in a process of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PENDEL_"))}
    folders = [word for name, path in vars(places).items() for word in (f"--{name}", str(path))]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), "nightly", "--as-of", str(pipeline.AS_OF), *folders],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], env=own | {"PENDEL_LANG": "nl"}, timeout=600,
    )  # fmt: skip


def test_a_run_that_is_killed_leaves_no_server_behind(places: Places) -> None:  # noqa: F811
    """What it printed comes to an end only when every process that it started has ended."""
    killed = """
        import os
        from pendel import building
        from pendel.cli import main
        building.create_models = lambda *given: os._exit(9)
        main()
    """
    done = a_night(places, killed)
    assert done.returncode == 9
    assert "gelezen: " in done.stderr


@pytest.mark.parametrize(
    ("module", "function"),
    [("bronze", "plan"), ("building", "create_models")],
    ids=["nothing is freed any more", "DuckDB meets it"],
)
def test_a_disk_that_fills_up_in_a_run(tmp_path: Path, disk: Path, module: str, function: str) -> None:
    """The database of Prefect is on that disk too."""
    reference = write_reference(tmp_path / "reference", pipeline.BRANCHES, pipeline.PUBLISHED)
    simulate(2024, tmp_path / "exports", reference, imperfections=True, truth=tmp_path / "truth.json")
    network = Network(tmp_path / "exports", reference, Places.of(raw=tmp_path / "exports"), {})
    expected = network.install(tmp_path / "expected")
    installed = Places(tmp_path / "raw", reference, disk / "warehouse")
    files = network.files()
    for part in (files[:60], files[60:]):
        network.deliver(expected, part)
        pipeline.night(expected, pipeline.AS_OF)
    network.deliver(installed, files[:60])
    pipeline.night(installed, pipeline.AS_OF)
    before = contents(installed)
    network.deliver(installed, files[60:])

    filler = disk / "filler"
    done = a_night(installed, FILLS_UP.format(module=module, function=function, filler=str(filler)))
    assert done.stderr.rstrip().endswith(
        f"In {installed.warehouse} is geen ruimte meer. Wat eerder gepubliceerd is, staat er nog. Maak ruimte en "
        "probeer het opnieuw."
    )
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert contents(installed) == before
    filler.unlink()
    done = a_night(installed, "from pendel.cli import main; main()")
    assert done.returncode == 0, done.stderr
    assert contents(installed) == contents(expected)
