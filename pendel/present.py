"""What people see of the figures: tables on a terminal, Markdown, CSV and Excel, in Dutch or English."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pendel.contracts import drifts, rejections, rules, sql_files
from pendel.figures import DIMENSIONS, RunResult, arrived, needs_attention
from pendel.words import _, counted, date, language, month_name, number, set_language

SIMULATED = "These exports are simulated: calibrated to the published totals, not the history of that year."


def message(rule: str, detail: dict[str, str] | None = None) -> str:
    """What a row rule or the rejection of a file means, and what to do, in the language chosen."""
    lang = language()
    if rule in rejections():
        return rejections()[rule][lang].format(**(detail or {}))
    return next(item.nl if lang == "nl" else item.en for item in rules() if item.rule == rule)


def check_name(check: str) -> str:
    """What a check found, in the language chosen; the id of one that is generated from a table."""
    return next((file.head[language()] for file in sql_files("checks") if file.name == check), check)


def drift_sentence(item: dict[str, Any]) -> str:
    """What drifted, where, and what to look at: a row of `drift` in `figures.summary`, in the language chosen."""

    def amount(value: float) -> str:
        return number(value, "pct") if item["unit"] == "pct" else number(round(value))

    return drifts()[f"{item['kind']}.{item['figure']}"][language()].format(
        where=item["place"], other=item["other_place"], since=date(item["since"]), until=date(item["until"]),
        observed=amount(item["observed"]), usual=amount(item["usual"]),
    )  # fmt: skip


def drift_texts(item: dict[str, Any]) -> dict[str, str]:
    """The sentence of a drift in both languages, for those who read it from JSON."""
    before = language()
    try:
        return {lang: drift_sentence(item) for lang in ("nl", "en") if set_language(lang)}
    finally:
        set_language(before)


def rule_name(rule: str) -> str:
    """The first sentence of a rule's message."""
    return message(rule).split(". ")[0].split(" (")[0].rstrip(".")


def unit_name(unit: str) -> str:
    """A unit in words; nothing for counts and shares, which speak for themselves."""
    return {"days": _("days"), "transport_days": _("transport days")}.get(unit, "")


def _label(item: dict[str, Any]) -> str:
    return str(item["label"][language()])


def _dimension(item: dict[str, Any], names: Mapping[str, str] = MappingProxyType({})) -> str:
    values = item["dimension"]
    if "month" in values:
        return month_name(int(values["month"][5:]))
    return " → ".join(names.get(value, value) for value in values.values())


def _header(by: str) -> str:
    return {"organisation": _("organisations"), "branch": _("branch"), "lane": _("lane"), "month": _("month")}[by]


def figures_table(
    found: dict[str, Any], by: str, note: str = "", names: Mapping[str, str] = MappingProxyType({})
) -> RenderableType:
    """The key figures as a table: one figure a line, or with a dimension one line a thing and one column a figure.

    `names` gives the names of branches, where their codes are not to be shown.
    """
    period = f"{month_name(found['month'])} {found['year']}" if "month" in found else str(found["year"])
    title = _("Key figures of {period}").format(period=period)
    if by == "total":
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", caption=note or None,
                      caption_justify="left")  # fmt: skip
        table.add_column(_("key figure"))
        for name in (_("computed"), _("published"), _("difference")):
            table.add_column(name, justify="right")
        for item in found["kpis"]:
            differs = item["difference"] not in (None, 0)
            table.add_row(
                _label(item),
                number(item["value"], item["unit"]),
                number(item["published"], item["unit"]) if item["published"] is not None else "",
                Text(number(item["difference"], item["unit"]), style="bold red" if differs else "green")
                if item["difference"] is not None
                else "",
                style="bold" if item["published"] is not None else "",
            )
        completeness = found["kpis"][0]["completeness"]
        if completeness in (None, 1):
            return table
        text = _("Completeness of the exports: {pct}").format(pct=number(100 * completeness, "pct"))
        return Group(table, Text(f" {text}\n", style="bold yellow"))
    shown = ["deliveries_total", "deliveries_supplied", "lender_balance", "transit_transport_days_median",
             "within_transit_norm_pct", "not_collected_pct", "in_transit"]  # fmt: skip
    columns = [kpi for kpi in shown if any(item["id"] == kpi for item in found["kpis"])]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column(_header(by))
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for item in found["kpis"]:
        lines.setdefault(_dimension(item, names), {})[item["id"]] = item
    for kpi in columns:
        table.add_column(_label(next(item for item in found["kpis"] if item["id"] == kpi)), justify="right")
    for name, items in lines.items():
        table.add_row(name, *(number(items[k]["value"], items[k]["unit"]) if k in items else "" for k in columns))
    return table


def _flat(found: dict[str, Any], by: str) -> tuple[list[str], list[list[Any]]]:
    """Key figures as a flat table: one line a figure."""
    parts = ["month"] if by == "month" else DIMENSIONS[by]
    names = ["year", *(["month"] if "month" in found else []), "id", "label", *parts, "value", "unit", "completeness",
             "published", "difference"]  # fmt: skip
    lines = [
        [found["year"], *([found["month"]] if "month" in found else []), item["id"], _label(item),
         *(item["dimension"][part] for part in parts), item["value"], item["unit"], item["completeness"],
         item["published"], item["difference"]]
        for item in found["kpis"]
    ]  # fmt: skip
    return names, lines


def as_csv(names: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for line in lines:
        writer.writerow(
            ["'" + cell if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell for cell in line]
        )
    return out.getvalue()


def as_markdown(names: Sequence[str], lines: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """A Markdown table."""
    rows = [names, ["---:" if right else "---" for right in numeric], *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"


def figures_csv(found: dict[str, Any], by: str) -> str:
    """Key figures as CSV, one line a figure."""
    return as_csv(*_flat(found, by))


def figures_markdown(found: dict[str, Any], by: str) -> str:
    """Key figures as a Markdown table, one line a figure."""
    names = [_("key figure"), *([_header(by)] if by != "total" else []), _("computed"), _("published"), _("difference")]
    lines = [
        [_label(item), *([_dimension(item)] if by != "total" else []),
         *(number(item[part], item["unit"]) for part in ("value", "published", "difference"))]
        for item in found["kpis"]
    ]  # fmt: skip
    return as_markdown(names, lines, [False] * (len(names) - 3) + [True] * 3)


def figures_workbook(found: dict[str, Any], by: str) -> bytes:
    """Key figures as an Excel workbook, numbers as numbers."""
    import xlsxwriter

    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(out, options) as book:
        sheet = book.add_worksheet(_("Key figures"))
        bold, whole = book.add_format({"bold": True}), book.add_format({"num_format": "#,##0"})
        decimal = book.add_format({"num_format": "#,##0.0"})
        names, lines = _flat(found, by)
        for column, name in enumerate(names):
            sheet.write_string(0, column, name, bold)
        for row, line in enumerate(lines, 1):
            for column, cell in enumerate(line):
                if isinstance(cell, str):
                    sheet.write_string(row, column, cell)
                elif cell is not None:
                    plain = names[column] in ("year", "month")
                    form = None if plain else whole if isinstance(cell, int) else decimal
                    sheet.write_number(row, column, cell, form)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, len(lines), len(names) - 1)
        sheet.autofit()
    return out.getvalue()


def _needs(branch: dict[str, Any]) -> str:
    """What a branch needs, in words; '' when nothing."""
    needs = []
    if branch["files_rejected"]:
        needs.append(counted("{n} file rejected", "{n} files rejected", branch["files_rejected"]))
    if branch["missing"] and not branch["arrived"]:
        needs.append(_("no export at all ({n} expected)").format(n=number(branch["missing"])))
    elif branch["missing"]:
        days = ", ".join(date(day) for day in branch["missing_dates"])
        more = ", …" if branch["missing"] > len(branch["missing_dates"]) else ""
        text = counted("{n} export missing", "{n} exports missing", branch["missing"])
        needs.append(f"{text} ({days}{more})")
    if branch["rows_held"]:
        needs.append(counted("{n} row held", "{n} rows held", branch["rows_held"]))
    if branch["unconfirmed"]:
        needs.append(counted("{n} receipt unconfirmed", "{n} receipts unconfirmed", branch["unconfirmed"]))
    if branch["late"]:
        needs.append(counted("{n} export late", "{n} exports late", branch["late"]))
    return ", ".join(needs)


def _verdict(run: RunResult) -> str:
    """The run in one sentence."""
    if run.error:
        return _("The run of {date} broke off ({error}); the warehouse of before stays published.").format(
            date=date(run.as_of), error=run.error
        )
    if run.finished_at is None:
        return _("The run of {date} is busy, or was killed.").format(date=date(run.as_of))
    if not run.published:
        return _("The publication of {date} was held back; the warehouse of before stays published.").format(
            date=date(run.as_of)
        )
    if not arrived(run.summary):
        return _("No export that can be used has arrived yet. Are the exports in the raw folder?")
    count = sum(1 for b in run.summary["branches"] if _needs(b) and (b["files_rejected"] or b["missing"]
                or b["rows_held"] or b["unconfirmed"]))  # fmt: skip
    if needs_attention(run, run.summary) and count:
        return counted("Published; {n} branch needs attention.", "Published; {n} branches need attention.", count)
    if needs_attention(run, run.summary):
        return _("Published, with warnings.")
    return _("Published; all branches delivered, nothing is held.")


def _file_state(state: str) -> str:
    return {"accepted": _("accepted"), "partly_accepted": _("partly accepted"), "rejected": _("rejected"),
            "superseded": _("superseded"), "skipped": _("skipped")}[state]  # fmt: skip


def _leg_state(state: str) -> str:
    return {"requested": _("requested"), "in_transit": _("in transit"), "delivered": _("delivered"),
            "local": _("local"), "unconfirmed": _("unconfirmed"), "cancelled": _("cancelled"),
            "superseded": _("supplied by another")}[state]  # fmt: skip


def status_view(run: RunResult) -> RenderableType:
    """The last run and what it needs, as `pendel status` shows it."""
    started = dt.datetime.fromisoformat(run.started_at).astimezone()
    when = _("Run of {date} {time}, as of {as_of}").format(
        date=date(started.date()), time=f"{started:%H:%M}", as_of=date(run.as_of)
    )
    parts: list[RenderableType] = [Text(_verdict(run), style="bold"), Text(when)]
    parts += [
        Text(_("held back by: {check}").format(check=check_name(check)), style="red") for check in run.held_back_by
    ]
    parts += [Text(_("warning: {check}").format(check=check_name(check)), style="yellow") for check in run.warnings]
    parts += [
        Text(_("could not be read: {branch}").format(branch=branch), style="red") for branch in run.failed_branches
    ]
    sums = run.summary
    if not sums:
        return Group(*parts)
    # .get: the results of runs of before have no drift
    parts += [Text(f"  {drift_sentence(item)}", style="yellow") for item in sums.get("drift", [])]
    counts = Table(box=box.SIMPLE_HEAD, show_header=False)
    counts.add_row(_("files"), ", ".join(f"{number(n)} {_file_state(s)}" for s, n in sums["files"].items() if n))
    rows = sums["rows"]
    counts.add_row(
        _("rows"),
        _("{read} read = {accepted} accepted + {quarantined} quarantined + {duplicate} duplicate").format(
            **{name: number(value) for name, value in rows.items()}
        ),
    )
    counts.add_row(_("legs"), ", ".join(f"{number(n)} {_leg_state(s)}" for s, n in sums["legs"].items() if n))
    feed = sums["feed"]
    counts.add_row(
        _("exports"),
        _("{arrived} of {expected} expected, {late} late").format(**{k: number(v) for k, v in feed.items()}),
    )
    parts.append(counts)
    table = Table(box=box.SIMPLE_HEAD)
    for name in (_("branch"), _("exports"), _("last export"), _("needs")):
        table.add_column(name, justify="right" if name == _("exports") else "left")
    for b in sums["branches"]:
        needs = _needs(b)
        table.add_row(
            b["name"], f"{number(b['arrived'])}/{number(b['expected'])}", date(b["last_export"]),
            Text(needs or _("nothing"), style="yellow" if needs else "green"),
        )  # fmt: skip
    parts.append(table)
    if sums["rules"]:
        parts.append(Text(_("Rows held, by reason (see `pendel quarantine`):")))
        parts += [Text(f"  {number(n)}  {rule_name(rule)}") for rule, n in sums["rules"].items()]
    return Group(*parts)


def run_markdown(run: RunResult, lang: str) -> str:
    """A run as one Markdown page, branches worst first: the artifact in Prefect's interface."""
    before = language()
    set_language(lang)
    try:
        lines = [f"# {_verdict(run)}", ""]
        lines += [f"- **{_('held back by: {check}').format(check=check_name(check))}**" for check in run.held_back_by]
        lines += [f"- {_('warning: {check}').format(check=check_name(check))}" for check in run.warnings]
        lines += [f"- **{_('could not be read: {branch}').format(branch=b)}**" for b in run.failed_branches]
        lines += [f"  - {drift_sentence(item)}" for item in run.summary["drift"]]
        branches = [
            [b["name"], b["organisation"], f"{number(b['arrived'])}/{number(b['expected'])}", date(b["last_export"]),
             _needs(b) or _("nothing")]
            for b in run.summary["branches"]
        ]  # fmt: skip
        lines += ["", f"## {_('Branches')}", ""]
        head = [_("branch"), _("organisation"), _("exports"), _("last export"), _("needs")]
        lines.append(as_markdown(head, branches, [False, False, True, False, False]))
        published = [
            [str(p["year"]), kpi_label(p["kpi"]), number(p["computed"]), number(p["published"]),
             number(p["difference"]), number(100 * p["completeness"], "pct") if p["completeness"] is not None else "–"]
            for p in run.summary["published_figures"]
        ]  # fmt: skip
        if published:
            lines += [f"## {_('Key figures')}", ""]
            head = [_("year"), _("key figure"), _("computed"), _("published"), _("difference"), _("completeness")]
            lines.append(as_markdown(head, published, [False, False, True, True, True, True]))
        rows = {name: number(value) for name, value in run.summary["rows"].items()}
        text = _("{read} read = {accepted} accepted + {quarantined} quarantined + {duplicate} duplicate")
        lines.append(f"{_('rows')}: {text.format(**rows)}")
        return "\n".join(lines) + "\n"
    finally:
        set_language(before)


def kpi_label(kpi: str) -> str:
    """The label of a key figure by its id; of one that is named after organisations, the id itself."""
    from pendel.contracts import kpis

    return str(kpis()[kpi][language()]["label"]) if kpi in kpis() else kpi


def quarantine_view(held: Sequence[dict[str, Any]]) -> RenderableType:
    """The rows held and files rejected, as `pendel quarantine` shows them."""
    if not held:
        return Text(_("Nothing is held."), style="green")
    table = Table(box=box.SIMPLE_HEAD)
    for name in (_("branch"), _("file"), _("row"), _("what is wrong, and what to do")):
        table.add_column(name, justify="right" if name == _("row") else "left", overflow="fold")
    for item in held:
        row = _("whole file") if item["row"] is None else str(item["row"])
        table.add_row(item["branch"], item["file"], row, message(item["rule"], item["detail"]))
    return table


def grid(names: Sequence[str], lines: Sequence[Sequence[Any]]) -> Table:
    """The result of a query."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name)
    for line in lines:
        table.add_row(*("" if cell is None else str(cell) for cell in line))
    return table


def console(stderr: bool = False) -> Console:
    """Where output goes; wide enough for whole lines when it is no terminal."""
    found = Console(stderr=stderr, highlight=False, markup=False)
    if not found.is_terminal:
        width = int(os.environ.get("COLUMNS") or 160)
        found = Console(stderr=stderr, highlight=False, markup=False, width=width)
    return found
