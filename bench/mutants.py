"""Are the tests any good? Changes the SQL and the contracts one small thing at a time; a test must fail each time.

    python bench/mutants.py                             every change (long: hours of nobody's time)
    python bench/mutants.py --sample 40 --seed 1        some of them
    python bench/mutants.py --file sql/marts/fct_leg.sql --list

A changed copy is called a mutant. DuckDB parses a SELECT into its tree (`json_serialize_sql`), one node of the tree is
changed, and DuckDB writes the SELECT again: a mutant always parses. Those that DuckDB cannot bind are left out, and
what a file of `sql/checks/` selects stays as it is, since the gates count its rows. YAML is changed as data. Each
mutant is judged in a process of its own, forked from this one after pytest has collected the tests, which stops at the
first test that fails; a mutant that no test ends within the time limit counts as found.

With `--kept FILE` the verdicts are kept: what was found once is not judged again while its text is the same (tests are
added, seldom taken away), so that a run can be broken off and continued, part by part.

Tests that merely compare what is committed with what the contracts say (`DRIFT`) do not judge, since they would find
every change of a contract without understanding it.

`bench/mutants_survivors.yaml` lists the mutants that no test finds, each with the reason why it is no other program.
Ends with 1 when fewer than 95 % are found, or when one survives that is not listed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime as dt
import gc
import hashlib
import json
import multiprocessing
import os
import pickle
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parent.parent
SURVIVORS = PROJECT / "bench" / "mutants_survivors.yaml"
LEAST_SCORE = 0.95
SECONDS = 240
"""Of processor time that the tests of one mutant may take before it counts as found; tenfold by the clock."""

BEYOND = tuple(
    f"tests/test_boundaries.py::test_{name}"
    for name in (
        "a_lane_bears",
        "a_branch_is_described",
        "what_the_supplier_says",
        "a_closed_row",
        "a_reservation_number",
        "a_leg_bears",
        "what_is_under_way",
        "what_is_only_asked_for",
        "when_branches_are_open",
        "a_code_means",
        "files_rank_by",
        "a_receipt_counts",
        "of_two_words",
        "how_long_a_short_way",
        "a_leg_that_its_supplier",
    )
)
COLUMNS = tuple(
    f"tests/test_boundaries.py::test_{name}" for name in ("every_column", "a_published_figure", "the_definitions")
)
MODELS = (
    *COLUMNS,
    "tests/test_models.py::test_all_seven",
    *BEYOND,
    "tests/test_models.py",
    "tests/test_boundaries.py::test_a_sound_warehouse",
)
SOUND = ("tests/test_gates.py::test_a_sound_warehouse", "tests/test_gates.py::test_every_column_is_described")
ROWS = tuple(f"tests/test_rules.py::test_{name}" for name in ("a_row_is_held", "every_rule_has", "rows_are_conserved"))
CLOSED = tuple(
    f"tests/test_history.py::test_{name}"
    for name in (
        "which_late_files",
        "why_a_closed_year",
        "a_figure_that_is_computed",
        "a_closed_year",
        "a_changed_rule_restates",
        "an_unexplained",
    )
)
JUDGES = {
    "sql/trace/row.sql": ("tests/test_trace.py::test_what_became", "tests/test_trace.py"),
    "sql/trace/file.sql": ("tests/test_trace.py::test_what_became", "tests/test_trace.py"),
    "sql/trace/": ("tests/test_trace.py::test_what_a_figure", "tests/test_trace.py"),
    "sql/history/": ("tests/test_history.py::test_what", "tests/test_history.py::test_nothing_changed"),
    "sql/kpi/closed_year.sql": (*CLOSED, *SOUND),
    "sql/kpi/restatement.sql": (*CLOSED, *SOUND),
    "sql/marts/closed_year_file.sql": (*CLOSED, *SOUND),
    "sql/quality/correct": ("tests/test_corrections.py", *SOUND),
    "sql/staging/corrected_row.sql": ("tests/test_corrections.py", *MODELS),
    "sql/marts/drift.sql": ("tests/test_drift.py", *SOUND),
    "sql/marts/forecast_": ("tests/test_forecast.py", *SOUND),
    "sql/marts/lane_usual.sql": ("tests/test_models.py::test_a_lane_beside", *SOUND),
    "sql/checks/": ("tests/test_boundaries.py", "tests/test_gates.py"),
    "sql/quality/": (*MODELS, *SOUND, "tests/test_rules.py"),
    "sql/staging/": (*MODELS, *ROWS, *SOUND),
    "sql/": (*MODELS, *SOUND),
    "expectations/rules.yaml": (*ROWS, *MODELS),
    "expectations/tables/": ("tests/test_boundaries.py", "tests/test_gates.py"),
    "expectations/": (
        "tests/test_boundaries.py::test_what_a_",
        "tests/test_rules.py::test_the_contract_says",
        "tests/test_reading.py",
        *ROWS,
        "tests/test_boundaries.py",
        "tests/test_reference.py",
    ),
}
"""Which tests judge a change of which file: the first that fits; the starts of their names, the fastest first. Others
may find a change too: this is the least that the tests can do.
"""

DRIFT = {
    "test_committed_suites_are_those_of_the_contracts",
    "test_generated_files_are_what_the_contracts_say",
}
"""Tests that do not judge: they compare generated files with what they are generated from."""

LAST = (
    "test_any_rows_give_the_naive_figures",
    "test_the_gate_counts_what_the_quarantine_holds",
    "test_whatever_is_delivered_no_row_is_lost",
    "test_a_minute_is_stored_as_it_was_written",
)
"""Tests that take seconds: asked last."""

WARM = {"tests/test_trace.py": ("planted", "simulated", "other"), "tests/test_history.py": ("year",),
        "tests/test_corrections.py": ("year",)}  # fmt: skip
"""Fixtures of a module that tests only read, and that take seconds: made once, by what is not changed. A night that
then runs by changed SQL builds anew (`building.ingredients`), and `sql/trace/` and `sql/history/` make none of them.
"""

NOWHERE = 2**63

PARAMETERS = {
    "kpi": "overdue", "year": 2023, "month": 0, "branch": "", "supplying_branch": "", "pickup_branch": "",
    "supplying_organisation": "", "pickup_organisation": "", "file_id": 1, "row": 0,
}  # fmt: skip
"""Values for the parameters of `sql/trace/` and `sql/history/`, to see whether a SELECT binds."""


@dataclass(frozen=True)
class Mutant:
    """One change: the file, its whole new text, what kind of change it is, and how it looks before and after."""

    file: str
    line: int
    kind: str
    before: str
    after: str
    occurrence: int
    text: str
    binds: str = ""
    """What DuckDB must be able to bind."""
    write: Callable[[], tuple[str, str]] | None = None
    """Writes `text` and `binds`, where that costs something: only those that are judged are written."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What stays the same while the file changes elsewhere."""
        return self.file, self.before, self.after, self.occurrence

    def __str__(self) -> str:
        return f"{self.file}:{self.line} [{self.kind}] {self.before}  →  {self.after}"


# ---------------------------------------------------------------------------------------------- changes of SQL


Node = dict[str, Any]
Change = tuple[str, Any]
"""The kind of change, and the node that replaces the one that was there."""

COMPARISONS = {
    "COMPARE_EQUAL": ["COMPARE_NOTEQUAL"],
    "COMPARE_NOTEQUAL": ["COMPARE_EQUAL"],
    "COMPARE_LESSTHAN": ["COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHAN"],
    "COMPARE_LESSTHANOREQUALTO": ["COMPARE_LESSTHAN", "COMPARE_GREATERTHANOREQUALTO"],
    "COMPARE_GREATERTHAN": ["COMPARE_GREATERTHANOREQUALTO", "COMPARE_LESSTHAN"],
    "COMPARE_GREATERTHANOREQUALTO": ["COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO"],
    "COMPARE_DISTINCT_FROM": ["COMPARE_NOT_DISTINCT_FROM", "COMPARE_NOTEQUAL"],
    "COMPARE_NOT_DISTINCT_FROM": ["COMPARE_DISTINCT_FROM", "COMPARE_EQUAL"],
    "COMPARE_IN": ["COMPARE_NOT_IN"],
    "COMPARE_NOT_IN": ["COMPARE_IN"],
    "OPERATOR_IS_NULL": ["OPERATOR_IS_NOT_NULL"],
    "OPERATOR_IS_NOT_NULL": ["OPERATOR_IS_NULL"],
    "CONJUNCTION_AND": ["CONJUNCTION_OR"],
    "CONJUNCTION_OR": ["CONJUNCTION_AND"],
}
FUNCTIONS = {
    "+": "-", "-": "+", "*": "/", "/": "*", "min": "max", "max": "min", "arg_max": "arg_min", "arg_min": "arg_max",
    "bool_or": "bool_and", "bool_and": "bool_or", "greatest": "least", "least": "greatest", "sum": "max",
    "count": "count_star", "year": "month", "month": "year", "lag": "lead", "lead": "lag", "isoyear": "year",
    "row_number": "rank", "quantile_cont": "quantile_disc", "lower": "upper",
}  # fmt: skip


def _without(items: list[Any], place: int) -> list[Any]:
    return items[:place] + items[place + 1 :]


def _renamed(node: Node, name: str) -> Node:
    new = node | {"function_name": name, "qualified_name": {"path": [name]}}
    if node["type"] in ("WINDOW_LAG", "WINDOW_LEAD", "WINDOW_ROW_NUMBER"):
        new["type"] = f"WINDOW_{name.upper()}"
    if name == "count_star":
        new["arguments"] = []
    return new


def _constant(node: Node) -> Iterator[Change]:
    text = node.get("literal", {}).get("text")
    if not isinstance(text, str):
        return
    if re.fullmatch(r"-?\d+", text):
        new = str(int(text) + 1)
    elif re.fullmatch(r"-?\d+\.\d+", text):
        new = str(round(float(text) + 0.1, 3))
    elif re.fullmatch(r"(0001|9999)-\d\d-\d\d", text):
        new = "2023-02-01"  # a date for ever is none that a day more or less would change
    elif re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        new = str(dt.date.fromisoformat(text) + dt.timedelta(days=1))
    elif node["literal"].get("kind") == "STRING":
        new = text + "~"
    else:
        return
    yield "constant", node | {"literal": node["literal"] | {"text": new}}


def _select(node: Node) -> Iterator[Change]:
    for part in ("where_clause", "having", "qualify"):
        if node.get(part):
            yield f"{part.split('_')[0]} dropped", node | {part: None}
    for place, modifier in enumerate(node["modifiers"]):
        if modifier["type"] == "DISTINCT_MODIFIER":
            yield "distinct dropped", node | {"modifiers": _without(node["modifiers"], place)}
    sets = node["group_sets"]
    if len(sets) > 1:
        for place in range(len(sets)):
            yield "grouping set dropped", node | {"group_sets": _without(sets, place)}
    elif sets and len(node["group_expressions"]) > 1:
        for place in range(len(node["group_expressions"])):
            kept = _without(node["group_expressions"], place)
            yield "group column dropped", node | {"group_expressions": kept, "group_sets": [list(range(len(kept)))]}


def _join(node: Node) -> Iterator[Change]:
    if node["ref_type"] != "REGULAR":
        return
    other = {"LEFT": ["INNER"], "INNER": ["LEFT"], "FULL": ["LEFT", "RIGHT", "INNER"], "OUTER": ["LEFT", "INNER"]}
    for kind in other.get(node["join_type"], []):
        yield "join kind", node | {"join_type": kind}
    if node.get("condition") and node["condition"]["type"] != "CONJUNCTION_AND":
        yield "join condition dropped", node | {"condition": None, "ref_type": "CROSS", "join_type": "INNER"}
    columns = node.get("using_columns") or []
    if len(columns) > 1:
        for place in range(len(columns)):
            yield "join condition dropped", node | {"using_columns": _without(columns, place)}


def _case(node: Node) -> Iterator[Change]:
    checks = node["case_checks"]
    for place in range(len(checks)):
        kept = _without(checks, place)
        yield "case branch dropped", node | {"case_checks": kept} if kept else node["else_expr"]
    results = [check["then_expr"] for check in checks] + [node["else_expr"]]
    for place in range(len(checks)):
        swapped = copy.copy(results)
        swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
        new = [check | {"then_expr": result} for check, result in zip(checks, swapped, strict=False)]
        yield "case branches swapped", node | {"case_checks": new, "else_expr": swapped[-1]}


def _call(node: Node) -> Iterator[Change]:
    name = node["function_name"]
    if name in FUNCTIONS and len(node["arguments"]) + (name == "row_number"):
        yield "arithmetic" if name in "+-*/" else "function", _renamed(node, FUNCTIONS[name])
    if name == "list_value" and len(node["arguments"]) > 2:
        for place in range(len(node["arguments"])):
            yield "item dropped", node | {"arguments": _without(node["arguments"], place)}
    for part in ("filter", "filter_expr"):
        if node.get(part):
            yield "filter dropped", node | {part: None}
    if node.get("distinct"):
        yield "distinct dropped", node | {"distinct": False}
    for part, kind in (("partitions", "partition dropped"), ("orders", "order by dropped")):
        for place in range(len(node.get(part) or [])):
            yield kind, node | {part: _without(node[part], place)}
    for place, order in enumerate(node.get("orders") or []):
        turned = copy.copy(node["orders"])
        turned[place] = order | {"type": "DESCENDING"}
        yield "order turned", node | {"orders": turned}


def _changes(node: Node, pool: dict[str, list[str]], rng: random.Random) -> Iterator[Change]:
    """What one node can be replaced by."""
    kind = node.get("type")
    for other in COMPARISONS.get(kind or "", []):
        yield "and/or" if "CONJ" in other else "operator", node | {"type": other}
    children = node.get("children") or []
    if kind in ("CONJUNCTION_AND", "CONJUNCTION_OR"):
        for place in range(len(children)):
            kept = _without(children, place)
            yield "conjunct dropped", node | {"children": kept} if len(kept) > 1 else kept[0]
    elif kind == "COMPARE_IN" and len(children) > 2:
        for place in range(1, len(children)):
            yield "value dropped", node | {"children": _without(children, place)}
    elif kind == "OPERATOR_NOT":
        yield "not dropped", children[0]
    elif kind == "OPERATOR_COALESCE":
        yield "coalesce removed", children[0]
        yield "coalesce turned", node | {"children": [children[1], children[0], *children[2:]]}
    elif kind == "COMPARE_BETWEEN":
        for low, high in (("", "OREQUALTO"), ("OREQUALTO", "")):
            ends = [
                {"class": "COMPARISON", "type": f"COMPARE_{way}THAN{end}", "alias": "", "query_location": NOWHERE,
                 "query_location_length": 0, "left": node["input"], "right": node[side]}
                for way, end, side in (("GREATER", low, "lower"), ("LESS", high, "upper"))
            ]  # fmt: skip
            yield "date boundary", {
                "class": "CONJUNCTION", "type": "CONJUNCTION_AND", "alias": "", "query_location": NOWHERE,
                "query_location_length": 0, "children": ends,
            }  # fmt: skip
    elif kind == "CASE_EXPR":
        yield from _case(node)
    elif kind == "VALUE_CONSTANT":
        yield from _constant(node)
    elif kind == "OPERATOR_CAST":
        inner, wanted = node["child"], node["type_expr"]["type_name"].upper()
        if wanted == "BOOLEAN" and inner["type"] == "VALUE_CONSTANT":
            flipped = "f" if inner["literal"]["text"] == "t" else "t"
            yield "constant", node | {"child": inner | {"literal": inner["literal"] | {"text": flipped}}}
        elif wanted == "DATE" and inner["type"] != "VALUE_CONSTANT":
            yield "cast dropped", inner | {"alias": node["alias"]}
    elif kind == "COLUMN_REF":
        *qualifier, name = node["column_names"]
        others = [other for other in pool.get(".".join(qualifier), []) if other != name]
        for other in rng.sample(others, min(1, len(others))):
            yield "column", node | {"column_names": [*qualifier, other]}
    elif kind == "SELECT_NODE":
        yield from _select(node)
    elif kind == "JOIN":
        yield from _join(node)
    elif kind == "SET_OPERATION_NODE":
        for place in range(len(children)):
            kept = _without(children, place)
            one = kept[0] | {"cte_map": node["cte_map"]} if len(kept) == 1 and node["cte_map"]["map"] else kept[0]
            yield "union branch dropped", node | {"children": kept} if len(kept) > 1 else one
        if node["setop_all"]:
            yield "union without all", node | {"setop_all": False}
    elif "function_name" in node:
        yield from _call(node)


def _places(tree: Any, location: int) -> Iterator[tuple[Any, Any, Node, int]]:
    """Every node of a tree with where it hangs, and the place in the text that is known of it or of one above it."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        if isinstance(value, dict):
            here = value.get("query_location", NOWHERE)
            here = here if here < NOWHERE else location
            if "type" in value:
                yield tree, key, value, here
            yield from _places(value, here)
        elif isinstance(value, list):
            yield from _places(value, location)


def _selected(node: Node) -> set[int]:
    """All that the outermost SELECT, or each of a union, selects."""
    if node["type"] == "SET_OPERATION_NODE":
        return {item for child in node["children"] for item in _selected(child)}
    return {id(item) for _, _, item, _ in _places(node["select_list"], 0)}


class Sql:
    """DuckDB as parser and printer; `con` knows the relations, to see whether a SELECT binds, with `parameters`."""

    def __init__(self, con: Any, parameters: dict[str, Any] | None = None) -> None:
        self.con = con
        self.parameters = parameters or {}
        self.frame = self.tree("SELECT 1")

    def tree(self, sql: str) -> Node:
        """The tree of a SELECT."""
        found: Node = json.loads(self.con.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()[0])
        assert not found["error"], (sql, found)
        return found

    def text(self, tree: Node) -> str:
        """The SELECT of a tree."""
        return str(self.con.execute("SELECT json_deserialize_sql(?)", [json.dumps(tree)]).fetchone()[0])

    def shown(self, node: Node) -> str:
        """A part of a tree as SQL, for people."""
        if node.get("class"):
            self.frame["statements"][0]["node"]["select_list"] = [node | {"alias": ""}]
            return self.text(self.frame).removeprefix("SELECT ")
        if node["type"] == "JOIN":
            on = node.get("condition")
            using = ", ".join(node.get("using_columns") or [])
            right = node["right"].get("alias") or node["right"].get("table_name", "")
            kind = "CROSS" if node["ref_type"] == "CROSS" else node["join_type"]
            return f"{kind} JOIN {right} " + (f"ON {self.shown(on)}" if on else f"USING ({using})" if using else "")
        if "node" in node:
            return self.shown(node["node"])
        whole = {"error": False, "statements": [{"node": node, "named_param_map": []}]}
        return self.text(whole)

    def mutants(
        self, sql: str, rng: random.Random, rows_are_counted: bool = False
    ) -> Iterator[tuple[str, str, str, int, Callable[[], str]]]:
        """Every change of a SELECT: its kind, before, after, where in the text, and what writes the new SELECT.

        With `rows_are_counted` what it selects stays as it is: only how many rows there are is ever asked.
        """
        tree = self.tree(sql)
        passed_over = _selected(tree["statements"][0]["node"]) if rows_are_counted else set()
        pool: dict[str, set[str]] = defaultdict(set)
        for _, _, node, _ in _places(tree, 0):
            if node["type"] == "COLUMN_REF":
                *qualifier, name = node["column_names"]
                pool[".".join(qualifier)].add(name)
        names = {qualifier: sorted(found) for qualifier, found in pool.items()}
        for holder, key, node, location in _places(tree, 0):
            if id(node) in passed_over:
                continue
            before = ""
            for kind, new in _changes(node, names, rng):
                if new is None:
                    continue
                if isinstance(new, dict) and new.get("class") and node.get("alias") and not new.get("alias"):
                    new = new | {"alias": node["alias"]}

                def finish(holder: Any = holder, key: Any = key, node: Node = node, new: Any = new) -> str:
                    holder[key] = new
                    try:
                        return self.text(tree)
                    finally:
                        holder[key] = node

                before = before or self.shown(node)
                yield kind, *_contrast(before, self.shown(new)), location, finish

    def binds(self, statement: str) -> bool:
        """Whether DuckDB finds all relations, columns and functions, and their types fit."""
        import duckdb

        used = set(re.findall(r"\$(\w+)", statement))
        try:
            self.con.execute(f"EXPLAIN {statement}", {name: self.parameters[name] for name in used} or None)
        except duckdb.Error:
            return False
        return True


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _contrast(before: str, after: str, most: int = 110) -> tuple[str, str]:
    """Two texts from shortly before the first difference on, to shortly behind the last."""
    if len(before) <= most and len(after) <= most:
        return before, after
    start = _alike(before, after)
    end = _alike(before[start:][::-1], after[start:][::-1])
    start = max(0, before.rfind(" ", 0, max(0, start - 25)) + 1)

    def part(text: str) -> str:
        upto = min(len(text), max(len(text) - end + 25, start))
        found = ("… " if start else "") + text[start:upto] + (" …" if upto < len(text) else "")
        return found if len(found) <= 3 * most else f"{found[: 2 * most]} …… {found[-most:]}"

    return part(before), part(after)


TEMPLATES = (
    # as it stands in a file, as DuckDB parses it, as DuckDB prints that
    ("{batch}", "_batch_", "_batch_"),
    ("$reference_rules", "WHEN $reference_rules THEN NULL", "WHEN ($reference_rules) THEN (NULL)"),
    ("$which_correction", "WHEN $which_correction THEN NULL", "WHEN ($which_correction) THEN (NULL)"),
    ("$overrides", "$overrides AS file_id", "$overrides AS file_id"),
)
"""What is filled in when a SELECT is used and is none of SQL. Parameters ($year, and $dropped too) DuckDB parses."""


def _parseable(text: str) -> str:
    for template, stand_in, _ in TEMPLATES:
        text = text.replace(template, stand_in)
    return text


def _template(printed: str) -> str:
    for template, _, stand_in in TEMPLATES:
        printed = printed.replace(stand_in, template)
    return printed


def _filled_in(text: str, on: str) -> str:
    """A SELECT as it is asked, but for the parameters that are bound."""
    from pendel import building

    return building.filled_in(text.replace("{batch}", on))


def _head(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("-- "))


def sql_mutants(sql: Sql, file: str, rng: random.Random) -> Iterator[Mutant]:
    """All mutants of a file of `sql/`: of its SELECT, and of a check its severity."""
    text = (PROJECT / file).read_text(encoding="utf-8")
    parseable = _parseable(text)
    on = re.search(r"^-- on: (\S+)$", text, re.MULTILINE)
    for kind, before, after, location, finish in sql.mutants(parseable, rng, on is not None):
        line = parseable.encode()[:location].count(b"\n") + 1

        def write(finish: Callable[[], str] = finish) -> tuple[str, str]:
            new = _template(finish())
            return f"{_head(text)}\n{new}\n", _filled_in(new, on[1] if on else "")

        yield Mutant(file, line, kind, before, after, 0, "", "", write)
    for severity, other in (("critical", "warning"), ("warning", "critical")):
        if f"-- severity: {severity}" in text:
            new = text.replace(f"-- severity: {severity}", f"-- severity: {other}")
            yield Mutant(file, 2, "severity", severity, other, 0, new)


# ---------------------------------------------------------------------------------------------- changes of contracts


def _looser_and_tighter(pattern: str) -> Iterator[str]:
    """A regular expression with one of its bounds moved, or a class of characters dropped."""
    for found in re.finditer(r"\{(\d+)(?:,(\d+))?\}", pattern):
        low, high = int(found[1]), int(found[2] or found[1])
        for a, b in ((low, high + 1), (low + 1, max(high, low + 1)), (low - 1, high), (low, high - 1)):
            if 0 <= a <= b:
                yield f"{pattern[: found.start()]}{{{a},{b}}}{pattern[found.end() :]}"
    for found in re.finditer(r"(?<=\[)[^]]+(?=\])", pattern):
        for part in re.findall(r"\w-\w|\\.|.", found[0]):
            rest = found[0].replace(part, "", 1)
            if rest:
                yield f"{pattern[: found.start()]}{rest}{pattern[found.end() :]}"


def _data_changes(path: tuple[Any, ...], value: Any) -> Iterator[tuple[str, Any]]:
    """What a value of a contract can be replaced by; None: it is dropped."""
    key = path[-1]
    flips = {
        "needed": {"always": "no", "shipped": "no", "no": "always"},
        "header": {"needed": "free", "free": "needed"},
        "perspective": {"branch": "network", "network": "branch"},
        "close_reason_unknown": {"quarantine": "empty", "empty": "quarantine"},
        "time_zone": {"Europe/Amsterdam": "UTC"},
        "encoding": {"cp1252": "utf-8", "utf-8": "cp1252"},
        "delimiter": {";": ",", ",": ";", "\t": ","},
        "action": {"quarantine": "warn", "warn": "quarantine"},
        "kind": {"text": "code", "code": "text"},
    }
    if isinstance(value, (str, int)) and value in flips.get(key, {}):
        yield "contract: word", flips[key][value]
    if key in ("shape", "datetime_shape", "reservation_id_pattern"):
        for new in _looser_and_tighter(value):
            yield "contract: pattern", new
    if key == "datetime_format":
        swapped = value.replace("%d", "#").replace("%m", "%d").replace("#", "%m")
        yield "contract: date format", swapped
        yield "contract: date format", value.replace(":%M", "", 1)
    if key == "file_name":
        yield "contract: file name", value.replace(".", "_.", 1)
    if key in ("equals", "starts_with", "broken_when_line_starts_with"):
        yield "contract: word", value + "~"
    if key == "least":
        yield from (("contract: range", value + 1), ("contract: range", None))
    if key == "most":
        yield from (("contract: range", value - 1), ("contract: range", None))
    if len(path) > 1 and path[-2] in ("status_codes", "one_of", "close_reasons", "status_from_dates", "changed_at_from",
                                      "helper_columns", "personal_columns", "no_value_where"):  # fmt: skip
        yield "contract: item dropped", None
    if len(path) > 1 and path[-2] == "key":
        yield "contract: key", None


def _data_places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any, Any]]:
    items = list(data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ())
    for key, value in items:
        yield (*path, key), data, key, value
        yield from _data_places(value, (*path, key))


def contract_mutants(file: str) -> Iterator[Mutant]:
    """All mutants of a YAML file of `expectations/`."""
    text = (PROJECT / file).read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    lines = text.splitlines()
    for path, holder, key, value in list(_data_places(data)):
        for kind, new in _data_changes(path, value):
            kept = copy.copy(holder)  # what it holds stays the same: it is changed later in the list
            if new is None:
                del holder[key]
            else:
                holder[key] = new
            changed = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
            if isinstance(holder, dict):
                holder.clear()
                holder.update(kept)
            else:
                holder[:] = kept
            names = [str(part) for part in path if not isinstance(part, int)]
            line = 0
            for name in names:  # the line on which the innermost name stands, below those around it
                line = next(
                    (i for i in range(line, len(lines)) if re.search(rf"\b{re.escape(name)}\b", lines[i])), line
                )
            where = ".".join(map(str, path))
            before, after = (f"{where}: {value}", f"{where}: {'(dropped)' if new is None else new}")
            yield Mutant(file, line + 1, kind, before, after, 0, changed)


def rule_mutants(sql: Sql, file: str, rng: random.Random) -> Iterator[Mutant]:
    """All mutants of the predicates of the row rules, and of what they lead to."""
    text = (PROJECT / file).read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    lines = text.splitlines()
    for rule in data["rules"]:
        line = lines.index(f"  - rule: {rule['rule']}") + 1
        where, action = rule["where"], rule["action"]
        if where:
            relation = "incoming" if rule["stage"] == "arrival" else "staging.row"
            prefix = f"SELECT 1 FROM {relation} WHERE "
            for kind, before, after, _, finish in sql.mutants(prefix + where, rng):
                new = finish()
                tree = sql.tree(new)["statements"][0]["node"]
                if "where_clause" not in tree or not tree["where_clause"] or not new.startswith("SELECT 1 "):
                    continue  # a change of the frame
                rule["where"] = sql.shown(tree["where_clause"])
                changed = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
                yield Mutant(file, line, f"rule: {kind}", f"{rule['rule']}: {before}", after, 0, changed, new)
            rule["where"] = where
            rule["action"] = "warn" if action == "quarantine" else "quarantine"
            changed = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
            yield Mutant(file, line, "rule: action", f"{rule['rule']}: {action}", rule["action"], 0, changed)
            rule["action"] = action


def all_mutants(wanted: str | None, kind: str, sample: int | None, seed: int) -> tuple[list[Mutant], int]:
    """The mutants of the files whose path contains `wanted`, or a sample of them, and how many were left out since they
    do not bind. Opens DuckDB: call it in a process of its own, since one with DuckDB's threads must not fork.
    """
    import duckdb

    from tests import pipeline
    from tests.test_models import PLAIN, File, Row, Warehouse, World, day
    from tests.test_rules import AS_OF, NOORD, deliver, dutch, network_in, text_of

    row = Row(1, "1", "01", "1", "O", "2023-01-02 09:00", "2022-12-30 16:00", "2023-01-02 09:00")
    con = Warehouse(World(PLAIN, day("2023-01-10"), [File("xa", day("2023-01-02"))], [row])).con
    incoming: list[tuple[str, str]] = []

    def count(intake: duckdb.DuckDBPyConnection, rules: Any) -> Any:
        incoming.extend((name, kind) for name, kind, *_ in intake.execute("DESCRIBE incoming").fetchall())
        return pipeline.count_rules(intake, rules)

    from pendel import bronze, reading
    from pendel.reference import read_reference

    with tempfile.TemporaryDirectory() as folder:
        places = network_in(Path(folder))
        places.warehouse.mkdir()
        deliver(places, NOORD, text_of([dutch()]))
        reference = read_reference(places.reference)
        batch = reading.read_files(places.raw, reading.find_files(places.raw), set(), reference)
        bronze.take_in(places, reference, bronze.Run.start(AS_OF), [batch], count)
    con.execute(f"CREATE TABLE incoming ({', '.join(f'{name} {kind}' for name, kind in incoming)})")
    kept = Path(tempfile.mkdtemp(prefix="pendel-mutants-")) / "figures.parquet"
    con.execute(f"COPY (FROM kpi.value LIMIT 0) TO '{kept}' (FORMAT parquet)")
    for side in ("before", "after"):
        con.execute(f"CREATE SCHEMA IF NOT EXISTS side; CREATE TABLE side.{side}_leg AS FROM marts.fct_leg LIMIT 0")
        con.execute(f"CREATE TABLE side.{side}_file AS FROM bronze.file LIMIT 0")
    con.execute("CREATE TABLE side.new_file AS FROM side.after_file")
    con.execute("PRAGMA disable_optimizer")  # binding is all that is asked
    sql = Sql(con, PARAMETERS | {"before": str(kept), "after": str(kept)})
    files = [*(PROJECT / "sql").rglob("*.sql"), *(PROJECT / "expectations").rglob("*.yaml")]
    found: list[Mutant] = []
    for path in sorted(files):
        file = path.relative_to(PROJECT).as_posix()
        rng = random.Random(file)
        if wanted and wanted not in file:
            continue
        if file.endswith(".sql"):
            found += sql_mutants(sql, file, rng)
        elif path.name == "rules.yaml":
            found += rule_mutants(sql, file, rng)
        elif path.name != "kpis.yaml":  # words
            found += contract_mutants(file)
    numbered: Counter[tuple[str, str, str]] = Counter()
    for place, mutant in enumerate(found):
        key = mutant.file, mutant.before, mutant.after
        numbered[key] += 1
        if numbered[key] > 1:
            found[place] = replace(mutant, occurrence=numbered[key] - 1)
    found = [mutant for mutant in found if kind in mutant.kind]
    random.Random(seed).shuffle(found)
    bound: list[Mutant] = []
    unbound = 0
    seen = {(same.file, same.text) for same in unchanged()}
    for mutant in found:
        if mutant.write:
            text, binds = mutant.write()
            mutant = replace(mutant, text=text, binds=binds, write=None)
        if (mutant.file, mutant.text) in seen:
            continue
        seen.add((mutant.file, mutant.text))
        if mutant.binds and not sql.binds(mutant.binds):
            unbound += 1
        else:
            bound.append(mutant)
        if len(bound) == sample:
            break
    shutil.rmtree(kept.parent)
    return sorted(bound, key=lambda mutant: (mutant.file, mutant.line)), unbound


def unchanged() -> list[Mutant]:
    """Every file as the printer writes it, nothing changed: the tests must pass on all of them at once."""
    import duckdb

    sql = Sql(duckdb.connect())
    found = []
    for path in sorted((PROJECT / "sql").rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        body = _template(sql.text(sql.tree(_parseable(text))))
        file = path.relative_to(PROJECT).as_posix()
        found.append(Mutant(file, 0, "none", "", "", 0, f"{_head(text)}\n{body}\n"))
    return found


def _in_another_process(function: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


# ---------------------------------------------------------------------------------------------- judging


@dataclass
class Verdict:
    """Which test found a mutant (None: none did), and how long that took."""

    found_by: str | None
    seconds: float


def _starts(mutant: Mutant) -> tuple[str, ...]:
    return next(starts for file, starts in JUDGES.items() if mutant.file.startswith(file))


class Judge:
    """A pytest plugin: once the tests are collected it forks a process a mutant in the place of running them."""

    def __init__(self, mutants: Sequence[Mutant], same: Sequence[Mutant], asked: argparse.Namespace) -> None:
        self.mutants, self.same = mutants, same
        self.jobs, self.skip, self.kept, self.patience = asked.jobs, asked.skip, asked.kept, asked.patience
        self.verdicts: dict[int, Verdict] = {}
        self.folders: list[Path] = []
        self.broken: str | None = None
        self.killers: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Called by pytest in the place of its own loop."""
        session.config.option.tbstyle = "native"  # nobody reads it: what costs a second otherwise
        by_module: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in session.items:
            name = item.name.split("[")[0]
            if name not in DRIFT and not (self.skip and re.search(self.skip, name)):
                by_module[item.nodeid.split("::")[0]].append(item)
        for items in by_module.values():
            items.sort(key=lambda item: item.name.split("[")[0] in LAST)
        self.by_module = by_module
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import great_expectations  # noqa: F401 - once, here, and not in every child

        import holidays.countries  # noqa: F401

        from pendel import gates  # noqa: F401

        gc.collect()
        gc.freeze()  # what is there already is no garbage: the children need not look at it
        self._warm(session)
        print(f"{sum(map(len, by_module.values()))} tests judge {len(self.mutants)} mutants", flush=True)
        if self.same:
            everything = [item for items in by_module.values() for item in items]
            child = Child(self.same, everything, session)
            while not child.ended():
                time.sleep(0.05)
            self.broken = child.verdict.found_by
            if self.broken:
                return True
        self._all(session)
        return True

    def _warm(self, session: pytest.Session) -> None:
        """Make the fixtures of `WARM` that are needed, in a process of its own, and keep what they return."""
        needed = {start.split("::")[0] for mutant in self.mutants for start in _starts(mutant)}
        for module in sorted(needed & WARM.keys()):
            for name in WARM[module]:
                using = [item for item in self.by_module.get(module, []) if name in item.fixturenames]  # type: ignore[attr-defined]
                fixed = session._fixturemanager.getfixturedefs(name, using[0])
                assert fixed, (module, name)
                child = Child([], [using[0]], session, made=fixed[-1])
                while not child.ended():
                    time.sleep(0.05)
                with (child.folder / "made").open("rb") as file:
                    fixed[-1].cached_result = (pickle.load(file), None, None)
                self.folders.append(child.folder)

    def _items(self, mutant: Mutant) -> list[pytest.Item]:
        starts = _starts(mutant)
        every = [
            item
            for start in starts
            for item in self.by_module.get(start.split("::")[0], [])
            if item.nodeid.startswith(start)
        ]
        items = list(dict.fromkeys(every))
        # the cases of a check bear its name
        named = Path(mutant.file).stem
        items.sort(key=lambda item: (item.name.split("[")[0] in LAST, f"{named}:" not in item.name))
        # those first that found the last changes of this file
        likely = [name for name, _ in self.killers[mutant.file].most_common(3)]
        first = sorted((item for item in items if item.nodeid in likely), key=lambda item: likely.index(item.nodeid))
        return first + [item for item in items if item.nodeid not in likely]

    def _all(self, session: pytest.Session) -> None:
        known = _kept(self.kept)
        for number, mutant in enumerate(self.mutants):
            if known.get(_id(mutant)):
                self.verdicts[number] = Verdict(known[_id(mutant)], 0)
        waiting = [(number, mutant) for number, mutant in enumerate(self.mutants) if number not in self.verdicts]
        waiting.reverse()
        running: dict[int, Child] = {}
        start, told = time.monotonic(), 0.0
        while waiting or running:
            while waiting and len(running) < self.jobs:
                number, mutant = waiting.pop()
                running[number] = Child([mutant], self._items(mutant), session, patience=self.patience)
            for number, child in list(running.items()):
                if child.ended():
                    self.verdicts[number] = child.verdict
                    if self.kept:
                        with self.kept.open("a", encoding="utf-8") as file:
                            line = {
                                "id": _id(self.mutants[number]),
                                "mutant": str(self.mutants[number]),
                                "found_by": child.verdict.found_by,
                                "seconds": round(child.verdict.seconds, 1),
                            }
                            file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    if child.verdict.found_by:
                        self.killers[self.mutants[number].file][child.verdict.found_by] += 1
                    else:
                        print(f"survives ({child.verdict.seconds:.0f} s): {self.mutants[number]}", flush=True)
                    del running[number]
            if time.monotonic() - told > 30:
                told = time.monotonic()
                found = sum(bool(verdict.found_by) for verdict in self.verdicts.values())
                print(f"  {told - start:5.0f} s: {len(self.verdicts)} judged, {found} found", flush=True)
            time.sleep(0.01)


def _id(mutant: Mutant) -> str:
    return hashlib.sha256(f"{mutant.file}\n{mutant.text}".encode()).hexdigest()[:20]


def _kept(path: Path | None) -> dict[str, str | None]:
    """What was judged before: a mutant's id → the test that found it, if one did."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["id"]: line["found_by"] for line in lines}


class Child:
    """A forked process that runs tests on a changed copy of `sql/` and `expectations/` until one fails.

    With `made` it leaves what that fixture returned in a file of its folder, and the folder stays.
    """

    def __init__(
        self,
        mutants: Sequence[Mutant],
        items: Sequence[pytest.Item],
        session: pytest.Session,
        made: Any = None,
        patience: float | None = None,
    ) -> None:
        self.made = made
        self.folder = Path(tempfile.mkdtemp(prefix="pendel-mutant-"))
        self.start = time.monotonic()
        self.verdict = Verdict(None, 0)
        self.pipe, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.pipe)
                found = self._run(mutants, items, session, patience) or ""
            except BaseException as error:
                found = f"{type(error).__name__}: {error}"
            os.write(writing, found.encode()[:2000])
            os._exit(0)
        os.close(writing)

    def _run(
        self, mutants: Sequence[Mutant], items: Sequence[pytest.Item], session: pytest.Session, patience: float | None
    ) -> str | None:
        from _pytest.runner import runtestprotocol

        os.setpgid(0, 0)
        if len(mutants) == 1:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        for part in ("sql", "expectations"):
            shutil.copytree(PROJECT / part, self.folder / part)
        for mutant in mutants:
            (self.folder / mutant.file).write_text(mutant.text, encoding="utf-8")
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] in ("pendel", "tests", "flows"):
                for part, attribute in (("sql", "SQL"), ("expectations", "EXPECTATIONS")):
                    if getattr(module, attribute, None) == PROJECT / part:
                        setattr(module, attribute, self.folder / part)
                for value in list(vars(module).values()):
                    if hasattr(value, "cache_clear"):
                        value.cache_clear()
        (self.folder / "tmp").mkdir()
        session.config._tmp_path_factory._basetemp = self.folder / "tmp"  # type: ignore[attr-defined]
        if self.made:
            found = items[0]
            found.session._setupstate.setup(found)
            found._request._fillfixtures()  # type: ignore[attr-defined]
            (self.folder / "made").write_bytes(pickle.dumps(self.made.cached_result[0]))
            return None
        started = time.process_time()
        for item, following in zip(items, [*items[1:], None], strict=True):
            if patience and time.process_time() - started > patience:
                return None
            for report in runtestprotocol(item, log=False, nextitem=following):
                if report.failed:
                    return item.nodeid
        return None

    def ended(self) -> bool:
        """Whether it has ended; `verdict` is filled in then."""
        seconds = time.monotonic() - self.start
        if seconds > 10 * SECONDS:  # it waits for something
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return False
        told = os.read(self.pipe, 4000).decode()
        if os.WIFSIGNALED(status):
            told = f"the time limit (signal {os.WTERMSIG(status)})"
        self.verdict = Verdict(told or None, seconds)
        os.close(self.pipe)
        if not self.made:
            shutil.rmtree(self.folder, ignore_errors=True)
        return True


# ---------------------------------------------------------------------------------------------- the report


def explained() -> dict[tuple[str, str, str, int], str]:
    """The survivors that are known, with the reason of each."""
    if not SURVIVORS.exists():
        return {}
    known = yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")) or []
    return {(k["file"], k["before"], k["after"], k.get("occurrence", 0)): k["why"] for k in known}


def report(mutants: Sequence[Mutant], verdicts: dict[int, Verdict], unbound: int) -> bool:
    """Print what was found, by kind of change, and who survived; whether that is good enough."""
    made: Counter[str] = Counter()
    found: Counter[str] = Counter()
    survivors = []
    for number, mutant in enumerate(mutants):
        made[mutant.kind] += 1
        if verdicts[number].found_by:
            found[mutant.kind] += 1
        else:
            survivors.append(mutant)
    print(f"\n{'kind of change':<32}{'mutants':>9}{'found':>9}")
    for kind, count in sorted(made.items()):
        print(f"{kind:<32}{count:>9}{found[kind]:>9}")
    print(f"\n{'folder':<32}{'mutants':>9}{'found':>9}{'survive':>9}{'listed':>9}{'score':>9}")
    total, good = made.total(), found.total()
    known = explained()
    folders: dict[str, list[int]] = {}
    for number, mutant in enumerate(mutants):
        line = folders.setdefault(mutant.file.rpartition("/")[0] + "/", [0, 0, 0])
        line[0] += 1
        line[1] += bool(verdicts[number].found_by)
        line[2] += not verdicts[number].found_by and mutant.key in known
    folders["all"] = [total, good, sum(mutant.key in known for mutant in survivors)]
    for folder, (count, seen, listed) in folders.items():
        print(f"{folder:<32}{count:>9}{seen:>9}{count - seen:>9}{listed:>9}{seen / max(count, 1):>9.1%}")
    print(f"{unbound} more did not bind: not counted")
    unknown = [mutant for mutant in survivors if mutant.key not in known]
    for mutant in survivors:
        print(f"survives: {mutant}\n          {known.get(mutant.key, 'NOT EXPLAINED: write the test, or say why not')}")
    killed = {mutant.key for number, mutant in enumerate(mutants) if verdicts[number].found_by}
    for key in known.keys() & killed:
        print(f"found after all: take it out of {SURVIVORS.name}: {key}")
    return good >= LEAST_SCORE * total and not unknown


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, help="judge so many, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="by which they are chosen")
    parser.add_argument("--file", help="only files whose path contains this")
    parser.add_argument("--kind", default="", help="only changes whose kind contains this")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--skip", help="leave out tests whose name matches this")
    parser.add_argument("--patience", type=float, help="no further test after so many seconds of processor time")
    parser.add_argument("--list", action="store_true", help="show the mutants, judge none")
    parser.add_argument("--survivors", action="store_true", help="only those listed as survivors")
    parser.add_argument("--kept", type=Path, help="a file that keeps the verdicts: what was found is not judged again")
    parser.add_argument("--again", action="store_true", help="only those that survived, as `--kept` tells")
    parser.add_argument("--out", type=Path, help="write the survivors to this file, as YAML to be explained")
    asked = parser.parse_args()
    os.chdir(PROJECT)
    os.environ["PYTHONPATH"] = str(PROJECT)
    sys.path.insert(0, str(PROJECT))
    mutants, unbound = _in_another_process(all_mutants, asked.file, asked.kind, asked.sample, asked.seed)
    if asked.again:
        kept = _kept(asked.kept)
        mutants = [mutant for mutant in mutants if kept.get(_id(mutant), "unknown") is None]
    if asked.survivors:
        mutants = [mutant for mutant in mutants if mutant.key in explained()]
    if asked.list:
        for mutant in mutants:
            print(mutant)
        print(f"{len(mutants)} mutants; {unbound} more do not bind")
        return 0
    same = [] if asked.sample or asked.file else _in_another_process(unchanged)
    judge = Judge(mutants, same, asked)
    every = [start.split("::")[0] for starts in JUDGES.values() for start in starts]
    modules = [module for module in dict.fromkeys(every) if (PROJECT / module).exists()]
    options = [
        "-o",
        "addopts=",
        "-p",
        "no:terminal",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:faulthandler",
        "-s",
        "--assert=plain",
    ]
    ended = pytest.main([*options, "--hypothesis-seed=0", *modules], plugins=[judge])
    for folder in judge.folders:
        shutil.rmtree(folder, ignore_errors=True)
    if judge.broken or len(judge.verdicts) < len(mutants):
        print(f"the tests fail on what is not changed: {judge.broken or ended}", file=sys.stderr)
        return 2
    if asked.out:
        listed = [
            {"file": m.file, "line": m.line, "kind": m.kind, "before": m.before, "after": m.after}
            | ({"occurrence": m.occurrence} if m.occurrence else {}) | {"why": explained().get(m.key, "")}
            for number, m in enumerate(mutants) if not judge.verdicts[number].found_by
        ]  # fmt: skip
        asked.out.write_text(yaml.safe_dump(listed, allow_unicode=True, sort_keys=False, width=120), encoding="utf-8")
    return 0 if report(mutants, judge.verdicts, unbound) else 1


if __name__ == "__main__":
    sys.exit(main())
