"""The language of what people see: Dutch or English texts, Dutch numbers and dates.

Texts stand in the code in English and are translated by gettext (`pendel/locale/`), Click's own included.
"""

from __future__ import annotations

import datetime as dt
import gettext
import locale
import os
import re
from pathlib import Path

from pendel.places import UserError

LOCALE = Path(__file__).parent / "locale"
LANGUAGES = ["nl", "en"]

_language = "nl"
_on_the_line: str | None = None


def set_language(language: str | None) -> str:
    """Choose the language of this process: the given one, PENDEL_LANG, or the machine's; Dutch where none is known.

    Raises UserError, in the machine's language, when PENDEL_LANG asks for one that is not there.
    """
    global _language
    asked = language or os.environ.get("PENDEL_LANG", "").strip()
    wanted = asked or _machine_language()
    is_known = not asked or re.fullmatch(rf"({'|'.join(LANGUAGES)})([^a-z].*)?", asked.lower())
    if not is_known:
        wanted = _machine_language()
    _language = "en" if wanted.lower().startswith("en") else "nl"
    # Click asks gettext for its texts in the default domain: the catalog is bound there.
    os.environ["LANGUAGE"] = _language
    gettext.bindtextdomain("messages", str(LOCALE))
    gettext.textdomain("messages")
    if not is_known:
        raise UserError(
            "PENDEL_LANG is {language}, and pendel speaks {languages}. Set it to one of these, or remove it.",
            language=asked,
            languages=", ".join(LANGUAGES),
        )
    return _language


def ask_language(on_the_line: str | None) -> str:
    """Choose the language of this process as `set_language` does, and keep what the command line asked for."""
    global _on_the_line
    _on_the_line = on_the_line
    return set_language(on_the_line)


def asked_language() -> str:
    """The language that --lang or PENDEL_LANG asks for, and Dutch without: of what is written for everybody, whatever
    the language of the machine, or of whoever sits there.
    """
    asked = _on_the_line or os.environ.get("PENDEL_LANG", "")
    return "en" if asked.strip().lower().startswith("en") else "nl"


def _machine_language() -> str:
    # Not locale.getlocale() everywhere: where LANG is C, or a locale that is not installed, it answers en_US.
    named = [os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)]
    if named:
        return named[0]
    return locale.getlocale()[0] or "" if os.name == "nt" else ""


def language() -> str:
    """The language chosen: nl or en."""
    return _language


def _(text: str) -> str:
    return gettext.gettext(text)


def counted(one: str, many: str, count: int, **values: object) -> str:
    """'1 branch needs', '2 branches need': the form for a count, with the count filled in for {n}, and other values."""
    return gettext.ngettext(one, many, count).format(n=number(count), **values)


def number(value: float | None, unit: str = "") -> str:
    """A number as a reader expects it: 137.724 · 17,5 % · 1,25; a dash for nothing."""
    from babel.numbers import format_decimal

    if value is None:
        return "–"
    if unit == "pct":
        return format_decimal(value, format="#,##0.0", locale=_language) + "\u00a0%"
    if unit in ("days", "transport_days"):
        return format_decimal(value, format="#,##0.0", locale=_language)
    return format_decimal(value, format="#,##0.##", locale=_language)


def date(day: dt.date | str | None) -> str:
    """A date as a reader expects it: 31-12-2023."""
    if day is None:
        return "–"
    if isinstance(day, str):
        day = dt.date.fromisoformat(day)
    return f"{day:%d-%m-%Y}" if _language == "nl" else f"{day:%Y-%m-%d}"


def long_day(day: dt.date) -> str:
    """maandag 20 november, or Monday 20 November."""
    return day_as(day, "EEEE d MMMM")


def day_as(day: dt.date, pattern: str) -> str:
    """A day by a pattern of babel, such as EEEE: maandag, or Monday."""
    from babel.dates import format_date

    return str(format_date(day, pattern, locale=_language))


def listed(items: list[str]) -> str:
    """a, b en c; or a, b, and c."""
    from babel.lists import format_list

    return str(format_list(items, locale=_language))


def month_name(month: int) -> str:
    """januari, or January."""
    from babel.dates import get_month_names

    return str(get_month_names("wide", context="stand-alone", locale=_language)[month])
