"""What is generated from the contracts and committed: `make generated` writes it, a test fails when it is out of date.

The Great Expectations suites, the data dictionary, and the compiled Dutch texts.
"""

from __future__ import annotations

import io
import json

from pendel.contracts import kpis, tables
from pendel.gates import suites
from pendel.places import EXPECTATIONS, PROJECT
from pendel.words import LOCALE


def files() -> dict[str, bytes]:
    """Path under the project → content of every generated file."""
    found = {
        str((EXPECTATIONS / "suites" / f"{name}.json").relative_to(PROJECT)): (
            json.dumps(suite, indent=2, ensure_ascii=False) + "\n"
        ).encode()
        for name, suite in suites().items()
    }
    found["docs/data-dictionary.md"] = dictionary().encode()
    folder = LOCALE / "nl" / "LC_MESSAGES"
    found[str((folder / "messages.mo").relative_to(PROJECT))] = _compiled((folder / "messages.po").read_bytes())
    return found


def dictionary() -> str:
    """The data dictionary: every published relation and column, and every key figure."""
    lines = ["# Data dictionary", "", "Generated from `expectations/`; local times are Europe/Amsterdam's clock.", ""]
    for relation, spec in tables().items():
        lines += [f"## {relation}", "", f"{spec['en']} ({spec['nl']}). Key: {', '.join(spec['key'])}.", ""]
        lines += ["| column | | may be empty | unit |", "|---|---|---|---|"]
        for name, column in spec["columns"].items():
            empty = "yes" if column["empty"] else ""
            lines.append(f"| `{name}` | {column['en']} ({column['nl']}) | {empty} | {column.get('unit', '')} |")
        lines.append("")
    lines += ["## Key figures", "", "| id | | definition | unit |", "|---|---|---|---|"]
    for kpi, spec in kpis().items():
        label = f"{spec['en']['label']} ({spec['nl']['label']})"
        lines.append(f"| `{kpi}` | {label} | {spec['en']['definition']} | {spec['unit']} |")
    return "\n".join(lines) + "\n"


def _compiled(catalog: bytes) -> bytes:
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    out = io.BytesIO()
    write_mo(out, read_po(io.BytesIO(catalog), locale="nl"))
    return out.getvalue()


def main() -> None:
    """Write them all, and remove suites that no longer exist."""
    wanted = files()
    for path in (EXPECTATIONS / "suites").glob("*.json"):
        if str(path.relative_to(PROJECT)) not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (PROJECT / name).parent.mkdir(parents=True, exist_ok=True)
        (PROJECT / name).write_bytes(content)


if __name__ == "__main__":
    main()
