"""The coordinator's morning page: one file of HTML, in Dutch, that needs no server, no script and no other file.

What is on it is selected by `pendel.figures`; here it gets its words, its order and its form.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from babel.dates import format_date

from pendel import figures, present
from pendel.figures import NoFigures, RunResult
from pendel.places import Places, UserError, write_whole
from pendel.words import date, language, number, set_language

HOURS = 26
"""A page that is older was not followed by another night."""

SIGNS = {
    "received": ("✓", "ontvangen"),
    "late": ("◷", "te laat"),
    "empty": ("–", "leeg bestand"),
    "rejected": ("✕", "afgekeurd"),
    "missing": ("!", "niet ontvangen"),
    "none": ("·", "niet verwacht"),
}
"""The state of a branch's export of a day: a sign and a word, since colour alone tells nothing to everybody."""

ORDER = ["rejected", "missing", "held", "late", "received", "empty", "none"]
"""Worst first."""


def write(places: Places, run: RunResult, now: dt.datetime, time_zone: str) -> Path:
    """Write `site/index.html` in the warehouse's folder, of a run and of what is published; `now` bears its zone.

    A run that was held back or broke off leaves the figures of the night before: the page says so.
    """
    before = language()
    set_language("nl")
    try:
        text = _template().render(_content(places, run, now.astimezone(ZoneInfo(time_zone))))
    finally:
        set_language(before)
    page = places.warehouse / "site" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, text)
    return page


@functools.cache
def _template() -> jinja2.Template:
    folder = Path(__file__).parent / "templates"
    machine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    machine.filters |= {"number": number, "date": date, "day": _day, "weekday": _weekday}
    machine.globals |= {"several": _several, "SIGNS": SIGNS}
    return machine.get_template("morning.html")


def _several(one: str, many: str, count: int) -> str:
    """A phrase about a number; the page is Dutch, and so are its phrases."""
    return (one if count == 1 else many).replace("{n}", number(count))


def _day(day: dt.date) -> str:
    """maandag 20 november"""
    return str(format_date(day, "EEEE d MMMM", locale="nl"))


def _weekday(day: dt.date) -> str:
    return str(format_date(day, "EEEE", locale="nl"))


def _content(places: Places, run: RunResult, now: dt.datetime) -> dict[str, Any]:
    """All that the template tells."""
    published: dict[str, Any] | None = None
    held: list[dict[str, Any]] = []
    try:
        with figures.published(places) as con:
            published = figures.morning(con)
        held = [item for item in figures.quarantine(places) if not item["settled"]]
    except NoFigures:
        pass
    except UserError:
        published = None  # damaged: the next night makes it again, and the headline says what became of this one
    sums = run.summary
    content: dict[str, Any] = {
        "run": run,
        "verdict": present.verdict(run),
        "is_well": bool(sums) and not figures.needs_attention(run, sums),
        "is_held_back": not run.published,
        "now": now,
        "valid_until": now + dt.timedelta(hours=HOURS),
        "hours": HOURS,
        "simulated": places.simulated.exists(),
        "lasted": _lasted(run),
        "checks_failed": [present.check_name(check) for check in run.held_back_by],
        "warnings": [present.check_name(check) for check in run.warnings],
        "drift": [present.drift_sentence(item) for item in sums.get("drift", [])],
        "rows": sums.get("rows"),
        "published": published,
    }
    if published:
        days = [published["as_of"] - dt.timedelta(days=back) for back in range(28, 0, -1)]
        feed = {(item["branch"], item["export_date"]): item for item in published["feed"]}
        last = max((item["export_date"] for item in published["feed"]), default=None)
        content |= {
            "days": days,
            "grid": _grid(published["names"], days, feed),
            "last_export_day": last,
            "branches": _branches(published, feed, last, sums, held),
            "arrived": sum(feed[key]["state"] in ("received", "late") for key in feed if key[1] == last),
            "expected": sum(key[1] == last for key in feed),
            "held": _held(held, published["names"]),
            "chart": _chart(published["days"]),
            **_lanes(published),
        }
    return content


def _lasted(run: RunResult) -> str:
    """How long a run took: 1 min 42 s."""
    if not run.finished_at:
        return "–"
    seconds = round(
        (dt.datetime.fromisoformat(run.finished_at) - dt.datetime.fromisoformat(run.started_at)).total_seconds()
    )
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


def _state(item: dict[str, Any] | None) -> str:
    if item is None or item["state"] == "not_begun":
        return "none"
    return "empty" if item["state"] in ("received", "late") and not item["rows"] else str(item["state"])


def _grid(
    names: dict[str, str], days: list[dt.date], feed: dict[tuple[str, dt.date], dict[str, Any]]
) -> list[tuple[str, list[str]]]:
    """Of every branch the state of its export of each day."""
    return [(name, [_state(feed.get((branch, day))) for day in days]) for branch, name in names.items()]


def _branches(
    published: dict[str, Any],
    feed: dict[tuple[str, dt.date], dict[str, Any]],
    last: dt.date | None,
    sums: dict[str, Any],
    held: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """What each branch needs, worst first: its state on the last day, and what to do in words."""
    told = {item["branch"]: item for item in sums.get("branches", [])}
    lines = []
    for branch in [*published["names"], *(set(told) - set(published["names"]))]:
        item = feed.get((branch, last)) if last else None
        state = _state(item)
        mine = told.get(branch, {})
        name = published["names"].get(branch) or mine.get("name") or branch
        todo = [
            present.held_message(entry)
            for entry in held
            if entry["branch"] == branch and entry["row"] is None and entry["export_date"] == last
        ]
        missing = _missing_on_end(branch, feed)
        if missing and state == "missing":
            text = _several(
                "Al {n} aanleverdag geen bestand. Vraag {name} om de export van {days}.",
                "Al {n} aanleverdagen geen bestand. Vraag {name} om de exports van {days}.",
                len(missing),
            )
            days = " en ".join(filter(None, [", ".join(map(date, missing[-3:-1])), date(missing[-1])]))
            todo.append(text.replace("{name}", name).replace("{days}", ("… " if len(missing) > 3 else "") + days))
        if mine.get("rows_held"):
            todo.append(_several("{n} rij tegengehouden: zie hieronder.", "{n} rijen tegengehouden: zie hieronder.",
                                mine["rows_held"]))  # fmt: skip
        if mine.get("unconfirmed"):
            text = _several(
                "{n} ontvangst is niet bevestigd", "{n} ontvangsten zijn niet bevestigd", mine["unconfirmed"]
            )
            todo.append(f"{text}: de export van {name} van die dag ontbreekt of is onvolledig.")
        elsewhere = (mine.get("missing") or 0) - (len(missing) if state == "missing" else 0)
        if elsewhere > 0:
            text = _several("Er ontbreekt nog {n} oudere export", "Er ontbreken nog {n} oudere exports", elsewhere)
            todo.append(f"{text}: zie `pendel status`.")
        lines.append(
            {
                "name": name,
                "organisation": published["organisations"].get(branch, ""),
                "state": state,
                "rank": "held" if state == "received" and todo else state,
                "rows": item["rows"] if item else None,
                "todo": todo,
            }
        )
    lines.sort(key=lambda line: (ORDER.index(line["rank"]), line["name"]))
    return lines


def _missing_on_end(branch: str, feed: dict[tuple[str, dt.date], dict[str, Any]]) -> list[dt.date]:
    """The last days of which nothing was delivered, one after another."""
    days: list[dt.date] = []
    for item in sorted((f for (b, _), f in feed.items() if b == branch), key=lambda f: f["export_date"], reverse=True):
        if item["state"] != "missing":
            break
        days.append(item["export_date"])
    return days[::-1]


MOST_HELD = 20
"""The most lines of what was refused; the rest is in `pendel quarantine`."""


def _held(held: list[dict[str, Any]], names: dict[str, str]) -> dict[str, Any]:
    """What was refused, by branch and rule, the newest first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in sorted(held, key=lambda item: str(item["export_date"] or ""), reverse=True):
        groups.setdefault((item["branch"], item["rule"]), []).append(item)
    lines = [
        {
            "branch": names.get(branch, branch) or "–",
            "count": _several("{n} bestand", "{n} bestanden", len(items))
            if items[0]["row"] is None
            else _several("{n} rij", "{n} rijen", len(items)),
            "newest": items[0]["export_date"],
            "file": items[0]["file"],
            "row": items[0]["row"],
            "why": present.held_message(items[0]),
        }
        for (branch, _), items in groups.items()
    ]
    return {"lines": lines[:MOST_HELD], "more": max(0, len(lines) - MOST_HELD)}


def _lanes(published: dict[str, Any]) -> dict[str, Any]:
    """The lanes of the last transport day: a matrix, what is unusual in words, and the totals."""
    lanes = {(lane["supplying_branch"], lane["pickup_branch"]): lane for lane in published["lanes"]}
    named = published["names"]
    names = {branch: name for branch, name in named.items() if any(branch in pair for pair in lanes)}
    unusual = sorted(
        (lane for lane in lanes.values() if lane["is_unusual"]),
        key=lambda lane: -abs(lane["delivered"] - lane["usually_delivered"]),
    )
    sentences = []
    for lane in unusual:
        way = "meer" if lane["delivered"] > lane["usually_delivered"] else "minder"
        usual = number(round(lane["usually_delivered"]))
        between = f"{number(lane['least_delivered'])} tot {number(lane['most_delivered'])}"
        sentences.append(
            {
                "lane": f"{named[lane['supplying_branch']]} → {named[lane['pickup_branch']]}",
                "text": f"{number(lane['delivered'])} geleverd, {way} dan gewoonlijk ({usual}; {between}).",
            }
        )
    untold = sorted({named[lane["pickup_branch"]] for lane in lanes.values() if not lane["is_told"]})
    # what is not known yet is compared with nothing
    usually = [lane["usually_delivered"] for lane in lanes.values() if lane["is_told"]]
    return {
        "lane_names": names,
        "lanes": lanes,
        "unusual": sentences,
        "untold": untold,
        "lane_day": next((lane["date"] for lane in lanes.values()), None),
        "delivered": sum(lane["delivered"] for lane in lanes.values() if lane["is_told"]),
        "usually": None if not usually or None in usually else round(sum(usually)),
    }


WIDTH, HEIGHT = 900, 220


def _chart(days: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the bars and the line of the chart stand, in the units of its viewBox."""
    most = max((day["delivered"] for day in days), default=0)
    step = next((size for size in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if size * 5 >= most), 10_000)
    top = max(step, -(-most // step) * step)
    left, bottom, high = 50, HEIGHT - 30, HEIGHT - 45
    wide = (WIDTH - left - 10) / max(1, len(days))

    def y(value: float) -> float:
        return round(bottom - high * value / top, 1)

    bars: list[dict[str, Any]] = [
        {
            "x": round(left + place * wide + 1, 1),
            "y": y(day["delivered"]),
            "width": round(wide - 2, 1),
            "height": round(bottom - y(day["delivered"]), 1),
            "label": format_date(day["date"], "d MMM", locale="nl") if day["date"].weekday() == 0 else "",
            "is_holiday": bool(day["holiday"]),
        }
        for place, day in enumerate(days)
    ]
    line = " ".join(f"{bar['x'] + bar['width'] / 2:.1f},{y(day['mean'])}" for bar, day in zip(bars, days, strict=True))
    lines = [(y(value), number(value)) for value in range(0, top + 1, step)]
    return {"bars": bars, "line": line, "lines": lines, "bottom": bottom, "left": left, "days": days,
            "width": WIDTH, "height": HEIGHT}  # fmt: skip
