"""The morning page in a real browser: it asks nobody for anything, everybody can read it, and its Dutch is right."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pendel import figures, page
from pendel.figures import RunResult
from pendel.places import Places
from pendel.simulate import simulate
from tests.pipeline import AS_OF, BRANCHES, PUBLISHED, night, places_in
from tests.test_simulate import write_reference

AMSTERDAM = "Europe/Amsterdam"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
in_a_browser = pytest.mark.skipif(
    not CHROMIUM and not os.environ.get("CI"), reason="no Chromium: make browser, or install the package chromium"
)
LOOK = """
<script>%s</script>
<script>
axe.run(document).then(found => {
  document.title = JSON.stringify({
    violations: found.violations.map(v => [v.id, v.nodes.map(n => n.target.join(" ")).slice(0, 3)]),
    wide: document.documentElement.scrollWidth, window: window.innerWidth,
    old: !document.getElementById("old")?.hidden,
    outside: performance.getEntriesByType("resource").map(e => e.name)});
});
</script>"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A small network after a night; of a spring in which errors were planted."""
    folder = tmp_path_factory.mktemp("page")
    reference = write_reference(folder / "reference", BRANCHES, PUBLISHED)
    places = places_in(folder, reference)
    simulate(AS_OF.year, places.raw, reference, imperfections=True, truth=folder / "truth.json")
    places.simulated.touch()
    summary = night(places, AS_OF)
    run(summary=summary).write(places)
    return places


def run(**told: object) -> RunResult:
    values = {
        "finished_at": f"{AS_OF}T02:16:42Z", "published": True, "files_seen": 300, "files_new": 1, "summary": {}
    } | told  # fmt: skip
    return RunResult("20240101T021500Z-ab12", f"{AS_OF}T02:15:00Z", str(AS_OF), **values)  # type: ignore[arg-type]


def now() -> dt.datetime:
    return dt.datetime.combine(AS_OF, dt.time(4, 17), ZoneInfo(AMSTERDAM))


def well(summary: dict[str, object]) -> dict[str, object]:
    """A summary in which no branch needs anything."""
    branches = [
        branch | dict.fromkeys(("files_rejected", "rows_held", "missing", "rejected", "unconfirmed", "late"), 0)
        for branch in summary["branches"]  # type: ignore[attr-defined]
    ]
    return summary | {"branches": branches, "drift": []}


States = dict[str, Callable[[dict[str, object]], RunResult]]
STATES: States = {
    "attention": lambda summary: run(summary=summary),
    "well": lambda summary: run(summary=well(summary)),
    "held back": lambda summary: run(summary=summary, published=False, held_back_by=["deliveries_equal_lanes"]),
    "broke off": lambda summary: run(published=False, error="OSError"),
}


def browse(file: Path, *arguments: str) -> tuple[str, str]:
    """What Chromium prints and tells; without a network, which a page that needs none does not miss."""
    assert CHROMIUM, "the morning page is tested in a browser: apt-get install chromium"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", *arguments,
        file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout, done.stderr


def looked_at(file: Path, width: int) -> dict[str, object]:
    """What axe finds, how wide the page is in a window of that width, and what it asked for; no console message."""
    # a headless window is never narrower than 500: a frame is
    inner = file.with_name(f"inner-{file.name}")
    inner.write_text(file.read_text(encoding="utf-8").replace("</body>", f"{LOOK % AXE}</body>"), encoding="utf-8")
    outer = file.with_name(f"outer-{file.name}")
    outer.write_text(
        f"<!DOCTYPE html><html lang=nl><title>?</title><body style='margin:0'><iframe style='border:0' width={width} "
        f"height=3000 src='{inner.name}'></iframe><script>setInterval(() => {{ document.title = "
        "document.querySelector('iframe').contentDocument.title }, 200)</script></body></html>",
        encoding="utf-8",
    )
    out, told = browse(outer, "--dump-dom", "--window-size=1400,3000", "--allow-file-access-from-files")
    assert "CONSOLE" not in told, told
    title = re.search(r"<title>(.*?)</title>", out, re.DOTALL)
    assert title is not None
    found: dict[str, object] = json.loads(title[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    return found


@in_a_browser
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("width", [360, 1280])
def test_everybody_can_read_it_and_it_asks_for_nothing(
    network: Places, state: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = figures.last_run(network)
    assert last is not None
    index = page.write(network, STATES[state](last.summary), now(), AMSTERDAM)
    for file in (index, index.with_name("zoeklijsten.html")):
        found = looked_at(file, width)
        assert found["violations"] == []
        assert found["outside"] == []
        assert found["wide"] == found["window"] == width
    assert not re.search(r"(src|href)=[\"'](https?:)?//", index.read_text(encoding="utf-8"))


@in_a_browser
def test_it_prints_on_a4(network: Places, tmp_path: Path) -> None:
    last = figures.last_run(network)
    assert last is not None
    index = page.write(network, last, now(), AMSTERDAM)
    browse(index, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    content = (tmp_path / "page.pdf").read_bytes()
    boxes = {tuple(map(round, map(float, box.split()))) for box in re.findall(rb"/MediaBox \[([^]]*)\]", content)}
    assert boxes == {(0, 0, 595, 842)}


@in_a_browser
def test_a_page_says_itself_that_it_is_old(network: Places) -> None:
    last = figures.last_run(network)
    assert last is not None
    fresh = page.write(network, last, dt.datetime.now(dt.UTC), AMSTERDAM)
    assert looked_at(fresh, 1280)["old"] is False
    old = page.write(network, last, dt.datetime.now(dt.UTC) - dt.timedelta(hours=page.HOURS, minutes=1), AMSTERDAM)
    assert looked_at(old, 1280)["old"] is True
    assert "Deze pagina is ouder dan 26 uur" in old.read_text(encoding="utf-8")


def test_it_says_in_words_what_each_branch_must_do(network: Places, tmp_path: Path) -> None:
    """One branch stayed away on the last two days, of another the last export is no text."""
    places = places_in(tmp_path, network.reference)
    shutil.copytree(network.raw, places.raw, dirs_exist_ok=True)
    with figures.published(network) as con:
        (days,) = con.execute(
            "SELECT list(DISTINCT export_date ORDER BY export_date)[-2:] FROM marts.feed_day WHERE export_date < ?",
            [AS_OF],
        ).fetchall()[0]
        names = con.execute("SELECT branch, name FROM marts.dim_branch ORDER BY branch").fetchall()
    (away, away_name), (broken, broken_name) = names[0], names[-1]
    marks = [(f"{day:%Y%m%d}", str(day)) for day in days]
    for path in [
        path for path in (places.raw / away).rglob("*.*") if any(m in path.name for pair in marks for m in pair)
    ]:
        path.unlink()
    gone = [path for path in (places.raw / broken).rglob("*.*") if any(m in path.name for m in marks[-1])]
    assert gone
    for path in gone:
        path.write_bytes(b"\xff\xfe\x00")
    summary = night(places, AS_OF)
    text = page.write(places, run(summary=summary), now(), AMSTERDAM).read_text(encoding="utf-8")
    row = {
        name: text.split(f'<tr><th scope="row">{name}</th>')[1].split("</tr>")[0] for name in (away_name, broken_name)
    }
    assert "! " in re.sub("<[^>]+>", "", row[away_name]).replace("!\n", "! ")
    assert f"Vraag {away_name} om de export" in row[away_name]
    assert "✕" in row[broken_name]
    assert "gesimuleerd" in text
    assert text.index(f'scope="row">{broken_name}') < text.index(f'scope="row">{away_name}')


@pytest.mark.parametrize(("count", "said"), [(1, "1 rij"), (2, "2 rijen"), (0, "0 rijen"), (1234, "1.234 rijen")])
def test_plurals(count: int, said: str) -> None:
    assert page._several("{n} rij", "{n} rijen", count) == said


def test_without_anything_published_it_says_what_to_do(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    text = page.write(places, run(published=False, error="OSError"), now(), AMSTERDAM).read_text(encoding="utf-8")
    assert "Er is nog niets gepubliceerd" in text
    assert "data/raw" in text
