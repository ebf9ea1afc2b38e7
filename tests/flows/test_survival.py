"""The flow when the ground gives way: a damaged store, a raw folder that goes away between finding and reading."""

from __future__ import annotations

from typing import Any

import pytest

from pendel import bronze, building, figures
from pendel.places import Damaged, Places
from tests.flows.test_nightly import AS_OF, delivered, figures_of, places, run  # noqa: F401
from tests.flows.test_nightly import pytestmark as pytestmark


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
