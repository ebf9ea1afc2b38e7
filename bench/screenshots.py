"""The pictures of docs/coordinator.md, made again: nights of a simulated network, looked at in a headless Chromium.

    python bench/screenshots.py [RAW]

RAW holds simulated exports of 2023, such as a `pendel demo` leaves; without it they are simulated first. Nobody's data
are in them. Needs Chromium; takes some minutes.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from zoneinfo import ZoneInfo

from pendel import figures, page, server
from pendel.cli import _prefect_environment
from pendel.places import PROJECT, Places
from pendel.simulate import simulate

IMAGES = PROJECT / "docs" / "images"
MORNING = dt.datetime(2023, 11, 22, 4, 17, tzinfo=ZoneInfo("Europe/Amsterdam"))
PORT = 4323


def shoot(address: str, name: str, width: int, height: int, seconds: int = 3) -> None:
    """What Chromium shows of a page, in docs/images."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}",
        f"--virtual-time-budget={seconds * 1000}", f"--screenshot={IMAGES / name}", address,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    print(name, (IMAGES / name).stat().st_size // 1000, "kB")


def still(places: Places, file: str, start: str = "<main>") -> str:
    """The address of a page of that morning, which does not say that it is old, from a part of it on."""
    last = figures.last_run(places)
    assert last is not None
    folder = page.write(places, last, MORNING, "Europe/Amsterdam").parent
    text = re.sub(r"<script>.*?</script>", "", (folder / file).read_text(encoding="utf-8"), flags=re.DOTALL)
    before, after = text.split(start, 1)
    copy = folder / f"still-{file}"
    copy.write_text(f"{before.split('<main>')[0]}<main>{after if start == '<main>' else start + after}", "utf-8")
    return copy.as_uri()


def night(places: Places, url: str) -> None:
    """A run of that morning, kept by the Prefect server at `url`; its checks may hold it back."""
    command = [sys.executable, "-m", "pendel.cli", "nightly", "--as-of", str(MORNING.date())]
    for name in ("raw", "reference", "warehouse"):
        command += [f"--{name}", str(getattr(places, name))]
    environment = os.environ | {"PREFECT_API_URL": url, "PENDEL_LANG": "nl"}
    done = subprocess.run(command, env=environment, cwd=PROJECT, check=False)
    assert done.returncode in (0, 1), done


def of_prefect(url: str, path: str) -> str:
    """The id of the newest of what Prefect keeps under a path."""
    body = json.dumps({"sort": "START_TIME_DESC" if path == "flow_runs" else "CREATED_DESC", "limit": 1}).encode()
    request = urllib.request.Request(f"{url}/{path}/filter", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return str(json.loads(answer.read())[0]["id"])


def main(home: Path, given: Path | None) -> None:
    """Three mornings and Prefect's interface: a branch stayed away, all well, and a register that was spoiled."""
    IMAGES.mkdir(exist_ok=True)
    reference = shutil.copytree(PROJECT / "data" / "reference", home / "reference")
    (reference / "published_figures.csv").unlink()  # that year's overview is yet to be written
    places = Places.of(raw=home / "raw", reference=reference, warehouse=home / "warehouse")
    if given:
        shutil.copytree(given, places.raw)
    else:
        simulate(MORNING.year, places.raw, reference)
    places.simulated.touch()
    away = home / "away"
    short = max(path.name for path in places.raw.iterdir() if path.is_dir())
    for path in [path for path in places.raw.rglob("*.*") if path.is_file()]:
        day = "".join(re.findall(r"\d", path.name))[-8:]
        if len(day) == 8 and day >= f"{MORNING:%Y%m%d}":
            path.unlink()
        elif len(day) == 8 and short in path.relative_to(places.raw).parts and day >= "20231120":
            (away / path.relative_to(places.raw)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(away / path.relative_to(places.raw))
    os.environ.update(_prefect_environment(places))
    places.prefect.mkdir(parents=True)
    with server.own(PORT) as url:
        server.wait_for(url)
        address = url.removesuffix("/api")
        night(places, url)
        shoot(f"{address}/runs/flow-run/{of_prefect(url, 'flow_runs')}", "prefect-verwerking.png", 1280, 720, 20)
        shoot(still(places, "index.html"), "ochtend-niet-geleverd.png", 1100, 840)
        shoot(still(places, "zoeklijsten.html"), "zoeklijst.png", 1100, 720)
        shutil.copytree(away, places.raw, dirs_exist_ok=True)
        night(places, url)
        shoot(still(places, "index.html"), "ochtend-gewoon.png", 1100, 850)
        shoot(f"{address}/artifacts/artifact/{of_prefect(url, 'artifacts')}", "prefect-verslag.png", 1100, 900, 20)
        register = reference / "branches.csv"
        register.write_text(re.sub(r"(?<=,)(\d{3,5})(?=,\w+_)", r"9\1", register.read_text("utf-8")), "utf-8")
        night(places, url)
        shoot(still(places, "index.html"), "ochtend-tegengehouden.png", 1100, 890)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder), Path(sys.argv[1]) if len(sys.argv) > 1 else None)
