"""The flow on a real Prefect server: what runs, how it ends, and what it leaves for people to see."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import building, figures, reading
from pendel.figures import RunResult
from pendel.places import Busy, Places
from pendel.reference import read_reference
from pendel.simulate import simulate
from tests.mailserver import mail_server, text_of
from tests.test_notify import settings
from tests.test_simulate import YEAR, write_reference

pytestmark = [
    # raised inside the dependencies, not by us
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
AS_OF = f"{YEAR + 1}-01-01"


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A year of exports of a small network."""
    folder = tmp_path_factory.mktemp("delivered")
    reference = write_reference(folder / "reference")
    simulate(YEAR, folder / "raw", reference)
    return Places.of(raw=folder / "raw", reference=reference, warehouse=folder / "warehouse")


@pytest.fixture
def places(delivered: Places, tmp_path: Path) -> Places:
    """The exports, and a warehouse of the test's own."""
    return Places.of(raw=delivered.raw, reference=delivered.reference, warehouse=tmp_path / "warehouse")


def run(places: Places) -> tuple[Any, list[RunResult]]:
    """Run the flow; its final state, and the result it reported."""
    from flows import nightly

    results: list[RunResult] = []
    nightly.on_progress(lambda event, detail: results.append(detail["result"]) if event == "result" else None)
    state = nightly.nightly(str(places.raw), str(places.reference), str(places.warehouse), AS_OF, return_state=True)
    return state, results


def task_runs(state: Any) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        return client.read_task_runs(flow_run_filter=flow_run)


def artifact() -> str:
    from prefect.artifacts import Artifact

    found = Artifact.get("nightly")
    assert found is not None
    return str(found.data)


def figures_of(places: Places) -> dict[str, Any]:
    return {kpi["id"]: kpi["value"] for kpi in figures.key_figures(places, YEAR, None, "total")["kpis"]}


def test_a_night_is_published(places: Places) -> None:
    state, results = run(places)
    assert state.is_completed(), state
    published = {row["kpi"]: int(row["value"]) for row in read_reference(places.reference).published}
    assert published.items() <= figures_of(places).items()
    assert results[0].published
    assert json.loads((places.runs / results[0].run_id / "result.json").read_text())["published"] is True
    assert state.name == "Completed"
    names = [task_run.name for task_run in task_runs(state)]
    assert 5 <= len(names) <= 25
    branches = sorted({period.branch for period in read_reference(places.reference).branches})
    assert sorted(name.split("-")[0] for name in names if name.startswith("read ")) == [f"read {b}" for b in branches]
    assert artifact().startswith("# Gepubliceerd")
    assert "| Geleverde reserveringen |" in artifact()
    assert not list(places.warehouse.glob("pendel.building-*"))


def test_a_branch_that_cannot_be_read_fails_alone(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import nightly

    reads: list[str] = []
    read = reading.read_files

    def broken_disk(raw: Path, files: Any, *rest: Any) -> Any:
        reads.append(files[0].branch)
        if files[0].branch == "ba":
            raise OSError("the disk of ba does not answer")
        return read(raw, files, *rest)

    monkeypatch.setattr(reading, "read_files", broken_disk)
    monkeypatch.setattr(nightly.read_exports, "retry_delay_seconds", 0)
    state, results = run(places)
    assert state.is_completed()
    assert reads.count("ba") == 3, "an I/O error is retried twice"
    assert results[0].failed_branches == ["ba"]
    assert "ba" in artifact().split("## ")[0]
    assert figures_of(places)["deliveries_total"] < 4001
    assert figures.needs_attention(results[0], results[0].summary)

    monkeypatch.setattr(reading, "read_files", read)
    run(places)
    assert figures_of(places)["deliveries_total"] == 4001, "the next run makes it good"


def test_a_fault_in_the_data_is_not_retried(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fault(raw: Path, files: Any, *rest: Any) -> Any:
        calls.append(files[0].branch)
        raise ValueError("not an I/O error")

    monkeypatch.setattr(reading, "read_files", fault)
    _, results = run(places)
    assert sorted(calls) == sorted(results[0].failed_branches)


def test_a_critical_failure_holds_the_publication_back(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(places)
    before = figures_of(places)
    models = building.models()
    doubled = [
        replace(m, sql=f"{m.sql}\nUNION ALL\n{m.sql.split('WHERE')[0]} WHERE state = 'delivered'")
        if m.relation == "marts.fct_delivery"
        else m
        for m in models
    ]
    monkeypatch.setattr(building, "models", lambda: tuple(doubled))
    reference = shutil.copytree(places.reference, tmp_path / "reference")
    with mail_server() as server:
        settings(reference, server.port)
        state, results = run(replace(places, reference=reference))
        assert server.subjects() == ["pendel: de publicatie is tegengehouden"], "told once, by the run itself"
    assert state.is_failed()
    assert not results[0].published
    assert "marts.fct_delivery: key" in results[0].held_back_by
    assert "receipt_row_counted_once" in results[0].held_back_by
    assert figures_of(places) == before, "the warehouse of before stays"
    shown = figures.status(places)
    assert shown["last_run"]["published"] is False
    assert shown["last_run"]["held_back_by"] == results[0].held_back_by
    assert shown["needs_attention"]
    assert artifact().startswith("# De publicatie")


def test_a_run_that_breaks_off_is_told_and_so_is_one_that_cannot_begin(places: Places, tmp_path: Path) -> None:
    reference = shutil.copytree(places.reference, tmp_path / "reference")
    with mail_server() as server:
        settings(reference, server.port)
        places.warehouse.mkdir()
        places.bronze.write_bytes(b"no database" * 1000)
        state, _ = run(replace(places, reference=reference))
        assert state.is_failed()
        assert server.subjects() == ["pendel: de verwerking is afgebroken"]
        assert "pendel rebuild" in text_of(server.mails[0])
        page = places.page
        assert "pendel rebuild" in page.read_text(encoding="utf-8")
        state, results = run(replace(places, reference=reference, raw=tmp_path / "not there"))
        assert (state.is_failed(), results) == (True, [])
        assert "De verwerking kon niet beginnen" in text_of(server.mails[1])
        assert "De verwerking kon niet beginnen" in page.read_text(encoding="utf-8")
        (reference / "parameters.yaml").write_text("time_zone: Nowhere/Land\n", encoding="utf-8")
        state, results = run(replace(places, reference=reference))
        assert (state.is_failed(), results) == (True, [])
        assert "er is geen tijdzone Nowhere/Land" in page.read_text(encoding="utf-8")


def test_a_busy_pipeline_is_left_alone(places: Places) -> None:
    import datetime as dt

    from pendel import bronze

    with bronze.locked(places, bronze.Run.start(dt.date(YEAR + 1, 1, 1))):
        state, results = run(places)
    assert state.is_failed()
    assert not results
    with pytest.raises(Busy, match="Another run is busy"):
        state.result()


def test_a_branch_less(places: Places, tmp_path: Path) -> None:
    """Without one branch's folder: other figures, less complete, the difference and the branch named."""
    raw = tmp_path / "raw"
    shutil.copytree(places.raw, raw)
    shutil.rmtree(raw / "ca")
    less = Places.of(raw=raw, reference=places.reference, warehouse=places.warehouse)
    state, results = run(less)
    assert state.is_completed()
    shown = {kpi["id"]: kpi for kpi in figures.key_figures(less, YEAR, None, "total")["kpis"]}
    assert shown["deliveries_total"]["difference"] < 0
    assert 0 < shown["deliveries_total"]["completeness"] < 1
    assert results[0].warnings == ["figure_differs_from_published"]
    worst = results[0].summary["branches"][0]
    assert worst["branch"] == "ca"
    assert worst["arrived"] == 0
    assert worst["missing"] > 0
    first = artifact().split("## Vestigingen")[1].split("\n| ")[3]
    assert first.startswith("C one"), "the worst branch stands first"


def test_a_file_from_the_future_waits_for_its_name_or_its_day(places: Places, tmp_path: Path) -> None:
    """A day ahead may have begun where the export was made; a night that is caught up still knows what day it is."""
    from flows import nightly

    today = figures.today("Europe/Amsterdam")
    raw = tmp_path / "raw" / "aa"
    raw.mkdir(parents=True)
    source = next(path for path in (places.raw / "aa").rglob("*.csv"))
    names = {ahead: f"reserveringen_0060_{today + dt.timedelta(ahead):%Y%m%d}.csv" for ahead in (0, 31, 32)}
    for ahead, name in names.items():
        (raw / name).write_bytes(source.read_bytes() + b"\n" * ahead)

    def waiting(ahead: int | None) -> set[int]:
        as_of = None if ahead is None else str(today + dt.timedelta(ahead))
        nightly.nightly(str(tmp_path / "raw"), str(places.reference), str(places.warehouse), as_of, return_state=True)
        with duckdb.connect(str(places.bronze), read_only=True) as con:
            found = con.sql("SELECT path, verdict, reason FROM bronze.file").fetchall()
        verdicts = {path.rpartition("/")[2]: (verdict, reason) for path, verdict, reason in found}
        assert set(verdicts.values()) <= {("read", None), ("rejected", "dated_ahead")}
        return {ahead for ahead, name in names.items() if verdicts[name] != ("read", None)}

    assert waiting(-30) == {31, 32}
    assert waiting(None) == {31, 32}
    assert waiting(30) == {32}
    assert waiting(31) == set()


def test_the_published_file_is_readable_while_a_run_is_on(places: Places) -> None:
    run(places)
    with duckdb.connect(str(places.published), read_only=True) as reader:
        before = reader.execute("SELECT count(*) FROM marts.fct_leg").fetchone()
        run(places)
        assert reader.execute("SELECT count(*) FROM marts.fct_leg").fetchone() == before
