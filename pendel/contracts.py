"""The contracts of `expectations/`: canonical columns, export formats, row rules, tables, key figures.

Nothing here knows a library system by name: a new one is a new file in `expectations/exports/`.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import re
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from pendel.places import EXPECTATIONS, SQL, UserError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same safe loader in C, where libyaml is there."""


@dataclass(frozen=True)
class Column:
    """A canonical column of an export: `expectations/contract.yaml` explains the fields."""

    name: str
    kind: Literal["text", "code", "datetime"]
    needed: Literal["always", "shipped", "no"]
    header: Literal["needed", "free"]
    shape: str


@dataclass(frozen=True)
class ExportFormat:
    """How one library system writes its reservations: one file of `expectations/exports/`."""

    format: str
    description: str
    perspective: Literal["branch", "network"]
    container: Literal["csv", "xlsx"]
    file_name: str
    datetime_format: str
    time_zone: str
    reservation_id_pattern: str
    columns: dict[str, str]
    close_reasons: list[str]
    encoding: str = "utf-8"
    delimiter: str = ","
    status_codes: dict[str, str] = field(default_factory=dict)
    personal_columns: list[str] = field(default_factory=list)
    helper_columns: list[str] = field(default_factory=list)
    close_reason_unknown: Literal["quarantine", "empty"] = "quarantine"
    broken_when_line_starts_with: str | None = None
    rows_where: dict[str, str] | None = None
    no_value_where: list[dict[str, str]] = field(default_factory=list)
    status_from_dates: list[list[str]] | None = None
    changed_at_from: list[str] | None = None
    fingerprint: str = ""

    @functools.cached_property
    def _name(self) -> tuple[re.Pattern[str], str]:
        found = re.search(r"\{export_date:([^}]+)\}", self.file_name)
        if not found:
            raise UserError("export format {format}: file_name must hold an export_date.", format=self.format)
        digits = {"%Y": r"\d{4}", "%m": r"\d{2}", "%d": r"\d{2}"}
        date = re.sub(r"%[Ymd]", lambda part: digits[part[0]], found[1])
        pattern = re.escape(self.file_name)
        pattern = pattern.replace(re.escape(found[0]), f"(?P<date>{date})")
        pattern = pattern.replace(re.escape("{ils_code}"), r"(?P<ils_code>.+)")
        return re.compile(pattern, re.IGNORECASE), found[1]

    def match_name(self, name: str) -> tuple[str | None, dt.date] | None:
        """The library system's code (None where the name holds none) and the export date in a file name, or None."""
        pattern, date_format = self._name
        found = pattern.fullmatch(name)
        if not found:
            return None
        try:
            date = _date(found["date"], date_format)
        except ValueError:
            return None
        return found.groupdict().get("ils_code"), date


@functools.lru_cache(maxsize=10_000)
def _date(text: str, date_format: str) -> dt.date:
    """A date in a file's name; the branches' files bear the same ones."""
    return dt.datetime.strptime(text, date_format).date()


@dataclass(frozen=True)
class Rule:
    """A row rule: `where` is the one SQL predicate that both the gate and the quarantine use."""

    rule: str
    stage: Literal["reading", "arrival", "reference"]
    action: Literal["quarantine", "warn"]
    where: str
    nl: str
    en: str


@dataclass(frozen=True)
class SqlFile:
    """One file of `sql/`: its name, the `-- name: value` lines at its top, and its whole text."""

    name: str
    head: dict[str, str]
    sql: str


@functools.cache
def sql_files(folder: str) -> tuple[SqlFile, ...]:
    """The files of one folder of `sql/`, by name."""
    found = []
    for path in sorted((SQL / folder).glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        lines = [line.removeprefix("-- ") for line in text.splitlines() if line.startswith("-- ")]
        found.append(SqlFile(path.stem, dict(line.split(": ", 1) for line in lines if ": " in line), text))
    return tuple(found)


def sql_file(folder: str, name: str) -> SqlFile:
    """One file of a folder of `sql/`. Raises ValueError when it is not there."""
    (found,) = (file for file in sql_files(folder) if file.name == name)
    return found


@functools.cache
def columns() -> dict[str, Column]:
    """The canonical columns, in their order."""
    contract = _yaml(EXPECTATIONS / "contract.yaml")
    return {
        name: Column(name=name, shape=spec.pop("shape", contract["datetime_shape"]), **spec)
        for name, spec in contract["columns"].items()
    }


@functools.cache
def file_words() -> frozenset[str]:
    """The words that may be shown of a file's name, in small letters."""
    return frozenset(_yaml(EXPECTATIONS / "contract.yaml")["file_words"].split())


@functools.cache
def export_formats() -> dict[str, ExportFormat]:
    """All export formats by name."""
    formats = {}
    for path in sorted((EXPECTATIONS / "exports").glob("*.yaml")):
        fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        given = _yaml(path)
        known = {item.name: item.default is item.default_factory is MISSING for item in fields(ExportFormat)}
        strange = sorted(given.keys() - known.keys())
        missing = sorted(name for name, is_needed in known.items() if is_needed and name not in given)
        if strange or missing:
            raise UserError(
                "{file} is no export format: unknown: {unknown}; missing: {missing}. The other files there show how "
                "one is written.",
                file=path,
                unknown=", ".join(strange) or "–",
                missing=", ".join(missing) or "–",
            )
        spec = ExportFormat(**given, fingerprint=fingerprint)
        unknown = set(spec.columns) - set(columns())
        if unknown:
            raise UserError(
                "{file}: {columns} is no column of expectations/contract.yaml.",
                file=path,
                columns=", ".join(sorted(unknown)),
            )
        formats[spec.format] = spec
    return formats


@functools.cache
def rules() -> tuple[Rule, ...]:
    """The row rules in order of precedence: the first that applies names the row."""
    return tuple(Rule(**spec) for spec in _yaml(EXPECTATIONS / "rules.yaml")["rules"])


@dataclass(frozen=True)
class Correction:
    """A declared correction of single rows: `expectations/corrections.yaml` explains the fields."""

    number: int
    match: dict[str, Any]
    action: Literal["drop", "override"]
    reason: str
    expect: int
    set: dict[str, Any] = field(default_factory=dict)


PLACES_OF_A_ROW = ("branch", "file", "row", "export_date")
"""What a correction can match besides the columns of the contract."""


@functools.cache
def corrections() -> tuple[Correction, ...]:
    """The declared corrections, numbered from 1 in their order.

    Raises UserError, naming the correction and the remedy, for one that cannot be applied.
    """
    path = EXPECTATIONS / "corrections.yaml"
    found = []
    for number, spec in enumerate((_yaml(path) or {}).get("corrections") or [], 1):
        wrong = _wrong(spec)
        if wrong:
            raise UserError(
                "{file}, correction {number}: {what} cannot be used. The lines at the top of the file say how a "
                "correction is written.",
                file=path,
                number=number,
                what=wrong,
            )
        found.append(Correction(number=number, **spec))
    return tuple(found)


def _wrong(spec: Any) -> str:
    """The first thing of a correction that cannot be used; '' when all is well."""
    if not isinstance(spec, dict):
        return str(spec)
    needed = {"match": dict, "action": str, "reason": str, "expect": int}
    for name, kind in needed.items():
        if not isinstance(spec.get(name), kind) or not spec[name]:
            return name
    if spec.keys() - needed.keys() - {"set"}:
        return str(min(spec.keys() - needed.keys() - {"set"}))
    if spec["action"] not in ("drop", "override") or bool(spec.get("set")) != (spec["action"] == "override"):
        return "action"
    for name, value in [*spec["match"].items(), *(spec.get("set") or {}).items()]:
        if name not in columns() and (name not in PLACES_OF_A_ROW or name in (spec.get("set") or {})):
            return str(name)
        if name in columns() and columns()[name].kind == "datetime" and value is not None:
            try:
                dt.datetime.fromisoformat(str(value))
            except ValueError:
                return str(name)
    return ""


@functools.cache
def rejections() -> dict[str, dict[str, str]]:
    """Why a file can be rejected: reason → {nl, en}."""
    found: dict[str, dict[str, str]] = _yaml(EXPECTATIONS / "rules.yaml")["rejections"]
    return found


@functools.cache
def drifts() -> dict[str, dict[str, str]]:
    """What a drift means, in a sentence: `kind.figure` of `marts.drift` → {nl, en}."""
    found: dict[str, dict[str, str]] = _yaml(EXPECTATIONS / "drift.yaml")
    return found


@functools.cache
def tables() -> dict[str, dict[str, Any]]:
    """Every published relation: `schema.name` → its description, key, and columns as `columns.yaml` describes them.

    A column has `nl`, `en`, `empty` (whether it may be), and perhaps `unit`, `one_of`, `least`, `most`.
    """
    described = _yaml(EXPECTATIONS / "tables" / "columns.yaml")
    found: dict[str, dict[str, Any]] = _yaml(EXPECTATIONS / "tables" / "tables.yaml")
    for spec in found.values():
        held_to = spec.pop("one_of", {})
        columns = {}
        for written in spec["columns"].split():
            name = written.removesuffix("?")
            columns[name] = described[name] | {"empty": written.endswith("?")}
            if name in held_to:
                columns[name]["one_of"] = held_to[name]
        spec["columns"] = columns
    return found


@functools.cache
def kpis() -> dict[str, dict[str, Any]]:
    """The key figures as `expectations/kpis.yaml` defines them: id (or id template) → definition."""
    found: dict[str, dict[str, Any]] = _yaml(EXPECTATIONS / "kpis.yaml")
    return found


def _yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
