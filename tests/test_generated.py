"""What is generated from the contracts and committed is up to date."""

from __future__ import annotations

from pendel import generated
from pendel.places import EXPECTATIONS, PROJECT


def test_generated_files_are_what_the_contracts_say() -> None:
    wanted = generated.files()
    stale = [name for name, content in wanted.items() if (PROJECT / name).read_bytes() != content]
    assert not stale, "run `make generated`"
    kept = {str(path.relative_to(PROJECT)) for path in (EXPECTATIONS / "suites").glob("*.json")}
    assert kept <= wanted.keys(), "run `make generated`"
