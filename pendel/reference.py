"""Reference data: the register of branches, the organisations, the parameters.

Source of the columns: `data/reference/README.md`. Everything the pipeline knows about a network is read here, so
that another folder serves another network without a change in code.
"""

from __future__ import annotations

import csv
import datetime as dt
import functools
import hashlib
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import yaml

from pendel.contracts import export_formats
from pendel.places import UserError

NETWORK = "network"
"""The folder, under the raw folder, of exports made for the whole network at once."""


@dataclass(frozen=True)
class BranchPeriod:
    """One row of `branches.csv`: a branch during one period, both days inclusive, None where unknown."""

    branch: str
    name: str
    organisation: str
    municipality: str
    ils_code: str
    export_format: str
    opened_on: dt.date | None
    closed_on: dt.date | None
    latitude: float | None
    longitude: float | None
    isil: str
    note: str


@dataclass(frozen=True)
class Parameters:
    """`parameters.yaml`: assumptions about working days and norms, each overridable per network."""

    time_zone: str = "Europe/Amsterdam"
    holidays: str = "NL"
    working_holidays: list[str] = field(default_factory=lambda: ["Good Friday"])
    transport_weekdays: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    export_weekdays: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5, 6])
    transit_norm_transport_days: int = 2
    overdue_after_transport_days: int = 5
    unsent_after_transport_days: int = 5
    lost_after_transport_days: int = 15
    transit_warning_days: int = 90
    export_late_after_days: int = 1
    items_per_crate: int = 30


@dataclass(frozen=True)
class Reference:
    """All reference data of one network."""

    folder: Path
    branches: tuple[BranchPeriod, ...]
    organisations: dict[str, str]
    published: tuple[dict[str, str], ...]
    parameters: Parameters

    def periods(self, branch: str) -> list[BranchPeriod]:
        """The rows of one branch; empty when the register does not know it."""
        return [row for row in self.branches if row.branch == branch]

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what decides how a file is read: the register."""
        return hashlib.sha256(repr(self.branches).encode()).hexdigest()


def read_reference(folder: Path) -> Reference:
    """Read and check a reference folder.

    Raises UserError, naming the file, the row and the remedy, when something in it cannot be used.
    """
    branches = tuple(_branch_periods(folder / "branches.csv"))
    organisations = {row["organisation"]: row["name"] for _, row in _rows(folder / "organisations.csv", ORGANISATION)}
    for period in branches:
        if period.organisation not in organisations:
            raise UserError(
                "{file}: branch {branch} belongs to organisation {organisation}, which is not in organisations.csv. "
                "Add it there, or correct the branch.",
                file=folder / "branches.csv",
                branch=period.branch,
                organisation=period.organisation,
            )
    published_file = folder / "published_figures.csv"
    published = tuple(_published(published_file)) if published_file.exists() else ()
    return Reference(folder, branches, organisations, published, _parameters(folder / "parameters.yaml"))


BRANCH = ("branch", "name", "organisation", "ils_code", "export_format")
ORGANISATION = ("organisation", "name")
PUBLISHED = ("year", "kpi", "value")
READ_AS: dict[str, Callable[[str], Any]] = {
    "opened_on": dt.date.fromisoformat,
    "closed_on": dt.date.fromisoformat,
    "latitude": float,
    "longitude": float,
}


def _rows(path: Path, needed: tuple[str, ...]) -> Iterable[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise UserError(
            "{file} is missing. Every network needs it: see data/reference/README.md for its columns.", file=path
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("{file} is not UTF-8. Save it as CSV UTF-8.", file=path) from None
    first = text.split("\n", 1)[0]
    if ";" in first and "," not in first:
        raise UserError("{file} has semicolons between its columns. Save it with commas.", file=path)
    with io.StringIO(text, newline="") as lines:
        reader = csv.DictReader(lines)
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise UserError(
                "{file}: missing column: {columns}. Add it to the first line.", file=path, columns=", ".join(missing)
            )
        for row in reader:
            values = {key: (value or "").strip() for key, value in row.items() if key}
            empty = [name for name in needed if not values[name]]
            if empty:
                raise UserError(
                    "{file}, line {line}: {columns} is empty. Fill it in.",
                    file=path,
                    line=reader.line_num,
                    columns=", ".join(empty),
                )
            yield reader.line_num, values


def _branch_periods(path: Path) -> Iterable[BranchPeriod]:
    belongs_to: dict[str, str] = {}
    for line, row in _rows(path, BRANCH):
        if row["branch"] == NETWORK:
            raise UserError(
                "{file}, line {line}: a branch cannot be called '{name}': that is the folder of network exports. "
                "Give it another code.",
                file=path,
                line=line,
                name=NETWORK,
            )
        if belongs_to.setdefault(row["branch"], row["organisation"]) != row["organisation"]:
            raise UserError(
                "{file}, line {line}: branch {branch} stands under two organisations. Give one of them another code.",
                file=path,
                line=line,
                branch=row["branch"],
            )
        if row["export_format"] not in export_formats():
            raise UserError(
                "{file}, line {line}: there is no export format {format}. Choose one of {known}, or add its file to "
                "expectations/exports/.",
                file=path,
                line=line,
                format=row["export_format"],
                known=", ".join(export_formats()),
            )
        read: dict[str, Any] = {}
        for column, kind in READ_AS.items():
            try:
                read[column] = kind(row[column]) if row.get(column) else None
            except ValueError:
                raise UserError(
                    "{file}, line {line}: {column} cannot be read: {value}. Dates are written 2023-12-31, coordinates "
                    "52.3702.",
                    file=path,
                    line=line,
                    column=column,
                    value=row[column],
                ) from None
        period = BranchPeriod(
            branch=row["branch"],
            name=row["name"],
            organisation=row["organisation"],
            municipality=row.get("municipality", ""),
            ils_code=row["ils_code"],
            export_format=row["export_format"],
            isil=row.get("isil", ""),
            note=row.get("note", ""),
            **read,
        )
        if period.opened_on and period.closed_on and period.closed_on < period.opened_on:
            raise UserError(
                "{file}, line {line}: branch {branch} closes before it opens. Correct opened_on or closed_on.",
                file=path,
                line=line,
                branch=period.branch,
            )
        yield period


def _published(path: Path) -> Iterable[dict[str, str]]:
    for line, row in _rows(path, PUBLISHED):
        if not (re.fullmatch(r"[0-9]{4}", row["year"]) and re.fullmatch(r"-?[0-9]+(\.[0-9]{1,2})?", row["value"])):
            raise UserError(
                "{file}, line {line}: write the year as 2023 and the value as 1234, without thousands separators.",
                file=path,
                line=line,
            )
        yield row


def read_yaml(path: Path) -> Any:
    """What a file of YAML that people write holds; `{}` when it is empty or is not there.

    Raises UserError, naming the line, when it cannot be read as YAML.
    """
    if not path.exists():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(
            "{file} is no readable YAML: look at line {line}.", file=path, line=mark.line + 1 if mark else 1
        ) from None


def _parameters(path: Path) -> Parameters:
    given = read_yaml(path)
    if not isinstance(given, dict):
        raise UserError("{file}: expected names with values, as in the example in that file.", file=path)
    known = {item.name for item in fields(Parameters)}
    unknown = sorted(str(name) for name in set(given) - known)
    if unknown:
        raise UserError(
            "{file}: unknown parameter: {names}. Known are: {known}.",
            file=path,
            names=", ".join(unknown),
            known=", ".join(sorted(known)),
        )
    found = Parameters(**given)
    try:
        ZoneInfo(found.time_zone)
    except (ValueError, LookupError, OSError, TypeError):  # no zone, or no name of one
        raise UserError(
            "{file}: there is no time zone {zone}. Write it as Europe/Amsterdam.", file=path, zone=found.time_zone
        ) from None
    return found


def public_holidays(parameters: Parameters, years: Iterable[int]) -> dict[dt.date, str]:
    """Date → name, in the language of the country, of the public holidays on which nobody works.

    The library `holidays` computes them; those that the parameters call working days are left out.
    """
    years = list(years)
    english = holidays.country_holidays(parameters.holidays, years=years, language="en_US")
    native = holidays.country_holidays(parameters.holidays, years=years, language=english.default_language)
    return {day: native[day] for day, name in english.items() if name not in parameters.working_holidays}
