"""How much processor time a night takes, beside the least that reading its files can take.

    make bench                      a simulated year taken in at once, then the night of its last day
    python bench/night.py 10        the same with ten years of history

Both sides run one after another in one process, on the same files: absolute times differ from machine to machine, the
ratio much less. The least: DuckDB reads the text files natively, all columns as text, with no rule, no check and no
store. Prefect is left out, and the import of Great Expectations is told apart.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

import duckdb

from pendel import bronze, building, figures, gates, history, reading
from pendel.contracts import export_formats
from pendel.places import Places
from pendel.reference import Reference, read_reference
from pendel.simulate import simulate


def least(raw: Path, reference: Reference, folder: Path) -> float:
    """Processor seconds for DuckDB to read the text files of `raw` natively; rewritten as UTF-8 before, untimed."""
    texts: dict[str, list[str]] = {}
    for branch, name in sorted({(period.branch, period.export_format) for period in reference.branches}):
        spec = export_formats()[name]
        ending = spec.file_name.rsplit(".", 1)[1]
        for path in sorted((raw / branch).rglob(f"*.{ending}")) if spec.container == "csv" else []:
            copy = folder / f"{branch}-{path.name}"
            copy.write_text(path.read_text(encoding=spec.encoding, errors="replace"), encoding="utf-8")
            texts.setdefault(spec.delimiter, []).append(str(copy))
    start = time.process_time()
    with duckdb.connect() as con:
        for number, (delimiter, files) in enumerate(texts.items()):
            con.read_csv(files, sep=delimiter, all_varchar=True, header=True).create(f"read_{number}")
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
    run = bronze.Run.start(as_of, places)
    gc.freeze()
    with bronze.locked(places, run), ExitStack() as stack:
        plan = bronze.plan(places, reference)
        lap("find new files")
        batches = [reading.read_files(places.raw, files, plan.known, reference) for files in plan.files.values()]
        lap("read")
        bronze.take_in(places, reference, run, batches, gates.judge_rows, plan.withdrawn)
        lap("judge and store")
        build = stack.enter_context(building.built(places, reference, run))
        lap("build")
        results = gates.check_build(build.con, build.renewed)
        lap("check")
        building.finish(build, run, results)
        history.record(places, build, run, results)
        figures.summary(build.con)
        building.publish(build, places)
        lap("publish")
    found["all"] = last - start
    return found


def main() -> None:
    """Print the phases of both nights, the least, and the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("years", nargs="?", type=int, default=1, help="of history (default: %(default)s)")
    years = parser.parse_args().years
    if years < 1:
        parser.error("at least one year")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw, last = folder / "raw", folder / "last"
        for year in range(2024 - years, 2024):
            simulate(year, raw, Places.of().reference, continues=year > 2024 - years)
        newest = max(_date(path) for path in raw.rglob("*.*"))
        for path in [path for path in raw.rglob("*.*") if path.is_file() and _date(path) == newest]:
            (last / path.relative_to(raw)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(last / path.relative_to(raw))
        before = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import great_expectations  # noqa: F401
        print(f"{'import of Great Expectations':40}{time.process_time() - before:8.2f} s")
        places = Places.of(raw=raw, warehouse=folder / "warehouse")
        first = night(places, dt.date(2023, 12, 31))
        shutil.copytree(last, raw, dirs_exist_ok=True)
        second = night(places, dt.date(2023, 12, 31))
        print(f"{'':40}{'at once':>10}{'last day':>10}")
        for phase in first:
            print(f"{phase:40}{first[phase]:8.2f} s{second[phase]:8.2f} s")
        (folder / "texts").mkdir()
        floor = least(raw, read_reference(places.reference), folder / "texts")
        print(f"{'least: DuckDB reads the text':40}{floor:8.2f} s")
        print(f"{'ratio':40}{first['all'] / floor:8.2f}")
        print(f"{'peak memory':40}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB")


def _date(path: Path) -> str:
    """The export date in a file's name, as yyyymmdd."""
    digits = "".join(re.findall("[0-9]+", path.name))
    return digits[-8:]


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # DuckDB's bindings fill standard error at exit with what Great Expectations' imports still hold
