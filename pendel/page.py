"""The coordinator's morning page, and the search lists to print: HTML that needs no server and no script, in Dutch, or
in English where --lang or PENDEL_LANG asks for it.

What is on it is selected by `pendel.figures`; here it gets its words, its order and its form.
"""

from __future__ import annotations

import datetime as dt
import functools
import gettext
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup, escape

from pendel import figures, forecast, notify, present
from pendel.figures import NoFigures, RunResult
from pendel.notify import Trouble
from pendel.places import Places, UserError, write_whole
from pendel.reference import Parameters, read_reference
from pendel.words import _, asked_language, counted, date, day_as, language, listed, long_day, number, set_language

LIST = 60
"""The most items of a branch and task that are printed; the rest is in `pendel overdue`."""

MAY_BE_LOST = ("find_at_pickup", "find_at_supplier", "send")
"""The tasks about items of which some were not found for so long that they will not be."""

ORDER = ["rejected", "missing", "held", "late", "received", "empty", "none"]
"""Worst first."""

PAGES = ("zoeklijsten.html", "index.html")


def write(places: Places, run: RunResult, now: dt.datetime, time_zone: str, error: BaseException | None = None) -> Path:
    """Write `site/index.html` in the warehouse's folder, of a run and of what is published, and beside it
    `zoeklijsten.html`, the search lists of all branches; `now` bears its zone, `error` is why the run broke off.

    A run that was held back or broke off leaves the figures of the night before: the page says so.
    """

    def why() -> Trouble | None:
        told = _(error.template).format(**error.values) if isinstance(error, UserError) else ""
        return notify.troubles_of(run, why=told)[0] if run.error else None

    return _write(places, run, now, time_zone, why)


def write_error(places: Places, error: Exception, now: dt.datetime) -> None:
    """Have the page say that a run could not begin, and why, above what the last run left.

    Nothing is written where no warehouse is: what is wrong may be its place.
    """
    _write_above(places, now, lambda: notify.not_begun(error))


def write_alarm(places: Places, now: dt.datetime, hours: float = notify.HOURS) -> None:
    """Have the page say that a run is missing or was killed, if so, above what the last run left."""
    zone = notify.zone_of(places.reference)
    if notify.absence(places, now, hours, zone):
        _write_above(places, now, lambda: notify.absence(places, now, hours, zone)[0])


def _write_above(places: Places, now: dt.datetime, why: Callable[[], Trouble]) -> None:
    if places.warehouse.is_dir():
        _write(places, figures.last_run(places), now, notify.zone_of(places.reference), why)


def _write(
    places: Places, run: RunResult | None, now: dt.datetime, time_zone: str, why: Callable[[], Trouble | None]
) -> Path:
    """Write the pages in the language asked for; `why` says in it what is wrong with the run itself."""
    before = language()
    set_language(asked_language())
    try:
        content = _content(places, run, now.astimezone(ZoneInfo(time_zone)), why())
        pages = {name: machine().get_template(name).render(content) for name in PAGES}
    finally:
        set_language(before)
    folder = places.site
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        write_whole(folder / name, text)
    return places.page


@functools.cache
def machine() -> jinja2.Environment:
    """What makes pages of templates, in the language chosen when it does."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(_, gettext.ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.filters |= {
        "number": number,
        "marked": _marked,
        "date": date,
        "day": long_day,
        "long_day": lambda day: day_as(day, "EEEE d MMMM y"),
        "weekday": lambda day: day_as(day, "EEEE"),
        "short_day": lambda day: f"{day.day}-{day.month}" if language() == "nl" else day_as(day, "d MMM"),
        "time": lambda moment: f"{moment:%H:%M}",
    }
    made.globals |= {"counted": counted, "total": _total, "LIST": LIST, "task_text": present.task_text}
    return made


def _signs() -> dict[str, tuple[str, str]]:
    """The state of a branch's export of a day: a sign and a word, since colour alone tells nothing to everybody."""
    return {
        "received": ("✓", _("received")),
        "late": ("◷", _("late")),
        "empty": ("–", _("empty file")),
        "rejected": ("✕", _("rejected")),
        "missing": ("!", _("not received")),
        "none": ("·", _("not expected")),
    }


def _tasks() -> dict[str, str]:
    """What a branch is asked on its search list, in few words."""
    return {
        "find_at_pickup": _("find: should have arrived"),
        "find_at_supplier": _("find: sent, never arrived"),
        "send": _("send"),
        "register_receipt": _("register the receipt"),
        "deliver_export": _("deliver the export"),
    }


def _marked(text: str) -> Markup:
    """A text for a screen, with its `commands` as HTML marks them."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _lost_after(places: Places) -> int:
    """After how many transport days an item is probably lost, by the network's parameters if they can be read."""
    try:
        return read_reference(places.reference).parameters.lost_after_transport_days
    except UserError:
        return Parameters.lost_after_transport_days


def _total(rows: list[dict[str, Any] | None]) -> int:
    """The items of all days together."""
    return round(sum(row["items"] or 0 for row in rows if row))


def _content(places: Places, run: RunResult | None, now: dt.datetime, trouble: Trouble | None) -> dict[str, Any]:
    """All that the templates tell."""
    published: dict[str, Any] | None = None
    search: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}
    lost_after = _lost_after(places)
    ahead: dict[str, Any] | None = None
    held: list[dict[str, Any]] = []
    absent: set[str] = set()
    unreadable = ""
    sums = run.summary if run else {}
    below = sums

    def part(name: str, read: Callable[[], Any], nothing: Any) -> Any:
        try:
            return read()
        except figures.OF_BEFORE:
            absent.add(name)
            return nothing

    try:
        with figures.published(places) as con:
            published = found = figures.morning(con)
            if run is None or not run.published:  # what the last run found is not in the figures below
                below = part("branches", lambda: figures.summary(con), {})
        absent.update(found["absent"])
        held = [item for item in part("held", lambda: figures.quarantine(places), []) if not item["settled"]]
        for item in part("search", lambda: figures.search_items(places), []):
            is_lost = item["task"] in MAY_BE_LOST and item["waiting_transport_days"] > lost_after
            mine = search.setdefault(item["name"], {}).setdefault(item["task"], {"now": [], "lost": []})
            mine["lost" if is_lost else "now"].append(item)
        ahead = part("ahead", lambda: _ahead(places, found["names"]), None)
    except NoFigures:
        pass
    except figures.OF_BEFORE:
        published, unreadable = None, "before"
    except UserError:
        published, unreadable = None, "damaged"
    content: dict[str, Any] = {
        "language": language(),
        "headline": trouble.wrong if trouble else present.verdict(run) if run else "",
        "run": run,
        "trouble": trouble,
        "is_well": run is not None and bool(sums) and not trouble and not figures.needs_attention(run, sums),
        "is_held_back": trouble is not None or run is None or not run.published,
        "now": now,
        "valid_until": now + dt.timedelta(hours=notify.HOURS),
        "hours": notify.HOURS,
        "simulated": places.simulated.exists(),
        "lasted": _lasted(run),
        "checks_failed": [present.check_name(check) for check in run.held_back_by] if run else [],
        "warnings": [present.check_name(check) for check in run.warnings] if run else [],
        "drift": [present.drift_sentence(item) for item in sums.get("drift", [])],
        "rows": sums.get("rows"),
        "published": published,
        "unreadable": unreadable,
        "absent": absent,
        "search": search,
        "lost_after": lost_after,
        "ahead": ahead,
        "signs": _signs(),
        "tasks": _tasks(),
    }
    if published:
        days = [published["as_of"] - dt.timedelta(days=back) for back in range(28, 0, -1)]
        feed = {(item["branch"], item["export_date"]): item for item in published["feed"]}
        last = max((item["export_date"] for item in published["feed"]), default=None)
        content |= {
            "days": days,
            "grid": _grid(published["names"], days, feed),
            "last_export_day": last,
            "branches": _branches(published, feed, last, below, held),
            "arrived": sum(feed[key]["state"] in ("received", "late") for key in feed if key[1] == last),
            "expected": sum(key[1] == last for key in feed),
            "held": _held(held, published["names"]),
            "chart": _chart(published["days"]),
            **_lanes(published),
        }
    return content


def _ahead(places: Places, names: dict[str, str]) -> dict[str, Any] | None:
    """What each branch sends and gets on the next transport day and the nine behind it, and how good that has been;
    None without a history to forecast from.
    """
    try:
        found = forecast.forecast(places)
    except NoFigures:
        return None
    days = sorted({row["date"] for row in found["forecast"]})
    rows = {(row["branch"], row["direction"], row["date"]): row for row in found["forecast"]}
    error = {row["scope"]: row for row in found["backtest"]}
    return {
        "days": [dt.date.fromisoformat(day) for day in days],
        "branches": [
            (name, {way: [rows.get((branch, way, day)) for day in days] for way in ("out", "in")})
            for branch, name in names.items()
            if any((branch, "out", day) in rows for day in days)
        ],
        "items_per_crate": found["items_per_crate"],
        "lanes": found["lanes"],
        "naive_lanes": found["naive_lanes"],
        "error": error.get("all_lanes"),
        "branch_error": error.get("branch_out"),
    }


def _lasted(run: RunResult | None) -> str:
    """How long a run took: 1 min 42 s."""
    if run is None or not run.finished_at:
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
            days = ("… " if len(missing) > 3 else "") + listed([date(day) for day in missing[-3:]])
            todo.append(
                counted(
                    "No file for {n} export day. Ask {name} for the export of {days}.",
                    "No file for {n} export days. Ask {name} for the exports of {days}.",
                    len(missing), name=name, days=days,
                )
            )  # fmt: skip
        if mine.get("rows_held"):
            todo.append(counted("{n} row held: see below.", "{n} rows held: see below.", mine["rows_held"]))
        if mine.get("unconfirmed"):
            todo.append(
                counted(
                    "{n} receipt is not confirmed: the export of {name} of that day is missing or incomplete.",
                    "{n} receipts are not confirmed: the export of {name} of that day is missing or incomplete.",
                    mine["unconfirmed"], name=name,
                )
            )  # fmt: skip
        elsewhere = (mine.get("missing") or 0) - (len(missing) if state == "missing" else 0)
        if elsewhere > 0:
            todo.append(
                counted(
                    "{n} older export is still missing: see `pendel status`.",
                    "{n} older exports are still missing: see `pendel status`.", elsewhere,
                )
            )  # fmt: skip
        lines.append(
            {
                "name": name,
                "organisation": published["organisations"].get(branch, ""),
                "state": state,
                "rank": "held" if state == "received" and todo else state,
                "rows": item["rows"] if item and state not in ("missing", "rejected") else None,
                "todo": todo,
            }
        )
    lines.sort(key=lambda line: (ORDER.index(line["rank"]), line["name"]))
    return lines


def _missing_on_end(branch: str, feed: dict[tuple[str, dt.date], dict[str, Any]]) -> list[dt.date]:
    """The last days of which nothing was delivered, one after another."""
    days: list[dt.date] = []
    for item in sorted(
        (f for (b, _day), f in feed.items() if b == branch), key=lambda f: f["export_date"], reverse=True
    ):
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
            "count": counted("{n} file", "{n} files", len(items))
            if items[0]["row"] is None
            else counted("{n} row", "{n} rows", len(items)),
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
        text = (
            _("{n} delivered, more than usual ({usual}; {least} to {most}).")
            if lane["delivered"] > lane["usually_delivered"]
            else _("{n} delivered, less than usual ({usual}; {least} to {most}).")
        )
        numbers = {
            "n": lane["delivered"], "usual": round(lane["usually_delivered"]), "least": lane["least_delivered"],
            "most": lane["most_delivered"],
        }  # fmt: skip
        sentences.append(
            {
                "lane": f"{named[lane['supplying_branch']]} → {named[lane['pickup_branch']]}",
                "text": text.format(**{name: number(value) for name, value in numbers.items()}),
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
            "label": day_as(day["date"], "d MMM") if day["date"].weekday() == 0 else "",
            "is_holiday": bool(day["holiday"]),
        }
        for place, day in enumerate(days)
    ]
    line = " ".join(f"{bar['x'] + bar['width'] / 2:.1f},{y(day['mean'])}" for bar, day in zip(bars, days, strict=True))
    lines = [(y(value), number(value)) for value in range(0, top + 1, step)]
    return {"bars": bars, "line": line, "lines": lines, "bottom": bottom, "left": left, "days": days,
            "width": WIDTH, "height": HEIGHT}  # fmt: skip
