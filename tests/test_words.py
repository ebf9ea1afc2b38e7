"""Every text that people see is there in Dutch and in English, and numbers and dates as they write them."""

from __future__ import annotations

import ast
import datetime as dt
import functools
import gettext
import inspect
import io
import os
import re
import string
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from pendel import page, words
from pendel.cli import cli
from pendel.contracts import rejections, rules
from pendel.places import UserError

PROJECT = Path(__file__).resolve().parent.parent
PO = words.LOCALE / "nl" / "LC_MESSAGES" / "messages.po"
TREES = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((PROJECT / "pendel").glob("*.py"))}
GIVEN = {"error.template", "inspect.cleandoc(self.help or '')", "option.help", "option.metavar", "piece"}
"""What `_()` is given that is no text itself: where these come from is looked through below."""

Text = str | tuple[str, str]


@pytest.fixture(autouse=True)
def _language(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `set_language` changes is put back."""
    monkeypatch.setenv("LANGUAGE", os.environ.get("LANGUAGE", ""))
    monkeypatch.setattr(words, "_language", words.language())
    for name in ("PENDEL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Where a function is called by one of these names: `file:line` and the call."""
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                if name in names:
                    yield f"{file}:{node.lineno}", node


def error_classes() -> set[str]:
    """UserError and every class made of it."""
    found = {"UserError"}
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while more := {c.name for c in classes if any(ast.unparse(base) in found for base in c.bases)} - found:
        found |= more
    return found


def constants() -> dict[str, str]:
    """The texts that have a name of their own in a module."""
    return {
        node.targets[0].id: node.value.value
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def literal(where: str, node: ast.expr) -> str:
    assert isinstance(node, ast.Constant), f"{where}: {ast.unparse(node)} is no plain text: nobody can translate it"
    assert isinstance(node.value, str), where
    return node.value


def translated_texts() -> set[Text]:
    """What the code hands to `_()` and `counted()`."""
    named = constants()
    found: set[Text] = set()
    for where, call in calls("_"):
        argument = ast.unparse(call.args[0])
        if argument.split(".")[-1] in named:
            found.add(named[argument.split(".")[-1]])
        elif argument not in GIVEN:
            found.add(literal(where, call.args[0]))
    for where, call in calls("counted"):
        found.add((literal(where, call.args[0]), literal(where, call.args[1])))
    return found


def error_texts() -> set[Text]:
    """The templates of the errors that a user can mend."""
    return {literal(where, call.args[0]) for where, call in calls(*error_classes())}


def command_texts() -> set[Text]:
    """Descriptions, options and usage lines of all commands."""
    found: set[str | None] = set()
    for command in (cli, *cli.commands.values()):
        context = click.Context(command, parent=cli.make_context("pendel", [], resilient_parsing=True))
        found |= {inspect.cleandoc(command.help or ""), command.options_metavar}
        options = [item for item in command.get_params(context) if isinstance(item, click.Option)]
        assert all(item.help for item in options)
        found |= {item.help for item in options} | {item.metavar for item in command.params if item.metavar}
    found.add(cli.subcommand_metavar)
    return {text for text in found if text}


def template_texts() -> set[Text]:
    """What the templates of the morning page hand to `_()` and `counted()`, and what they translate in blocks."""
    machine = page.machine()
    found: set[Text] = set()
    for name in machine.list_templates(extensions=["html"]):
        source = (PROJECT / "pendel" / "templates" / name).read_text(encoding="utf-8")
        for line, function, text in machine.extract_translations(source, ("_", "gettext", "ngettext", "counted")):
            parts = [part for part in (text if isinstance(text, tuple) else (text,)) if part]
            assert parts, f"{name}:{line}: {function} is given no plain text: nobody can translate it"
            found.add((parts[0], parts[1]) if len(parts) > 1 else parts[0])
    return found


OURS = translated_texts() | error_texts() | command_texts() | template_texts()


@functools.cache
def catalog() -> Catalog:
    with PO.open("rb") as stream:
        return read_po(stream, locale="nl", domain="messages")


def placeholders(text: str) -> set[str]:
    """{name} of the code, %(name)s of the templates."""
    named = set(re.findall(r"%\((\w+)\)s", text))
    return named | {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_walk_sees_the_texts() -> None:
    assert {"key figure", "DIR", "Options", "starting Prefect", ("{n} row held", "{n} rows held")} <= OURS
    assert any(str(text).startswith("Another run is busy") for text in OURS)
    assert any("Ends with 3" in text for text in OURS)
    assert {"Busy", "NoFigures", "UserError"} <= error_classes()
    given = {ast.unparse(call.args[0]) for _, call in calls("_") if not isinstance(call.args[0], ast.Constant)}
    assert given - {name for name in given if name.split(".")[-1] in constants()} == GIVEN


@pytest.mark.parametrize("text", sorted(OURS, key=str), ids=lambda text: str(text)[:50])
def test_every_text_is_there_in_dutch(text: Text) -> None:
    message = catalog().get(text[0] if isinstance(text, tuple) else text)
    assert message is not None, f"not in {PO}: {text!r}"
    english = text if isinstance(text, tuple) else (text,)
    dutch = message.string if isinstance(message.string, tuple) else (message.string,)
    assert message.id == text
    assert not message.fuzzy
    assert len(english) == len(dutch)
    for one, other in zip(english, dutch, strict=True):
        assert other.strip()
        assert placeholders(one) == placeholders(other)
        assert one != other or not re.search("[A-Za-z]", re.sub(r"\{\w+\}", "", one)), "untranslated"
        assert one.endswith(".") == other.endswith(".")


def test_what_others_say_is_set_apart() -> None:
    """What a library or the system says is English: it stands at the end, and a Dutch sentence says whose it is."""
    told = [text for text in error_texts() if "{error}" in str(text)]
    assert len(told) >= 4
    for text in told:
        assert re.search(r"^[\w ]+ says: \{error\}$|\([\w ]+ says: \{error\}\)$", str(text)), text
        assert "meldt: {error}" in catalog().get(str(text)).string


def test_errors_are_given_what_they_tell() -> None:
    for where, call in calls(*error_classes()):
        assert placeholders(literal(where, call.args[0])) == {keyword.arg for keyword in call.keywords}, where


def click_texts() -> set[Text]:
    folder = Path(inspect.getfile(click)).parent
    return {found[1] for path in folder.glob("*.py") for found in extract_from_file("python", path)}


def test_nothing_in_the_catalog_is_dead() -> None:
    known = OURS | click_texts()
    assert [message.id for message in catalog() if message.id and message.id not in known] == []


def test_dutch_of_click_fills_in_nothing_that_is_not_there() -> None:
    for message in catalog():
        if message.id and message.id not in OURS:
            english = "".join(message.id)
            for dutch in message.string if isinstance(message.string, tuple) else (message.string,):
                assert dutch.strip()
                assert placeholders(dutch) <= placeholders(english)


def test_dutch_addresses_nobody() -> None:
    """Short imperative sentences, without 'u', 'uw', 'je' or 'jij'."""
    for message in catalog():
        if message.id:
            assert not re.search(r"\b(u|uw|je|jij|jouw)\b", str(message.string), re.IGNORECASE), message.string


def test_compiled_catalog_is_of_this_source() -> None:
    compiled = io.BytesIO()
    write_mo(compiled, catalog())
    compiled.seek(0)
    shipped = io.BytesIO(PO.with_suffix(".mo").read_bytes())
    wanted, found = gettext.GNUTranslations(compiled), gettext.GNUTranslations(shipped)
    stale = "compile it: make generated"
    for message in catalog():
        if isinstance(message.id, tuple):
            assert [wanted.ngettext(*message.id, n) for n in (0, 1, 2)] == [
                found.ngettext(*message.id, n) for n in (0, 1, 2)
            ], stale
        elif message.id:
            assert wanted.gettext(message.id) == found.gettext(message.id) == message.string, stale
    assert len(wanted._catalog) == len(found._catalog), stale  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "unit", "dutch", "english"),
    [
        (135792, "reservations", "135.792", "135,792"),
        (135792.0, "", "135.792", "135,792"),
        (-24680, "reservations", "-24.680", "-24,680"),
        (17.532, "pct", "17,5\u00a0%", "17.5\u00a0%"),
        (100, "pct", "100,0\u00a0%", "100.0\u00a0%"),
        (2, "transport_days", "2,0", "2.0"),
        (1.25, "", "1,25", "1.25"),
        (0, "reservations", "0", "0"),
        (None, "pct", "–", "–"),
    ],
)
def test_numbers(value: float | None, unit: str, dutch: str, english: str) -> None:
    words.set_language("nl")
    assert words.number(value, unit) == dutch
    words.set_language("en")
    assert words.number(value, unit) == english


def test_dates() -> None:
    words.set_language("nl")
    assert words.date(dt.date(2023, 12, 31)) == words.date("2023-12-31") == "31-12-2023"
    assert (words.date(None), words.month_name(1)) == ("–", "januari")
    words.set_language("en")
    assert words.date(dt.date(2023, 12, 31)) == words.date("2023-12-31") == "2023-12-31"
    assert words.month_name(1) == "January"


@pytest.mark.parametrize(
    ("count", "dutch", "english"),
    [
        (0, "0 vestigingen vragen", "0 branches need"),
        (1, "1 vestiging vraagt", "1 branch needs"),
        (2, "2 vestigingen vragen", "2 branches need"),
        (1234, "1.234 vestigingen vragen", "1,234 branches need"),
    ],
)
def test_plurals(count: int, dutch: str, english: str) -> None:
    forms = ("Published; {n} branch needs attention.", "Published; {n} branches need attention.")
    words.set_language("nl")
    assert words.counted(*forms, count) == f"Gepubliceerd; {dutch} aandacht."
    words.set_language("en")
    assert words.counted(*forms, count) == f"Published; {english} attention."


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "nl"),
        ({"LANG": "C.UTF-8"}, "nl"),
        ({"LANG": "nl_NL.UTF-8"}, "nl"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "nl_NL.UTF-8"}, "nl"),
        ({"LANG": "nl_NL.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "nl_NL.UTF-8", "PENDEL_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "PENDEL_LANG": "nl"}, "nl"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no variables for the language")
def test_language_is_the_machines(variables: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert words.set_language(None) == words.language() == language
    assert words._("branch") == {"nl": "vestiging", "en": "branch"}[language]
    assert words.set_language("en") == "en"
    assert words._("branch") == "branch"


def test_what_is_written_for_everybody_is_dutch_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_on_the_line", None)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    assert (words.ask_language(None), words.asked_language()) == ("en", "nl")
    monkeypatch.setenv("PENDEL_LANG", "en")
    assert (words.ask_language(None), words.asked_language()) == ("en", "en")
    assert (words.ask_language("nl"), words.asked_language()) == ("nl", "nl")
    monkeypatch.setenv("PENDEL_LANG", "nl")
    assert (words.ask_language("en"), words.asked_language()) == ("en", "en")
    words.set_language("nl")
    assert words.asked_language() == "en", "what is said in another language in between changes nothing"


@pytest.mark.parametrize("wrong", ["de", "nld", "english", "x"])
def test_a_language_that_is_not_there_is_told(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENDEL_LANG", wrong)
    with pytest.raises(UserError, match=f"PENDEL_LANG is {wrong}, and pendel speaks nl, en"):
        words.set_language(None)
    assert words.set_language("en") == "en", "--lang goes before it"
    for known in ("nl", "NL", "nl_NL.UTF-8", "en-GB", "", " "):
        monkeypatch.setenv("PENDEL_LANG", known)
        assert words.set_language(None) == ("en" if known.startswith("en") else "nl")


def test_rules_and_rejections_speak_both_languages() -> None:
    texts = [(rule.rule, rule.nl, rule.en) for rule in rules()]
    texts += [(reason, found["nl"], found["en"]) for reason, found in rejections().items()]
    assert len(texts) == len({name for name, _, _ in texts}) > 20
    for name, dutch, english in texts:
        assert dutch.strip() == dutch != english == english.strip(), name
        assert dutch[-1] in ".?", name
        assert english[-1] in ".?", name
        assert placeholders(dutch) == placeholders(english), name
    for found in rejections().values():
        assert set(found) == {"nl", "en"}
