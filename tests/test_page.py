"""The morning page in a real browser: it asks nobody for anything, everybody can read it, and its words are right."""

from __future__ import annotations

import datetime as dt
import gettext
import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from pendel import figures, notify, page, words
from pendel.figures import RunResult
from pendel.places import Places, UserError
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


@pytest.fixture(autouse=True)
def _language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for a language, and what `set_language` changes is put back."""
    monkeypatch.setenv("LANGUAGE", os.environ.get("LANGUAGE", ""))
    monkeypatch.setattr(words, "_language", words.language())
    monkeypatch.setattr(words, "_on_the_line", None)
    monkeypatch.delenv("PENDEL_LANG", raising=False)


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
@pytest.mark.parametrize(("state", "lang"), [*((state, "nl") for state in STATES), ("attention", "en")])
@pytest.mark.parametrize("width", [360, 1280])
def test_everybody_can_read_it_and_it_asks_for_nothing(
    network: Places, state: str, lang: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENDEL_LANG", lang)
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
    old = page.write(network, last, dt.datetime.now(dt.UTC) - dt.timedelta(hours=notify.HOURS, minutes=1), AMSTERDAM)
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
    assert [re.findall(r'class="num"[^>]*>([^<]*)<', cells) for cells in row.values()] == [["–"], ["–"]]
    assert "gesimuleerd" in text
    assert text.index(f'scope="row">{broken_name}') < text.index(f'scope="row">{away_name}')


def seen(file: Path) -> str:
    """What a reader of a page sees, or hears: its texts, and those of its labels."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    labels = " ".join(re.findall(r'(?:aria-label|data-head|title)="([^"]*)"', text))
    return " ".join(html.unescape(f"{re.sub('<[^>]+>', ' ', text)} {labels}").split())


DUTCH = re.compile(
    r"\b(de|het|een|en|van|niet|niets|naar|voor|nog|dan|wat|bij|uit|geen|per|uur|ontvangen|bestand|bestanden|rij|rijen|"
    r"vestiging|vestigingen|aanlevering|aanleveringen|zoeken|exemplaar|exemplaren|krat|kratten|dag|dagen|maandag|"
    r"dinsdag|woensdag|donderdag|vrijdag|transportdagen|geleverd)\b",
    re.IGNORECASE,
)


def test_in_english_when_asked_for(network: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not because the machine is English: the page is everybody's. No Dutch is left in it; names of holidays are."""
    last = figures.last_run(network)
    assert last is not None
    read_in: dict[str, list[str]] = {}
    for lang, variables in {"nl": {"LANG": "en_US.UTF-8"}, "en": {"PENDEL_LANG": "en"}}.items():
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for state in STATES.values():
            index = page.write(network, state(last.summary), now(), AMSTERDAM)
            for file in (index, index.with_name("zoeklijsten.html")):
                assert f'<html lang="{lang}">' in file.read_text(encoding="utf-8")
                read_in.setdefault(lang, []).append(seen(file))
    quoted = re.compile(r"\([^()]*: [^()]*\)|\w+/2024/[^/]*\.\w{3,4}")  # the heads of an export, and its name
    for dutch, english in zip(read_in["nl"], read_in["en"], strict=True):
        assert len(set(DUTCH.findall(dutch))) > 8
        assert DUTCH.findall(quoted.sub("", english)) == []
    assert "Friday 10 May 2024, updated at 04:17" in read_in["en"][0]
    assert "vrijdag 10 mei 2024, bijgewerkt om 04:17 uur" in read_in["nl"][0]
    assert words.language() == "nl", "as it was"


def test_each_text_of_the_catalog_is_said_in_one_language(network: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENDEL_LANG", "en")
    last = figures.last_run(network)
    assert last is not None
    text = seen(page.write(network, last, now(), AMSTERDAM))
    dutch = gettext.translation("messages", words.LOCALE, ["nl"])
    for source in ("What each branch needs", "Under way, by pick-up branch", "What is held, and why", "not expected"):
        assert source in text
        assert dutch.gettext(source) not in text


@pytest.mark.parametrize(
    ("lang", "count", "said"),
    [
        ("nl", 0, "0 nieuwe bestanden van de 1.234 in de map"),
        ("nl", 1, "1 nieuw bestand van de 1.234 in de map"),
        ("nl", 2, "2 nieuwe bestanden van de 1.234 in de map"),
        ("en", 0, "0 new files of the 1,234 in the folder"),
        ("en", 1, "1 new file of the 1,234 in the folder"),
        ("en", 2, "2 new files of the 1,234 in the folder"),
    ],
)
def test_plurals(lang: str, count: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENDEL_LANG", lang)
    told = run(published=False, error="OSError", files_new=count, files_seen=1234)
    assert said in seen(page.write(places_in(tmp_path), told, now(), AMSTERDAM))


LATER = "door een oudere versie van pendel gemaakt"


def of_before(network: Places, folder: Path, change: str) -> Places:
    """The network's warehouse as an older version would have published it."""
    places = places_in(folder, network.reference)
    places.warehouse.mkdir()
    shutil.copy(network.published, places.published)
    with duckdb.connect(str(places.published)) as con:
        con.execute(change)
    return places


@pytest.mark.parametrize(
    ("change", "section"),
    [
        ("DROP TABLE marts.lane_usual", "lijnen"),
        ("ALTER TABLE marts.lane_usual RENAME is_told TO was_told", "lijnen"),
        ("DROP TABLE marts.search_item", "zoeklijsten"),
        ("ALTER TABLE marts.search_item DROP waiting_transport_days", "zoeklijsten"),
        ("DROP TABLE marts.forecast_error", "morgen"),
        ("DROP TABLE marts.feed_day", "vestigingen"),
        ("DROP TABLE marts.agg_lane_day", "dagen"),
        ("DROP TABLE marts.under_way", "onderweg"),
        ("DROP TABLE quality.quarantined_row", "geweigerd"),
    ],
)
def test_a_warehouse_of_an_older_version_lacks_a_part(
    network: Places, tmp_path: Path, change: str, section: str
) -> None:
    places = of_before(network, tmp_path, change)
    last = figures.last_run(network)
    assert last is not None
    index = page.write(places, last, now(), AMSTERDAM)
    parts = {part.split('"')[0]: part for part in index.read_text(encoding="utf-8").split('<h2 id="')[1:]}
    assert len(parts) >= 8
    assert [name for name, part in parts.items() if LATER in part] == [section]
    lists = index.with_name("zoeklijsten.html").read_text(encoding="utf-8")
    assert (LATER in lists) == (section == "zoeklijsten")


@pytest.mark.parametrize(
    ("change", "said"),
    [("DROP TABLE quality.run", "oudere versie"), ("DROP TABLE marts.dim_branch", "oudere versie")],
)
def test_a_warehouse_of_an_older_version_is_not_shown(network: Places, tmp_path: Path, change: str, said: str) -> None:
    last = figures.last_run(network)
    assert last is not None
    text = seen(page.write(of_before(network, tmp_path, change), last, now(), AMSTERDAM))
    assert said in text
    assert "Wat gepubliceerd is, kan niet worden getoond" in text


def test_a_damaged_warehouse_is_not_shown(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.warehouse.mkdir()
    places.published.write_bytes(b"no database" * 1000)
    text = seen(page.write(places, run(published=False, error="OSError"), now(), AMSTERDAM))
    assert "Het bestand is beschadigd" in text
    assert "nog niets gepubliceerd" not in text


def test_what_a_run_broke_off_on_is_told(network: Places) -> None:
    error = UserError("There are no figures of {period}: no exports of it were taken in.", period="2023")
    index = page.write(network, run(published=False, error="UserError"), now(), AMSTERDAM, error)
    header = seen(index).split("Wat elke vestiging nodig heeft")[0]
    assert "Er zijn geen cijfers van 2023" in header
    assert "start" in header or "Draai" in header


def test_a_run_that_could_not_begin_is_told_above_the_figures_of_before(network: Places, tmp_path: Path) -> None:
    error = UserError("{file} is not UTF-8. Save it as CSV UTF-8.", file="branches.csv")
    page.write_error(network, error, now())
    index = network.page
    header, *rest = seen(index).split("Wat elke vestiging nodig heeft")
    assert "De verwerking kon niet beginnen: branches.csv is geen UTF-8. Sla het op als CSV UTF-8." in header
    assert "Los dit op en draai pendel nightly" in header
    assert 'class="attention"' in index.read_text(encoding="utf-8")
    assert rest, "the figures of before"
    page.write_error(network, ValueError("the value of a reader"), now())
    assert "ValueError" in seen(index)
    assert "reader" not in seen(index)
    nowhere = Places.of(home=tmp_path)
    page.write_error(nowhere, error, now())
    assert not nowhere.warehouse.exists()


def test_a_night_that_never_was_is_told_above_the_figures_of_before(network: Places) -> None:
    last = figures.last_run(network)
    assert last is not None
    index = page.write(network, last, now(), AMSTERDAM)
    before = index.read_text(encoding="utf-8")
    page.write_alarm(network, now() + dt.timedelta(hours=5))
    assert index.read_text(encoding="utf-8") == before, "nothing is wrong"
    page.write_alarm(network, now() + dt.timedelta(hours=30))
    header, *rest = seen(index).split("Wat elke vestiging nodig heeft")
    assert "30 uur geleden" in header
    assert "Stond de machine uit?" in header
    assert rest


def test_what_is_probably_lost_stands_apart_and_each_part_the_oldest_first(network: Places, tmp_path: Path) -> None:
    """Items that wait for 10 to 19 days, at both ends; a receipt that is not confirmed is not lost."""
    waiting = """
        INSERT INTO marts.search_item BY NAME
        SELECT
            unnest([supplying_branch, pickup_branch, pickup_branch]) AS branch,
            unnest(['find_at_supplier', 'find_at_pickup', 'register_receipt']) AS task,
            pickup_organisation, reservation_id, supplying_branch, pickup_branch, '2024-04-01'::DATE AS since,
            10 + row_number() OVER (ORDER BY reservation_id) % 10 AS waiting_transport_days
        FROM marts.fct_leg
        WHERE supplying_branch <> ''
        LIMIT 60"""
    places = of_before(network, tmp_path, waiting)
    last = figures.last_run(network)
    assert last is not None
    index = page.write(places, last, now(), AMSTERDAM)
    lists = index.with_name("zoeklijsten.html").read_text(encoding="utf-8")
    days = re.compile(r'data-head="Transportdagen">(\d+)<')
    lost = re.findall("<details>.*?</details>", lists, re.DOTALL)
    still = re.sub("<details>.*?</details>", "", lists, flags=re.DOTALL)
    for table in (*lost, *still.split("</table>")):
        found = [int(day) for day in days.findall(table)]
        assert found == sorted(found, reverse=True)
    items = figures.search_items(places)
    is_lost = [item["task"] in page.MAY_BE_LOST and item["waiting_transport_days"] > 15 for item in items]
    assert len(days.findall("".join(lost))) == sum(is_lost) > 0
    assert {int(day) for day in days.findall("".join(lost))} == {16, 17, 18, 19}
    assert len(days.findall(still)) == len(items) - sum(is_lost)
    assert "al langer dan 15 transportdagen" in lost[0]


def test_what_branches_need_is_of_the_figures_that_are_shown(network: Places) -> None:
    """Not of a run that was held back: what it refused is not among what is refused below."""
    last = figures.last_run(network)
    assert last is not None
    spoiled = [branch | {"rows_held": 98765} for branch in last.summary["branches"]]
    told = run(summary=last.summary | {"branches": spoiled}, published=False, held_back_by=["most_rows_count"])
    held_back = seen(page.write(network, told, now(), AMSTERDAM))
    assert "98.765 rijen tegengehouden" not in held_back
    assert re.search(r"\d rij(en)? tegengehouden: zie hieronder", held_back)
    told.published = True
    assert "98.765 rijen tegengehouden" in seen(page.write(network, told, now(), AMSTERDAM))


def test_without_anything_published_it_says_what_to_do(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    text = page.write(places, run(published=False, error="OSError"), now(), AMSTERDAM).read_text(encoding="utf-8")
    assert "Er is nog niets gepubliceerd" in text
    assert "data/raw" in text
