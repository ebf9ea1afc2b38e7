"""What people see of the figures: tables on a terminal, Markdown, CSV and Excel, in Dutch or English."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pendel.contracts import drifts, rejections, rules, sql_files
from pendel.figures import DIMENSIONS, RunResult, arrived, needs_attention
from pendel.words import _, asked_language, counted, date, language, month_name, number, set_language

if TYPE_CHECKING:  # it brings pandas along
    from pendel.purging import PurgePlan

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


def drift_told(item: dict[str, Any]) -> dict[str, Any]:
    """A drift with the severity of its check and its sentence in both languages, for those who read it from JSON."""
    severity = next(file.head["severity"] for file in sql_files("checks") if file.name == f"drift_{item['kind']}")
    before = language()
    try:
        text = {lang: drift_sentence(item) for lang in ("nl", "en") if set_language(lang)}
    finally:
        set_language(before)
    return item | {"severity": severity, "text": text}


MOST_TEXTS = 3
"""The most messages of one rule that are told; they differ in what was expected of each file."""


def rule_name(rule: str, detail: dict[str, str] | None = None) -> str:
    """The first sentence of a rule's message."""
    return message(rule, detail).split(". ")[0].split(" (")[0].rstrip(".")


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


def _short(kpi: str) -> str:
    """A key figure in a word or two, for the head of a narrow column."""
    return {
        "deliveries_total": _("delivered"), "deliveries_supplied": _("supplied"), "lender_balance": _("balance"),
        "transit_transport_days_median": _("days"), "within_transit_norm_pct": _("in time"),
        "not_collected_pct": _("not fetched"), "in_transit": _("under way"),
    }[kpi]  # fmt: skip


def _notes(found: dict[str, Any]) -> list[str]:
    """What must be said with key figures, wherever they are shown."""
    notes = [_(SIMULATED)] if found["simulated"] else []
    if found["exports_from"]:
        text = _("There are exports from {date} on: what was delivered before is not, or only partly, counted.")
        notes.append(text.format(date=date(found["exports_from"])))
    return notes


def figures_table(found: dict[str, Any], by: str, names: Mapping[str, str] = MappingProxyType({})) -> RenderableType:
    """The key figures as a table: one figure a line, or with a dimension one line a thing and one column a figure, with
    short heads that are explained below, so that it fits on a screen of eighty characters.

    `names` gives the names of branches, where their codes are not to be shown.
    """
    notes = [Text(f" {note}") for note in _notes(found)]
    period = f"{month_name(found['month'])} {found['year']}" if "month" in found else str(found["year"])
    title = _("Key figures of {period}").format(period=period)
    if by == "total":
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
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
        if completeness not in (None, 1):
            text = _("Completeness of the exports: {pct}").format(pct=number(100 * completeness, "pct"))
            notes.insert(0, Text(f" {text}", style="bold yellow"))
        return Group(table, *notes)
    shown = ["deliveries_total", "deliveries_supplied", "lender_balance", "transit_transport_days_median",
             "within_transit_norm_pct", "not_collected_pct", "in_transit"]  # fmt: skip
    columns = [kpi for kpi in shown if any(item["id"] == kpi for item in found["kpis"])]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", collapse_padding=True,
                  pad_edge=False)  # fmt: skip
    table.add_column(_header(by), overflow="fold")
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for item in found["kpis"]:
        lines.setdefault(_dimension(item, names), {})[item["id"]] = item
    meanings = []
    for kpi in columns:
        # what is delivered to a branch stands there beside what it supplies
        head = _("received") if (kpi, by) == ("deliveries_total", "branch") else _short(kpi)
        table.add_column(head.replace(" ", "\n"), justify="right", no_wrap=True)
        label = _label(next(item for item in found["kpis"] if item["id"] == kpi))
        if head.lower() != label.lower():
            meanings.append(Text(f" {head}: {label}"))
    for name, items in lines.items():
        table.add_row(name, *(number(items[k]["value"], items[k]["unit"]) if k in items else "" for k in columns))
    return Group(table, *meanings, *notes)


def _flat(found: dict[str, Any], by: str) -> tuple[list[str], list[list[Any]]]:
    """Key figures as a flat table: one line a figure."""
    parts = ["month"] if by == "month" else DIMENSIONS[by]
    names = ["year", *(["month"] if "month" in found else []), "id", "label", *parts, "value", "unit", "completeness",
             "published", "difference", "simulated", "exports_from"]  # fmt: skip
    simulated = "true" if found["simulated"] else "false"
    lines = [
        [found["year"], *([found["month"]] if "month" in found else []), item["id"], _label(item),
         *(item["dimension"][part] for part in parts), item["value"], item["unit"], item["completeness"],
         item["published"], item["difference"], simulated, found["exports_from"]]
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


def as_excel_csv(names: Sequence[str], lines: Sequence[Sequence[Any]]) -> bytes:
    """CSV as a Dutch Excel opens it at a double click: UTF-8 with a byte order mark, semicolons, decimal commas, dates
    as 31-12-2023; a text that it would take for a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow(names)
    for line in lines:
        writer.writerow([_excel_cell(cell) for cell in line])
    return out.getvalue().encode("utf-8-sig")


def _excel_cell(cell: Any) -> Any:
    if isinstance(cell, float):
        return f"{cell:.6f}".rstrip("0").rstrip(".").replace(".", ",")
    if isinstance(cell, dt.date):
        return f"{cell:%d-%m-%Y}"
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")):
        return "'" + cell
    return cell


def as_markdown(names: Sequence[str], lines: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """A Markdown table."""
    rows = [names, ["---:" if right else "---" for right in numeric], *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"


def figures_csv(found: dict[str, Any], by: str) -> str:
    """Key figures as CSV, one line a figure."""
    return as_csv(*_flat(found, by))


def figures_markdown(found: dict[str, Any], by: str) -> str:
    """Key figures as a Markdown table, one line a figure, and what must be said with them."""
    names = [_("key figure"), *([_header(by)] if by != "total" else []), _("computed"), _("published"), _("difference")]
    lines = [
        [_label(item), *([_dimension(item)] if by != "total" else []),
         *(number(item[part], item["unit"]) for part in ("value", "published", "difference"))]
        for item in found["kpis"]
    ]  # fmt: skip
    table = as_markdown(names, lines, [False] * (len(names) - 3) + [True] * 3)
    return table + "".join(f"\n{note}\n" for note in _notes(found))


def figures_workbook(found: dict[str, Any], by: str) -> bytes:
    """Key figures as an Excel workbook, numbers as numbers."""
    return as_workbook(_("Key figures"), *_flat(found, by), plain=("year", "month"))


def as_workbook(title: str, names: Sequence[str], lines: Sequence[Sequence[Any]], plain: Sequence[str] = ()) -> bytes:
    """A flat table as an Excel workbook of one sheet: numbers as numbers, dates as dates, all else as text.

    `plain`: columns whose numbers are no quantities.
    """
    import xlsxwriter

    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(out, options) as book:
        sheet = book.add_worksheet(title)
        bold, whole = book.add_format({"bold": True}), book.add_format({"num_format": "#,##0"})
        decimal, day = book.add_format({"num_format": "#,##0.0"}), book.add_format({"num_format": "dd-mm-yyyy"})
        for column, name in enumerate(names):
            sheet.write_string(0, column, name, bold)
        for row, line in enumerate(lines, 1):
            for column, cell in enumerate(line):
                if isinstance(cell, str):
                    sheet.write_string(row, column, cell)
                elif isinstance(cell, dt.date):
                    sheet.write_datetime(row, column, dt.datetime.combine(cell, dt.time()), day)
                elif cell is not None:
                    form = None if names[column] in plain else whole if isinstance(cell, int) else decimal
                    sheet.write_number(row, column, cell, form)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, len(lines), len(names) - 1)
        sheet.autofit()
    return out.getvalue()


def needs(branch: dict[str, Any]) -> str:
    """What a branch needs, in words; '' when nothing."""
    found = []
    if branch["files_rejected"]:
        found.append(counted("{n} file rejected", "{n} files rejected", branch["files_rejected"]))
    if branch["missing"] and not branch["arrived"]:
        found.append(_("no export at all ({n} expected)").format(n=number(branch["missing"])))
    elif branch["missing"]:
        days = ", ".join(date(day) for day in branch["missing_dates"])
        more = ", …" if branch["missing"] > len(branch["missing_dates"]) else ""
        text = counted("{n} export missing", "{n} exports missing", branch["missing"])
        found.append(f"{text} ({days}{more})")
    if branch["rows_held"]:
        found.append(counted("{n} row held", "{n} rows held", branch["rows_held"]))
    if branch["unconfirmed"]:
        found.append(counted("{n} receipt unconfirmed", "{n} receipts unconfirmed", branch["unconfirmed"]))
    if branch["late"]:
        found.append(counted("{n} export late", "{n} exports late", branch["late"]))
    return ", ".join(found)


def verdict(run: RunResult) -> str:
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
    count = sum(1 for b in run.summary["branches"] if needs(b) and (b["files_rejected"] or b["missing"]
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


def unsent_lines(unsent: Sequence[dict[str, Any]]) -> list[str]:
    """The messages that could not be sent, a line each."""
    lines = []
    for line in unsent:
        if line["to"]:
            text = _("the message to {to} could not be sent: {error}")
            lines.append(text.format(to=line["to"], error=line["error"]))
        else:
            lines.append(_("nobody could be told: {error}").format(error=line["error"]))
    return lines


def status_view(run: RunResult, unsent: Sequence[dict[str, Any]] = ()) -> RenderableType:
    """The last run and what it needs, as `pendel status` shows it, with the messages that could not be sent."""
    started = dt.datetime.fromisoformat(run.started_at).astimezone()
    when = _("Run of {date} {time}, as of {as_of}").format(
        date=date(started.date()), time=f"{started:%H:%M}", as_of=date(run.as_of)
    )
    parts: list[RenderableType] = [Text(verdict(run), style="bold"), Text(when)]
    parts += [
        Text(_("held back by: {check}").format(check=check_name(check)), style="red") for check in run.held_back_by
    ]
    parts += [Text(_("warning: {check}").format(check=check_name(check)), style="yellow") for check in run.warnings]
    parts += [
        Text(_("could not be read: {branch}").format(branch=branch), style="red") for branch in run.failed_branches
    ]
    parts += [Text(line, style="red") for line in unsent_lines(unsent)]
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
        asked = needs(b)
        table.add_row(
            b["name"], f"{number(b['arrived'])}/{number(b['expected'])}", date(b["last_export"]),
            Text(asked or _("nothing"), style="yellow" if asked else "green"),
        )  # fmt: skip
    parts.append(table)
    parts += [Text(line) for line in _corrections(sums)]
    parts += [Text(line, style="yellow") for line in _closed_years(sums)]
    if sums["rules"]:
        parts.append(Text(_("Rows held, by reason (see `pendel quarantine`):")))
        parts += [Text(f"  {number(n)}  {rule_name(rule)}") for rule, n in sums["rules"].items()]
    return Group(*parts)


def _corrections(sums: dict[str, Any]) -> list[str]:
    """The declared corrections, a line each."""
    lines = []
    for item in sums.get("corrections", []):
        rows = counted("{n} row", "{n} rows", item["corrected_rows"])
        if item["corrected_rows"] != item["expected_rows"]:
            rows = _("{rows}, {expected} expected").format(rows=rows, expected=number(item["expected_rows"]))
        text = _("correction {number}: {rows}; {reason}")
        lines.append(text.format(number=item["correction"], rows=rows, reason=item["reason"]))
    return lines


def _closed_years(sums: dict[str, Any]) -> list[str]:
    """The figures of closed years that are computed differently now, and why that may be, a line each."""
    lines = []
    for closed in sums.get("closed_years", []):
        if not closed["restated_figures"]:
            continue
        text = _("{year} was closed on {date} by {who}; computed differently now ({n} figures):")
        when = date(closed["closed_at_utc"][:10])
        lines.append(
            text.format(year=closed["year"], date=when, who=closed["closed_by"], n=number(closed["restated_figures"]))
        )
        for figure in closed["restatements"]:
            values = {name: number(figure[name], figure["unit"]) for name in ("frozen", "computed", "difference")}
            text = _("{label}: published {frozen}, now {computed}, difference {difference}")
            lines.append("  " + text.format(label=figure["label"][language()], **values))
        if closed["late_files"]:
            names = ", ".join(closed["last_late_files"])
            more = ", …" if closed["late_files"] > len(closed["last_late_files"]) else ""
            text = counted("{n} file that came later", "{n} files that came later", closed["late_files"])
            lines.append(f"  {text}: {names}{more}")
        if closed["changed_rules"]:
            lines.append("  " + _("changed since: {names}").format(names=", ".join(closed["changed_rules"])))
    return lines


def diff_view(found: dict[str, Any], most: int) -> RenderableType:
    """What differs between two runs, as `pendel diff` shows it; at most so many figures, and as many files."""
    title = _("From run {one} (as of {one_day}) to run {other} (as of {other_day})").format(
        one=found["from"]["run_id"], one_day=date(found["from"]["as_of"]), other=found["to"]["run_id"],
        other_day=date(found["to"]["as_of"]),
    )  # fmt: skip
    parts: list[RenderableType] = [Text(title, style="bold")]
    if not found["figures"]:
        parts.append(Text(_("No figure changed."), style="green"))
    else:
        table = Table(box=box.SIMPLE_HEAD)
        for name in (_("period"), _("key figure"), _("about"), _("before"), _("after"), _("difference")):
            numeric = name in (_("before"), _("after"), _("difference"))
            table.add_column(name, justify="right" if numeric else "left", overflow="fold")
        for figure in found["figures"][:most]:
            about = [figure[name] for name in ("supplying_organisation", "pickup_organisation", "branch")]
            period = f"{month_name(figure['month'])} {figure['year']}" if figure["month"] else str(figure["year"])
            values = [number(figure[name], figure["unit"]) for name in ("before", "after", "difference")]
            table.add_row(period, kpi_label(figure["kpi"]), " → ".join(filter(None, about)), *values)
        parts += [table, *_rest(len(found["figures"]), most)]
    if found["rules"]:
        parts.append(Text(_("Changed: {names}").format(names=", ".join(found["rules"])), style="yellow"))
    if found["files"]:
        table = Table(box=box.SIMPLE_HEAD)
        for name in (_("file that came"), _("deliveries appeared"), _("deliveries vanished")):
            table.add_column(name, justify="left" if name == _("file that came") else "right", overflow="fold")
        for file in found["files"][:most]:
            table.add_row(file["file"], number(file["deliveries_appeared"]), number(file["deliveries_vanished"]))
        parts += [table, *_rest(len(found["files"]), most)]
    return Group(*parts)


def _rest(count: int, most: int) -> list[Text]:
    text = _("The first {shown} of {n} rows. For all of them: --format json")
    return [Text(text.format(shown=number(most), n=number(count)))] if count > most else []


def run_markdown(run: RunResult) -> str:
    """A run as one Markdown page, branches worst first: the artifact in Prefect's interface. In the language asked for,
    as the morning page is.
    """
    before = language()
    set_language(asked_language())
    try:
        lines = [f"# {verdict(run)}", ""]
        lines += [f"- **{_('held back by: {check}').format(check=check_name(check))}**" for check in run.held_back_by]
        lines += [f"- {_('warning: {check}').format(check=check_name(check))}" for check in run.warnings]
        lines += [f"- **{_('could not be read: {branch}').format(branch=b)}**" for b in run.failed_branches]
        lines += [f"  - {drift_sentence(item)}" for item in run.summary["drift"]]
        branches = [
            [b["name"], b["organisation"], f"{number(b['arrived'])}/{number(b['expected'])}", date(b["last_export"]),
             needs(b) or _("nothing")]
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
        lines += ["", *(f"- {line.strip()}" for line in _corrections(run.summary) + _closed_years(run.summary))]
        return "\n".join(lines) + "\n"
    finally:
        set_language(before)


def kpi_label(kpi: str) -> str:
    """The label of a key figure by its id; of one that is named after organisations, the id itself."""
    from pendel.contracts import kpis

    return str(kpis()[kpi][language()]["label"]) if kpi in kpis() else kpi


def wrong_columns(item: dict[str, Any]) -> str:
    """Where a row that is held is wrong, and what stands there, by the heads of its file: 'Status: Q'."""
    words = {"": _("empty"), "***": _("masked")}
    return ", ".join(f"{wrong['header']}: {words.get(wrong['value'], wrong['value'])}" for wrong in item["columns"])


def held_message(item: dict[str, Any]) -> str:
    """What is wrong with a row or file, what to do, and in which columns it is."""
    text = message(item["rule"], item["detail"])
    return f"{text} ({wrong_columns(item)})" if item["columns"] else text


def quarantine_view(
    held: Sequence[dict[str, Any]], most: int, names: Mapping[str, str] = MappingProxyType({})
) -> RenderableType:
    """The rows held and files rejected, as `pendel quarantine` shows them: what to do by rule and branch, then at most
    so many rows, the newest first. Rejected files that were replaced or taken away are only counted.
    """
    settled = sum(item["settled"] for item in held)
    held = sorted(
        (item for item in held if not item["settled"]), key=lambda item: str(item["export_date"] or ""), reverse=True
    )
    note = counted(
        "{n} rejected file was replaced or taken away, and needs nothing.",
        "{n} rejected files were replaced or taken away, and need nothing.",
        settled,
    )
    notes = [Text(note, style="green")] if settled else []
    if not held:
        return Group(*(notes or [Text(_("Nothing is held."), style="green")]))
    parts: list[RenderableType] = []
    by_rule: dict[str, list[dict[str, Any]]] = {}
    for item in held:
        by_rule.setdefault(item["rule"], []).append(item)
    for rule, items in sorted(by_rule.items(), key=lambda pair: -len(pair[1])):
        branches: dict[str, list[dict[str, Any]]] = {}
        for item in items:
            branches.setdefault(item["branch"], []).append(item)
        kind = counted("{n} file", "{n} files", len(items)) if items[0]["row"] is None else counted(
            "{n} row", "{n} rows", len(items))  # fmt: skip
        # of files the details differ: which name was expected, which column is missing
        told = {message(rule, item["detail"]) for item in items}
        parts.append(Text(f"{kind}, {rule}", style="bold"))
        parts += [Padding(Text(text), (0, 0, 0, 2), expand=False) for text in sorted(told)[:MOST_TEXTS]]
        for branch, mine in sorted(branches.items(), key=lambda pair: -len(pair[1])):
            text = _("{branch}: {n}, newest of {date}") if mine[0]["export_date"] else "{branch}: {n}"
            name = names.get(branch, branch) or "–"
            line = text.format(branch=name, n=number(len(mine)), date=date(mine[0]["export_date"]))
            parts.append(Padding(Text(line), (0, 0, 0, 4), expand=False))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (_("file"), _("row"), _("what is wrong")):
        table.add_column(name, justify="right" if name == _("row") else "left", overflow="fold")
    for item in held[:most]:
        row = _("all") if item["row"] is None else str(item["row"])
        wrong = wrong_columns(item)
        table.add_row(item["file"], row, rule_name(item["rule"], item["detail"]) + (f"\n{wrong}" if wrong else ""))
    return Group(*parts, *notes, table)


def task_text(task: str) -> str:
    """What a branch must do, and why, in one sentence: the heading of a part of its search list."""
    return {
        "deliver_export": _(
            "Received by the supplying branch's word; the own export of that day is not there: deliver it."
        ),
        "register_receipt": _(
            "Received by the supplying branch's word, and not in the own export: see if it is there, and register it."
        ),
        "find_at_pickup": _("Should have arrived: look in the crates, at the pick-up shelf and among the returns."),
        "find_at_supplier": _("Sent, and never arrived: look on the shelf and in the crates that are to leave."),
        "send": _("Asked for, and not sent: look on the shelf and send it, or report that it is not there."),
    }[task]


def _told(item: dict[str, Any], side: str) -> str:
    """What a side tells of an item on a search list, and by which row of its export."""
    if item[f"{side}_row"] is None:
        return _("no row")
    words = _("not received")
    if side == "supplier":
        words = {"send": _("not sent"), "deliver_export": _("received"), "register_receipt": _("received")}.get(
            item["task"], _("sent")
        )
    exported = item[f"{side}_export_date"]
    return f"{words}\n{_('{date} row {row}').format(date=date(exported), row=item[f'{side}_row'])}"


def search_lines(items: Sequence[dict[str, Any]], names: Mapping[str, str]) -> tuple[list[str], list[list[Any]]]:
    """Search lists as a flat table, one line an item and task."""
    header = [_("branch"), _("what to do"), _("transport days"), _("since"), _("barcode"), _("reservation"),
              _("material type"), _("supplying branch"), _("pick-up branch"), _("file of the supplying branch"),
              _("row there"), _("file of the pick-up branch"), _("row in it"), _("export of")]  # fmt: skip
    lines = [
        [item["name"], task_text(item["task"]), item["waiting_transport_days"], item["since"], item["item_barcode"],
         item["reservation_id"], item["material_type"], names[item["supplying_branch"]], names[item["pickup_branch"]],
         item["supplier_file"], item["supplier_row"], item["pickup_file"], item["pickup_row"],
         item["told_by_export_of"]]
        for item in items
    ]  # fmt: skip
    return header, lines


def search_view(items: Sequence[dict[str, Any]], day: dt.date, note: str, names: Mapping[str, str]) -> RenderableType:
    """Search lists as `pendel overdue` shows them: by branch and by what it must do, in 80 columns."""
    parts: list[RenderableType] = []
    for branch in dict.fromkeys(item["branch"] for item in items):
        mine = [item for item in items if item["branch"] == branch]
        title = _("Search list of {branch}, {date}").format(branch=mine[0]["name"], date=date(day))
        parts.append(Text(f"{title}: {counted('{n} item', '{n} items', len(mine))}", style="bold"))
        if note:
            parts.append(Text(note))
        for task in dict.fromkeys(item["task"] for item in mine):
            parts += ["", Text(task_text(task)), _search_table(task, [i for i in mine if i["task"] == task], names)]
        parts.append("")
    return Group(*parts) if parts else Text(_("There is nothing to look for."), style="green")


def _search_table(task: str, items: Sequence[dict[str, Any]], names: Mapping[str, str]) -> Table:
    other, side = (
        ("pickup_branch", _("to")) if task in ("find_at_supplier", "send") else ("supplying_branch", _("from"))
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column(_("days"), justify="right")
    for name in (_("item"), side, _("supplying side"), _("pick-up side")):
        table.add_column(name, overflow="fold")
    for item in items:
        pickup = _told(item, "pickup")
        if task == "deliver_export" and item["told_by_export_of"]:
            pickup = _("export of {date} is not there").format(date=date(item["told_by_export_of"]))
        table.add_row(
            f"{number(item['waiting_transport_days'])}\n{date(item['since'])}",
            f"{item['item_barcode'] or '–'}\n{item['reservation_id']}",
            names[item[other]], _told(item, "supplier"), pickup,
        )  # fmt: skip
    return table


def _period(year: int, month: int | None) -> str:
    return f"{month_name(month)} {year}" if month else str(year)


def _lane_cells(lane: dict[str, Any], names: Mapping[str, str]) -> list[str]:
    change = lane["delivered_change_pct"]
    sign = "+" if change is not None and change > 0 else ""
    still = number(lane["still_in_transit"])
    return [
        _lane(lane["supplying_branch"], lane["pickup_branch"], names), number(lane["delivered"]),
        sign + number(change, "pct"), number(lane["transit_transport_days_median"], "transport_days"),
        number(lane["transit_transport_days_p90"], "transport_days"), number(lane["within_transit_norm_pct"], "pct"),
        still, number(lane["still_overdue"]),
    ]  # fmt: skip


def _lane_header() -> list[str]:
    return [_("lane"), _("volume"), _("change"), "50 %", "90 %", _("in time"), _("not in"),
            _("overdue")]  # fmt: skip


def _lane_notes(found: dict[str, Any]) -> list[str]:
    year, month = found["lanes"][0]["compared_year"], found["lanes"][0]["compared_month"]
    if year is None:
        text = _(
            "Transport days within which half and nine in ten arrived; in time: within {norm}. There is no earlier "
            "period to compare with."
        )
    else:
        text = _(
            "Transport days within which half and nine in ten arrived; in time: within {norm}. Change: deliveries per "
            "transport day, against {before}."
        )
    return [
        text.format(norm=found["norm"], before=_period(year, month)),
        _("Not in: sent in this period and not yet received, part of it overdue; no other figure counts them."),
    ]


def lanes_view(found: dict[str, Any], note: str, names: Mapping[str, str]) -> RenderableType:
    """How each lane did, as `pendel lanes` shows it: in 80 columns."""
    title = _("Lanes in {period}").format(period=_period(found["year"], found["month"]))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for name in _lane_header():
        is_lane = name == _("lane")
        table.add_column(
            name, justify="left" if is_lane else "right", overflow="fold", min_width=29 if is_lane else None
        )
    for lane in found["lanes"]:
        table.add_row(*_lane_cells(lane, names))
    notes = [*_lane_notes(found), *([note] if note else [])]
    return Group(Text(title, style="bold"), table, "", *map(Text, notes))


def lanes_markdown(found: dict[str, Any], names: Mapping[str, str]) -> str:
    """How each lane did, as a Markdown table with its explanation."""
    table = as_markdown(_lane_header(), [_lane_cells(lane, names) for lane in found["lanes"]], [False] + [True] * 7)
    return table + "\n" + "\n".join(_lane_notes(found)) + "\n"


def _balance_header() -> list[str]:
    return [_("branch"), _("supplied to others"), _("received from others"), _("balance")]


def _balance_cells(found: dict[str, Any], names: Mapping[str, str]) -> list[list[str]]:
    parts = ("supplied", "received", "balance")
    lines = [[names[b["branch"]], *(number(b[part]) for part in parts)] for b in found["branches"]]
    sums = [number(sum(b[part] for b in found["branches"])) for part in parts]
    return [*lines, [_("all branches"), *sums]]


def balances_view(found: dict[str, Any], note: str, names: Mapping[str, str]) -> RenderableType:
    """What branches lend less what they borrow, as `pendel lanes --by branch` shows it, with the sums."""
    title = _("Lending balance in {period}").format(period=_period(found["year"], found["month"]))
    table = Table(box=box.SIMPLE_HEAD)
    for name in _balance_header():
        table.add_column(name, justify="left" if name == _("branch") else "right")
    *lines, sums = _balance_cells(found, names)
    for line in lines:
        table.add_row(*line)
    table.add_section()
    table.add_row(*sums, style="bold")
    return Group(Text(title, style="bold"), table, *([Text(note)] if note else []))


def balances_markdown(found: dict[str, Any], names: Mapping[str, str]) -> str:
    """What branches lend less what they borrow, as a Markdown table."""
    return as_markdown(_balance_header(), _balance_cells(found, names), [False, True, True, True])


def period_lines(found: dict[str, Any], part: str) -> tuple[list[str], list[list[Any]]]:
    """`lanes` or `branches` of a period as a flat table, a line each."""
    names = list(found[part][0])
    period = [found["year"], *([found["month"]] if found["month"] else [])]
    header = ["year", *(["month"] if found["month"] else []), *names]
    return header, [[*period, *(item[name] for name in names)] for item in found[part]]


def _part(part: str) -> str:
    """Which side of a share or balance a row is on; for an expected export, its state."""
    return {"supplied": _("supplied"), "received": _("received"), "within_norm": _("in time"), "later": _("later"),
            "not_collected": _("not collected"), "other": _("not so"), "late": _("late"), "missing": _("missing"),
            "not_begun": _("before the first export"),
            "rejected": _("rejected"), "": ""}[part]  # fmt: skip


def _lane(supplier: str | None, pickup: str | None, names: Mapping[str, str]) -> str:
    return " → ".join(names.get(code, code) if code else "–" for code in (supplier, pickup))


def _moment(at: dt.datetime | None) -> str:
    """A local date and time, to the minute."""
    return f"{date(at.date())} {at:%H:%M}" if at else "–"


def _place(file: str | None, row: int | None) -> str:
    """A row of a file, as `file:row`."""
    return f"{file}:{row}" if file else "–"


def _receipt(row: dict[str, Any]) -> str:
    """When a leg was received, and the row that says so: of an unconfirmed one, the supplying branch's."""
    side = "supplier" if row["state"] == "unconfirmed" else "pickup"
    at = _moment(row["received_at"] or row["unconfirmed_received_at"])
    return f"{at}\n{_place(row[f'{side}_file'], row[f'{side}_row'])}"


def _scope(dimension: Mapping[str, str], names: Mapping[str, str]) -> str:
    """What a figure is about: a branch, or from where to where."""
    if "branch" in dimension:
        return names.get(dimension["branch"], dimension["branch"])
    ends = [
        dimension.get(f"{side}_branch") or dimension.get(f"{side}_organisation") for side in ("supplying", "pickup")
    ]
    return " → ".join(names.get(code, code) if code else "…" for code in ends) if any(ends) else ""


def _how_it_follows(found: dict[str, Any]) -> str:
    """How a figure follows from its rows, in one sentence."""
    n, unit = found["count"], found["unit"]
    values = {"n": number(n), "figure": number(found["value"], unit)}
    if found["method"] == "count":
        return counted("{n} leg, counted once.", "{n} legs, each counted once.", n)
    if found["method"] == "balance":
        supplied = (n + found["sum"]) // 2
        values |= {"supplied": number(supplied), "received": number(n - supplied)}
        return _("{supplied} legs supplied less {received} received: {figure}.").format(**values)
    if found["method"] == "share":
        return _("{part} of {n}: {figure}.").format(part=number(found["sum"]), **values)
    if found["method"] == "median":
        return _("The middle one of {n} durations, or halfway the middle two: {figure}.").format(**values)
    return _("Nine in ten of {n} durations are not longer than this, interpolated between two: {figure}.").format(
        **values
    )


def traced_figure_lines(found: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The rows behind a figure as a flat table, local times as in an export of today: 2023-12-31 16:05:00."""
    names = found["columns"]
    return names, [[row[name] for name in names] for row in found["rows"]]


def traced_figure_view(found: dict[str, Any], note: str, names: Mapping[str, str]) -> RenderableType:
    """A key figure, how it follows from its rows, and the rows, as `pendel trace` shows them."""
    period = f"{month_name(found['month'])} {found['year']}" if "month" in found else str(found["year"])
    scope = _scope(found["dimension"], names)
    title = f"{_label(found)}, {period}{f' ({scope})' if scope else ''}: {number(found['value'], found['unit'])}"
    parts: list[RenderableType] = [Text(title, style="bold"), Text(_how_it_follows(found))]
    if note:
        parts.append(Text(note))
    table = Table(box=box.SIMPLE_HEAD)
    if "export_date" in found["columns"]:
        for name in (_("branch"), _("day"), _("state"), _("file"), _("arrived")):
            table.add_column(name)
        for row in found["rows"]:
            table.add_row(
                names.get(row["branch"], row["branch"]), date(row["export_date"]), _part(row["part"]),
                row["file"] or "–", _moment(row["arrived_at"]),
            )  # fmt: skip
        return Group(*parts, table)
    measured = found["unit"] in ("days", "transport_days")
    if measured:
        table.add_column(unit_name(found["unit"]), justify="right")
    elif found["method"] != "count":
        table.add_column("")
    for name in (_("reservation, item"), _("lane, state"), _("sent, by this row"), _("received, by this row")):
        table.add_column(name, overflow="fold")
    for row in found["rows"]:
        first = [number(row["value"], found["unit"])] if measured else [_part(row["part"])]
        table.add_row(
            *(first if found["method"] != "count" else []),
            f"{row['reservation_id']}\n{row['item_barcode'] or '–'}",
            f"{_lane(row['supplying_branch'], row['pickup_branch'], names)}\n{_leg_state(row['state'])}",
            f"{_moment(row['shipped_at'])}\n{_place(row['supplier_file'], row['supplier_row'])}",
            _receipt(row),
        )  # fmt: skip
    return Group(*parts, table)


def _file_fate(item: dict[str, Any]) -> str:
    """What became of a file, in one sentence."""
    if item["state"] == "rejected":
        why = message(item["reason"], item["detail"])
        return f"{why} {_('It was replaced or taken away, and needs nothing.')}" if item["settled"] else why
    if item["state"] == "superseded":
        return _("Another export of the same day took its place: {file}.").format(file=item["replaced_by"])
    if item["state"] == "skipped":
        return _("The same bytes were delivered before, as {file}: not read again.").format(file=item["replaced_by"])
    if item["state"] == "unpublished":
        return _("It was taken in by a run that did not publish; see `pendel status`.")
    rows = {name: number(item[f"rows_{name}"]) for name in ("read", "accepted", "quarantined", "duplicate")}
    text = _("{read} read = {accepted} accepted + {quarantined} quarantined + {duplicate} duplicate").format(**rows)
    return f"{_('rows')}: {text}"


def _row_fate(item: dict[str, Any], row: dict[str, Any], names: Mapping[str, str]) -> str:
    """What became of a row, in one sentence."""
    leg = _lane(row["supplying_branch"], row["pickup_branch"], names)
    if row["leg_state"]:
        leg += f", {_leg_state(row['leg_state'])}"
    if row["leg_state"] == "delivered":
        leg += f" {date(row['received_at'].date())}"
    if row["fate"] == "held":
        return _("held: {why}").format(why=message(row["rule"]))
    if row["fate"] == "superseded":
        return _("left the figures with its file")
    if row["fate"] == "outvoted":
        return _("a newer row counts instead: {place}; {leg}").format(
            place=_place(row["newer_file"], row["newer_row"]), leg=leg
        )
    if row["fate"] == "no_supplier":
        return _("names no supplier; the reservation went on: {leg}").format(leg=leg)
    if row["fate"] == "closes":
        return _("closes the reservation: {leg}").format(leg=leg)
    if row["fate"] == "rejudged":
        return _("the register or the rules changed since the publication: the next run judges it anew")
    if row["side"] == "supplier":
        return _("counts for the sending: {leg}").format(leg=leg)
    if row["side"] == "pickup":
        return _("counts for the receipt: {leg}").format(leg=leg)
    return _("counts for the sending and the receipt: {leg}").format(leg=leg)


def _no_row(item: dict[str, Any]) -> str:
    """Why nothing is known of the one row that was asked for."""
    return _(
        "Row {row} neither counts nor is held: it is the header, equal to an earlier row ({duplicate} in this file), "
        "about something else than a reservation ({other}), or not there."
    ).format(row=item["row"], duplicate=number(item["rows_duplicate"]), other=number(item["rows_other"]))


def traced_file_lines(traced: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """What became of files and their rows as a flat table; a file of which no row is known is one line."""
    details = ["row", "reservation_id", "fate", "side", "rule", "supplying_branch", "pickup_branch", "leg_state",
               "received_at", "newer_file", "newer_row"]  # fmt: skip
    lines: list[list[Any]] = []
    for item in traced:
        file = [item["file"], item["state"], item["replaced_by"]]
        lines += [[*file, *(row[name] for name in details), _row_fate(item, row, {})] for row in item["rows"]]
        if not item["rows"]:
            lines.append([*file, item["row"], *[None] * (len(details) - 1), _fate_without_rows(item)])
    return ["file", "file_state", "replaced_by", *details, "message"], lines


def _fate_without_rows(item: dict[str, Any]) -> str:
    was_read = item["state"] in ("accepted", "partly_accepted")
    return _no_row(item) if was_read and item["row"] is not None else _file_fate(item)


def traced_file_view(traced: Sequence[dict[str, Any]], most: int, names: Mapping[str, str]) -> RenderableType:
    """What became of files and their rows, as `pendel trace --file` shows it: at most so many rows of each."""
    parts: list[RenderableType] = []
    for item in traced:
        state = _("not published") if item["state"] == "unpublished" else _file_state(item["state"])
        parts += [Text(f"{item['file']}: {state}", style="bold"), Text(_file_fate(item))]
        if item["rows"]:
            table = Table(box=box.SIMPLE_HEAD)
            for name in (_("row"), _("reservation"), _("what became of it")):
                table.add_column(name, justify="right" if name == _("row") else "left", overflow="fold")
            for row in item["rows"][:most]:
                table.add_row(str(row["row"]), row["reservation_id"] or "–", _row_fate(item, row, names))
            parts.append(table)
        elif item["row"] is not None and item["state"] in ("accepted", "partly_accepted", "superseded"):
            parts.append(Text(_no_row(item)))
    return Group(*parts)


def purge_view(planned: PurgePlan) -> RenderableType:
    """What a purge would remove, by branch, and what it keeps and why."""
    reasons = {
        "recent": _("of {date} or later").format(date=date(planned.before)),
        "rejected": _("rejected: tried again when the register changes"),
        "unknown": _("not taken in yet"),
        "changed": _("changed since it was taken in"),
        "not_stored": _("its rows are not all in the bronze store"),
        "unreadable": _("cannot be read"),
    }
    parts: list[RenderableType] = []
    if planned.files:
        table = Table(box=box.SIMPLE_HEAD, title=_("Can be removed"), title_justify="left")
        for name in (_("branch"), _("files"), _("size"), _("oldest"), _("newest")):
            table.add_column(name, justify="right" if name in (_("files"), _("size")) else "left")
        branches = sorted({file.branch for file in planned.files})
        for branch in [*branches, None]:
            files = [file for file in planned.files if branch is None or file.branch == branch]
            size = sum(file.file.size_bytes for file in files)
            oldest, newest = files[0].export_date, files[-1].export_date
            table.add_row(
                branch or _("together"), number(len(files)), f"{number(round(size / 1e6, 2))} MB", date(oldest),
                date(newest), style=None if branch else "bold",
            )  # fmt: skip
        parts.append(table)
    else:
        parts.append(Text(_("There is nothing to remove.")))
    if planned.kept:
        table = Table(box=box.SIMPLE_HEAD, title=_("Is kept"), title_justify="left")
        table.add_column(_("files"), justify="right")
        table.add_column(_("reason"))
        for reason, text in reasons.items():
            if planned.kept[reason]:
                table.add_row(number(planned.kept[reason]), text)
        parts.append(table)
    return Group(*parts)


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


def _weekday(day: str) -> str:
    """A date with its day of the week, short: di 02-01-2024."""
    from babel.dates import format_date

    name = format_date(dt.date.fromisoformat(day), "EEE", locale=language()).rstrip(".")
    return f"{name} {date(day)}"


def _band(row: dict[str, Any] | None) -> str:
    if row is None or row["items"] is None:
        return "–"
    return f"{number(row['items'])} ({number(row['low'])}–{number(row['high'])})"


def _scope_of_errors(scope: str) -> str:
    return {
        "all_lanes": _("all lanes"),
        "sparse_lanes": _("sparse lanes"),
        "branch_out": _("branches: sent"),
        "branch_in": _("branches: to come"),
        "network": _("the network"),
    }[scope]


def forecast_view(
    found: dict[str, Any], whole: bool, note: str = "", names: Mapping[str, str] = MappingProxyType({})
) -> RenderableType:
    """The forecast: the first day, or with `whole` all ten, and how good it has been."""
    rows = found["forecast"]
    first = rows[0]["date"]
    shown = rows if whole else [row for row in rows if row["date"] == first]
    title = _("Forecast for the ten transport days to come") if whole else _("Forecast for {day}")
    table = Table(title=title.format(day=_weekday(first)), box=box.SIMPLE_HEAD, title_justify="left",
                  title_style="bold")  # fmt: skip
    if whole:
        table.add_column(_("day"), no_wrap=True)
    if found["by"] == "branch":
        table.add_column(_("branch"))
        for name in (_("sends"), _("crates"), _("is sent"), _("crates")):
            table.add_column(name, justify="right", no_wrap=True)
        pairs: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        for row in shown:
            pairs.setdefault((row["date"], row["branch"]), {})[row["direction"]] = row
        for (day, branch), sides in pairs.items():
            cells = [cell for side in ("out", "in") for cell in (_band(sides[side]), number(sides[side]["crates"]))]
            table.add_row(*([_weekday(day)] if whole else []), names.get(branch, branch), *cells)
    else:
        table.add_column(_("lane"))
        for name in (_("items"), _("crates")):
            table.add_column(name, justify="right", no_wrap=True)
        for row in shown:
            lane = _lane(row["supplying_branch"], row["pickup_branch"], names)
            table.add_row(*([_weekday(row["date"])] if whole else []), lane, _band(row), number(row["crates"]))
    parts: list[RenderableType] = [table]
    parts.append(
        Text(
            _("Items, and between brackets the band that holds four times in five.\n"
              "Crates: an estimate, with {n} items in a crate (assumption).").format(n=number(found["items_per_crate"]))
        )
    )  # fmt: skip
    parts.append(_errors(found))
    if note:
        parts.append(Text(note, style="dim italic"))
    return Group(*parts)


def _errors(found: dict[str, Any]) -> RenderableType:
    if not found["backtest"]:
        return Text(_("There is too little history to try the forecast on: it is seasonal naive."))
    table = Table(box=box.SIMPLE_HEAD, title=_("How good it has been in the past eight weeks"), title_justify="left")
    table.add_column("")
    for name in (_("error"), _("seasonal naive"), _("smaller by"), _("band held")):
        table.add_column(name, justify="right")
    for row in found["backtest"]:
        shares = (row["wape"], row["naive_wape"], row["improvement"], row["band_held"])
        cells = [number(None if share is None else 100 * share, "pct") for share in shares]
        table.add_row(_scope_of_errors(row["scope"]), *cells)
    text = _("Lanes that get seasonal naive, because it was as good: {n} of {all}")
    fallen = text.format(n=number(found["naive_lanes"]), all=number(found["lanes"]))
    return Group(Text(), table, Text(fallen))


def forecast_lines(found: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The forecast as a flat table, for CSV: one line a day and branch and direction, or lane."""
    names = list(found["forecast"][0])
    return names, [list(row.values()) for row in found["forecast"]]


def forecast_markdown(found: dict[str, Any]) -> str:
    """The forecast as a Markdown table."""
    names, lines = forecast_lines(found)
    texts = [["" if cell is None else str(cell) for cell in line] for line in lines]
    return as_markdown(names, texts, [isinstance(cell, int) for cell in lines[0]])
