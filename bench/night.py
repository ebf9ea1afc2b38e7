"""How much processor time a night takes, beside the least that reading its files can take.

    make bench                          a simulated year, taken in at once
    python bench/night.py RAW AS_OF     the exports in RAW, as `pendel nightly --as-of AS_OF` would take them

Both sides run one after another in one process, on the same files: absolute times differ from machine to machine, the
ratio much less. The least: DuckDB reads the text files natively, all columns as text, with no rule, no check and no
store. Prefect is left out, and the import of Great Expectations is told apart.
"""

from __future__ import annotations

import datetime as dt
import gc
import resource
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

import duckdb

from pendel import bronze, building, figures, gates, reading
from pendel.contracts import export_formats
from pendel.places import Places
from pendel.reference import read_reference


def least(raw: Path) -> float:
    """Processor seconds for DuckDB to read the text files of `raw` natively."""
    start = time.process_time()
    with duckdb.connect() as con:
        for spec in export_formats().values():
            ending = spec.file_name.rsplit(".", 1)[1]
            files = [str(path) for path in sorted(raw.rglob(f"*.{ending}"))]
            if spec.container == "csv" and files:
                encoding = "latin-1" if spec.encoding == "cp1252" else "utf-8"
                con.read_csv(files, sep=spec.delimiter, all_varchar=True, encoding=encoding, header=True).fetchall()
    return time.process_time() - start


def night(places: Places, as_of: dt.date) -> dict[str, float]:
    """Processor seconds of each phase of a night."""
    start = last = time.process_time()
    found: dict[str, float] = {}

    def lap(name: str) -> None:
        nonlocal last
        now = time.process_time()
        found[name] = now - last
        last = now

    reference = read_reference(places.reference)
    run = bronze.Run.start(as_of)
    gc.freeze()
    with bronze.locked(places, run), ExitStack() as stack:
        plan = bronze.plan(places, reference)
        lap("find new files")
        batches = [reading.read_files(places.raw, files, plan.known, reference) for files in plan.files.values()]
        lap("read")
        bronze.take_in(places, reference, run, batches, gates.judge_rows)
        lap("judge and store")
        build = stack.enter_context(building.built(places, reference, run))
        lap("build")
        results = gates.check_build(build.con)
        lap("check")
        building.finish(build, run, results)
        figures.summary(build.con)
        building.publish(build, places)
        lap("publish")
    found["all"] = last - start
    return found


def main() -> None:
    """Print the phases, the least, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) == 3:
            raw, as_of = Path(sys.argv[1]), dt.date.fromisoformat(sys.argv[2])
        else:
            from pendel.simulate import simulate

            raw, as_of = Path(folder) / "raw", dt.date(2024, 1, 1)
            simulate(2023, raw, Places.of().reference)
        before = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import great_expectations  # noqa: F401
        print(f"{'import of Great Expectations':32}{time.process_time() - before:8.2f} s")
        places = Places.of(raw=raw, warehouse=Path(folder) / "warehouse")
        floor = least(raw)
        phases = night(places, as_of)
        for name, seconds in phases.items():
            print(f"{name:32}{seconds:8.2f} s")
        print(f"{'least: DuckDB reads the text':32}{floor:8.2f} s")
        print(f"{'ratio':32}{phases['all'] / floor:8.2f}")
        again = night(places, as_of)
        print(f"{'a night with nothing new':32}{again['all']:8.2f} s")
        print(f"{'peak memory':32}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB")


if __name__ == "__main__":
    main()
