"""The judge, judged: what it says of the planted network is what was planted, item by item."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import oracle, othernetwork


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> othernetwork.Planted:
    return othernetwork.build(tmp_path_factory.mktemp("othernetwork"))


@pytest.fixture(scope="module")
def verdict(planted: othernetwork.Planted) -> oracle.Verdict:
    return oracle.judge(planted.raw, planted.reference)


def test_every_file_has_its_state(planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    assert {path: file.state for path, file in verdict.files.items()} == {
        path: file.state for path, file in planted.files.items()
    }
    assert {path: file.branch for path, file in verdict.files.items()} == {
        path: file.branch for path, file in planted.files.items()
    }
    assert verdict.file_states() == planted.file_states


def test_every_row_is_accounted_for(planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    judged = {p: (f.read, f.accepted, f.quarantined, f.duplicate) for p, f in verdict.files.items()}
    assert judged == {p: (f.read, f.accepted, f.quarantined, f.duplicate) for p, f in planted.files.items()}
    for read, accepted, quarantined, duplicate in judged.values():
        assert read == accepted + quarantined + duplicate
    assert verdict.rows() == planted.rows


def test_every_bad_row_is_held_for_its_reason(planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    judged = sorted((item.branch, item.file, item.row, item.rule) for item in verdict.quarantined)
    assert judged == sorted(planted.quarantined)
    assert sorted(map(str, verdict.listed_quarantine())) == sorted(map(str, planted.listed_quarantine))


def test_every_leg_ends_as_planted(planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    assert {key: (leg.state, leg.pickup_branch) for key, leg in verdict.legs.items()} == {
        key: (leg.state, leg.pickup_branch) for key, leg in planted.legs.items()
    }
    assert {key: leg.received for key, leg in verdict.legs.items()} == {
        key: in_utc(leg.received) for key, leg in planted.legs.items()
    }
    assert verdict.leg_states() == planted.leg_states


def in_utc(local: str) -> datetime | None:
    return datetime.fromisoformat(local).replace(tzinfo=oracle.AMSTERDAM).astimezone(UTC) if local else None


def test_every_delivery_is_counted_once(planted: othernetwork.Planted, verdict: oracle.Verdict) -> None:
    assert [(f"{d.day}", d.supplying_branch, d.pickup_branch) for d in verdict.deliveries] == [
        (d.day, d.supplying_branch, d.pickup_branch) for d in sorted(planted.deliveries)
    ]
    for year in (2000, 2022, 2023, 2024):
        assert verdict.total(year) == planted.total(year)
        assert verdict.by_month(year) == planted.by_month(year)
        assert verdict.by_lane(year) == planted.by_lane(year)
        assert verdict.by_pair(year) == planted.by_pair(year)


def test_the_totals_as_counted_by_hand(planted: othernetwork.Planted) -> None:
    """Once more without the network's own bookkeeping: a change to what is planted is a change here."""
    assert [planted.total(year) for year in (2000, 2022, 2023, 2024)] == [1, 2, 130, 2]
    assert list(planted.by_month(2023).values()) == [18, 2, 16, 2, 27, 21, 10, 2, 5, 6, 18, 3]
    between = sum(count for (a, b), count in planted.by_pair(2023).items() if a != b)
    assert between == 81
    assert planted.file_states == {
        "accepted": 54,
        "partly_accepted": 11,
        "rejected": 32,
        "superseded": 3,
        "skipped": 5,
    }


def test_canaries_are_in_the_raw_files(planted: othernetwork.Planted, tmp_path: Path) -> None:
    """A canary that is not there proves nothing; text files suffice to see most of them."""
    delivered = b"".join(path.read_bytes() for path in planted.raw.rglob("*") if path.suffix in (".csv", ".tsv"))
    missing = [
        canary
        for canary in planted.canaries
        if canary.encode("utf-8") not in delivered and canary.encode("cp1252") not in delivered
    ]
    assert missing == []
