"""Telling people: what is wrong after a night, in words, to whom it may concern, and once.

What there is to tell follows from the result of a run (`troubles_of`) or from there being none (`absence`); who is to
hear it stands in `notifications.yaml` of the reference folder. Messages go out through the library apprise: mail, Teams
and what else it knows. What was told, and what could not be, is kept in `messages.jsonl`.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pendel import figures, nights, present
from pendel.figures import RunResult
from pendel.places import NOTIFICATIONS, Places, UserError, discreet
from pendel.reference import read_yaml
from pendel.words import LANGUAGES, _, counted, date, language, number, set_language

KINDS = (
    "missing",
    "rejected",
    "rows_held",
    "unconfirmed",
    "warning",
    "unreadable",
    "held_back",
    "crashed",
    "nothing_ran",
)
"""What can be told: an export is missing, a file was rejected, rows are held, receipts are unconfirmed, a check warns,
a folder could not be read, the publication was held back, a run broke off, nothing ran.
"""

PASSWORD = "PENDEL_SMTP_PASSWORD"
"""The environment variable that holds the password of the mail server."""

HOURS = 26
"""After so many hours without a run something is wrong: a day, and some room for a run that starts late."""

MORNING = dt.timedelta(hours=4)
"""A new morning, in which people may be told again, begins so long after midnight: before the night's run."""

MOST_FILES = 3
"""The most rejected files of a branch that are named in a message."""

SECONDS = 15
"""How long a server may take to answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trouble:
    """Something that somebody has to know: its kind, the branch by name ('' for the run itself), what is wrong and what
    to do in words, and a key that is the same as long as it is the same trouble.
    """

    kind: str
    branch: str
    key: str
    wrong: str
    to_do: str


@dataclass(frozen=True)
class Message:
    """A message as it is sent."""

    subject: str
    text: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Recipient:
    """Somebody who is told: by mail, or at the address that an environment variable holds (it is a secret)."""

    name: str
    mail: str = ""
    address_from: str = ""
    about: tuple[str, ...] = KINDS
    also_when_fine: bool = False


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in. The password comes from the environment."""

    server: str
    sender: str
    port: int | None = None
    security: str = "starttls"
    user: str = ""


@dataclass(frozen=True)
class Settings:
    """What `notifications.yaml` holds."""

    language: str = "nl"
    time_zone: str = "Europe/Amsterdam"
    mail: MailServer | None = None
    recipients: tuple[Recipient, ...] = field(default=())


# ---------------------------------------------------------------------------------------------- who is told what


def read_settings(folder: Path) -> Settings:
    """Who is told what. Without the file: nobody is.

    Raises UserError, naming the file and the remedy, when something in it cannot be used.
    """
    path = folder / NOTIFICATIONS
    given = _known(path, read_yaml(path), {"language", "time_zone", "mail", "recipients"})
    if given.get("language", "nl") not in LANGUAGES:
        raise UserError("{file}: language is nl or en.", file=path)
    mail = None
    if given.get("mail"):
        fields = _known(path, given["mail"], {"server", "port", "security", "from", "user"})
        if not fields.get("server") or not fields.get("from"):
            raise UserError("{file}: mail needs a server, and from: the address of the sender.", file=path)
        if fields.get("security", "starttls") not in MODES:
            raise UserError("{file}: security is one of {known}.", file=path, known=", ".join(MODES))
        port = fields.get("port")
        if port is not None and not isinstance(port, int):
            raise UserError("{file}: port is a number.", file=path)
        mail = MailServer(
            str(fields["server"]), str(fields["from"]), port, fields.get("security", "starttls"),
            str(fields.get("user") or ""),
        )  # fmt: skip
    recipients = tuple(_recipient(path, item, mail) for item in given.get("recipients") or [])
    zone = zone_of(folder)
    return Settings(given.get("language", "nl"), given.get("time_zone", zone), mail, recipients)


def zone_of(folder: Path) -> str:
    """The time zone of the network, by its parameters; where they cannot be read or name none, the usual one."""
    try:
        return ZoneInfo(str(read_yaml(folder / "parameters.yaml").get("time_zone", Settings.time_zone))).key
    except (UserError, OSError, AttributeError, ValueError, LookupError):  # no zone is a LookupError
        return Settings.time_zone


def _known(path: Path, given: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UserError("{file}: expected names with values, as in the example in that file.", file=path)
    if secret := sorted({"password", "url", "token"} & set(given)):
        raise UserError(
            "{file}: {names} is a secret, and does not belong in this file. Put it in an environment variable: see the "
            "example in that file.",
            file=path,
            names=", ".join(secret),
        )
    unknown = sorted(str(name) for name in set(given) - known)
    if unknown:
        raise UserError(
            "{file}: unknown: {names}. Known are: {known}.",
            file=path,
            names=", ".join(unknown),
            known=", ".join(sorted(known)),
        )
    return given


def _recipient(path: Path, given: Any, mail: MailServer | None) -> Recipient:
    given = _known(path, given, {"name", "mail", "address_from", "about", "also_when_fine"})
    if not given.get("name") or bool(given.get("mail")) == bool(given.get("address_from")):
        raise UserError("{file}: a recipient has a name, and either mail or address_from.", file=path)
    if given.get("mail") and mail is None:
        raise UserError("{file}: {name} is to be mailed, but mail: names no server.", file=path, name=given["name"])
    about = tuple(given.get("about") or KINDS)
    if unknown := sorted(str(kind) for kind in set(about) - set(KINDS)):
        raise UserError(
            "{file}: {name} wants to hear about {names}, which does not exist. Known are: {known}.",
            file=path,
            name=given["name"],
            names=", ".join(unknown),
            known=", ".join(KINDS),
        )
    return Recipient(
        str(given["name"]), str(given.get("mail") or ""), str(given.get("address_from") or ""), about,
        bool(given.get("also_when_fine")),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- what there is to tell


def troubles_of(
    run: RunResult, refused: Mapping[str, Sequence[str]] | None = None, why: str = ""
) -> list[Trouble]:  # fmt: skip
    """What is wrong after a run, in the language chosen: nothing exactly if `figures.needs_attention` says so.

    `refused` gives for each branch what became of its rejected files, in words; `why` says why a run broke off.
    """
    if run.error or run.finished_at is None:
        wrong = _("The run of {date} broke off; the warehouse of before stays published.").format(date=date(run.as_of))
        to_do = why or (
            _("It ended with: {error}.").format(error=run.error)
            if run.error
            else _("It was killed, or the machine went off.")
        )
        again = _("Run `pendel nightly` again. If it breaks off again, ask whoever manages this machine.")
        return [Trouble("crashed", "", f"crashed {run.run_id}", wrong, f"{to_do} {again}")]
    found: list[Trouble] = []
    if not run.published:
        checks = "; ".join(present.check_name(check) for check in run.held_back_by)
        found.append(
            Trouble(
                "held_back", "", f"held_back {' '.join(run.held_back_by)}",
                _("The publication was held back; the figures of before stay. What the checks found: {checks}.").format(
                    checks=checks.rstrip(".")
                ),
                _("Did the register or a system of a branch change? Ask whoever manages pendel; `pendel status` shows "
                  "more."),
            )
        )  # fmt: skip
    elif not figures.arrived(run.summary):
        found.append(
            Trouble(
                "missing", "", "missing all", _("No export that can be used has arrived yet."),
                _("Look whether the exports are in the raw folder."),
            )
        )  # fmt: skip
    for branch in run.failed_branches:
        found.append(
            Trouble(
                "unreadable", "", f"unreadable {branch}",
                _("The exports of {branch} could not be read.").format(branch=branch),
                _("Is the folder still there, and may it be read? The next run tries it again."),
            )
        )  # fmt: skip
    for branch in run.summary.get("branches", []):
        found += _of_branch(branch, (refused or {}).get(branch["branch"], ()))
    found += [
        Trouble(
            "warning", "", f"warning {check}", _("A check warns: {check}").format(check=present.check_name(check)),
            _("`pendel status` shows more."),
        )
        for check in run.warnings
    ]  # fmt: skip
    return found


def _of_branch(branch: dict[str, Any], refused: Sequence[str]) -> Iterator[Trouble]:
    name, code = branch["name"], branch["branch"]
    folder = f"data/raw/{code}"
    if count := max(branch["files_rejected"], branch["rejected"]):
        told = " ".join(refused[:MOST_FILES])
        yield Trouble(
            "rejected", name, f"rejected {code} {count}",
            counted("{n} file was rejected.", "{n} files were rejected.", count) + (f" {told}" if told else ""),
            _("Ask the branch for a new export and put it in {folder}; `pendel quarantine` tells the reason of each.")
            .format(folder=folder),
        )  # fmt: skip
    if branch["missing"]:
        days = ", ".join(date(day) for day in branch["missing_dates"])
        more = ", …" if branch["missing"] > len(branch["missing_dates"]) else ""
        text = counted("{n} export is missing", "{n} exports are missing", branch["missing"])
        yield Trouble(
            "missing", name, f"missing {code} {branch['missing']} {' '.join(map(str, branch['missing_dates']))}",
            f"{text} ({days}{more}).",
            _("Ask the branch to deliver what is missing, and put it in {folder}; the next run takes it in.").format(
                folder=folder
            ),
        )  # fmt: skip
    if branch["rows_held"]:
        yield Trouble(
            "rows_held", name, f"rows_held {code} {branch['rows_held']}",
            counted("{n} row is held and not counted.", "{n} rows are held and not counted.", branch["rows_held"]),
            _("See `pendel quarantine` for the reasons; have it mended in the library system and delivered anew."),
        )  # fmt: skip
    if branch["unconfirmed"]:
        yield Trouble(
            "unconfirmed", name, f"unconfirmed {code} {branch['unconfirmed']}",
            counted(
                "{n} receipt is told by the supplying branch alone, and not counted.",
                "{n} receipts are told by the supplying branch alone, and not counted.", branch["unconfirmed"],
            ),
            _("This branch's own export is missing or late: ask for it."),
        )  # fmt: skip


def absence(places: Places, now: dt.datetime, hours: float = HOURS, zone: str = Settings.time_zone) -> list[Trouble]:
    """What is wrong when nothing ran: no run that got to an end began in the last so many hours, or the newest was
    killed.
    """
    newest = figures.last_run(places)
    if newest and now - nights.started(newest) < dt.timedelta(hours=hours):
        return troubles_of(newest) if nights.was_killed(newest, places) else []
    last = next((run for run in figures.runs(places) if run.finished_at is not None), None)
    if last is None:
        wrong, key = _("There was no run yet."), "nothing_ran"
    else:
        local = nights.started(last).astimezone(ZoneInfo(zone))
        when = f"{date(local.date())} {local:%H:%M}"
        ago = number(int((now - nights.started(last)).total_seconds() // 3600))
        wrong = _("Nothing has run since {when}, {n} hours ago. The figures are that old.").format(when=when, n=ago)
        key = f"nothing_ran {last.run_id}"
    to_do = _(
        "Was the machine off? Run `pendel nightly`, and look whether the nightly run is still planned: `pendel "
        "install-service` shows how."
    )
    return [Trouble("nothing_ran", "", key, wrong, to_do)]


def not_begun(error: Exception) -> Trouble:
    """What is wrong when a run could not even begin, in the language chosen; of an error that a user cannot mend only
    its kind and place.
    """
    told = _(error.template).format(**error.values) if isinstance(error, UserError) else str(discreet(error))
    key = error.template if isinstance(error, UserError) else told
    wrong = _("The run could not begin: {error}").format(error=told)
    return Trouble("crashed", "", f"crashed {key}", wrong, _("Mend this, and run `pendel nightly`."))


def refused_files(places: Places) -> dict[str, list[str]]:
    """For each branch its rejected files, newest first, with the reason and what to do, in the language chosen."""
    found: dict[str, list[str]] = {}
    try:
        held = figures.quarantine(places)
    except UserError:
        return {}
    for item in sorted(held, key=lambda item: str(item["export_date"] or ""), reverse=True):
        if item["row"] is None:
            text = f"{item['file']}: {present.message(item['rule'], item['detail'])}"
            found.setdefault(item["branch"] or "", []).append(text)
    return found


# ---------------------------------------------------------------------------------------------- how it is told


def message(troubles: Sequence[Trouble], headline: str, when: str, told_before: set[str] | None = None) -> Message:
    """What is wrong as one message, in the language chosen: the subject tells all in a line, the text what to do.

    `headline` and `when` open the text; troubles whose key is not in `told_before` are marked as new.
    """
    lines = [headline, when]
    new = f" ({_('new')})"
    by_branch: dict[str, list[Trouble]] = {}
    for trouble in troubles:
        by_branch.setdefault(trouble.branch, []).append(trouble)
    for branch, of_branch in by_branch.items():
        lines += ["", branch] if branch else [""]
        for trouble in of_branch:
            mark = new if told_before is not None and trouble.key not in told_before else ""
            lines += [f"- {trouble.wrong}{mark}", f"  {_('To do:')} {trouble.to_do}"]
    if any(trouble.branch for trouble in troubles):
        lines += ["", _("More: `pendel status` and `pendel quarantine`.")]
    keys = tuple(trouble.key for trouble in troubles)
    return Message(f"pendel: {_subject(troubles)}", "\n".join(lines) + "\n", keys or ("fine",))


def _subject(troubles: Sequence[Trouble]) -> str:
    kinds = {trouble.kind for trouble in troubles}
    if "nothing_ran" in kinds:
        return _("no run last night")
    if "crashed" in kinds:
        return _("the run broke off")
    parts = [_("the publication was held back")] if "held_back" in kinds else []
    branches = {trouble.branch for trouble in troubles if trouble.branch}
    unreadable = sum(trouble.kind == "unreadable" for trouble in troubles)
    if branches:
        parts.append(counted("{n} branch needs attention", "{n} branches need attention", len(branches)))
    if unreadable:
        parts.append(counted("{n} folder could not be read", "{n} folders could not be read", unreadable))
    if any(trouble.kind == "missing" and not trouble.branch for trouble in troubles):
        parts.append(_("no exports"))
    if not parts:
        parts.append(_("published, with warnings") if troubles else _("all branches delivered"))
    return ", ".join(parts)


# ---------------------------------------------------------------------------------------------- telling it


def tell_run(
    places: Places, run: RunResult, error: BaseException | None = None, now: dt.datetime | None = None
) -> None:
    """Tell what a run left to do, to everybody who wants to hear it, once a morning unless there is something new.

    Nothing is raised: a message that cannot be sent must not fail a run. It is logged, and `pendel status` shows it.
    """
    with _never_failing(places):
        settings = read_settings(places.reference)
        with _speaking(settings.language):
            why = _(error.template).format(**error.values) if isinstance(error, UserError) else ""
            troubles = troubles_of(run, refused_files(places) if run.published else None, why)
            started = nights.started(run).astimezone(ZoneInfo(settings.time_zone))
            when = _("Run of {date} {time}.").format(date=date(started.date()), time=f"{started:%H:%M}")
            headline = present.verdict(run) if run.finished_at else _("The nightly run needs attention.")
            _tell(places, settings, troubles, headline, when, run.run_id, now)


def tell_error(places: Places, error: Exception, now: dt.datetime | None = None) -> None:
    """Tell of an error because of which a run could not even begin. Nothing is raised, as in `tell_run`."""
    with _never_failing(places):
        settings = read_settings(places.reference)
        now = now or dt.datetime.now(dt.UTC)
        with _speaking(settings.language):
            _tell(places, settings, [not_begun(error)], _("The run could not begin."), _moment(now, settings), "", now)


def watch(places: Places, now: dt.datetime | None = None, hours: float = HOURS) -> list[Trouble]:
    """Look whether a run is missing or was killed, tell of it, and send again what could not be sent before.

    Returns what is wrong. Raises UserError when `notifications.yaml` cannot be used.
    """
    settings = read_settings(places.reference)
    now = now or dt.datetime.now(dt.UTC)
    with _speaking(settings.language):
        troubles = absence(places, now, hours, settings.time_zone)
        if troubles:
            headline = _("The nightly run needs attention.")
            _tell(places, settings, troubles, headline, _moment(now, settings), "", now)
        _send_again(places, settings, now)
    return absence(places, now, hours, settings.time_zone)  # in the language of the screen


def try_out(places: Places, now: dt.datetime | None = None) -> list[dict[str, Any]]:
    """Send everybody a trial message; what became of each (`to`, `sent`, `error`).

    Raises UserError when `notifications.yaml` cannot be used, or names nobody.
    """
    settings = read_settings(places.reference)
    if not settings.recipients:
        raise UserError(
            "{file} names nobody who is to be told. Write down who, as in the example there.",
            file=places.reference / NOTIFICATIONS,
        )
    now = now or dt.datetime.now(dt.UTC)
    with _speaking(settings.language):
        text = _("This is a trial: messages of pendel arrive here. Nothing has to be done.")
        trial = Message(f"pendel: {_('trial message')}", text + "\n", ())
        return [_send_and_keep(places, settings, item, trial, "", now, "trial") for item in settings.recipients]


def _moment(now: dt.datetime, settings: Settings) -> str:
    local = now.astimezone(ZoneInfo(settings.time_zone))
    return f"{date(local.date())} {local:%H:%M}"


@contextmanager
def _speaking(lang: str) -> Iterator[None]:
    before = language()
    set_language(lang)
    try:
        yield
    finally:
        set_language(before)


@contextmanager
def _never_failing(places: Places) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        told = _(error.template).format(**error.values) if isinstance(error, UserError) else str(discreet(error))
        log.error("nobody could be told: %s", told)
        try:
            _keep(places, _line("", "", dt.datetime.now(dt.UTC), Message("", "", ()), "night") | {"error": told})
        except OSError:
            log.error("and that could not be kept: no place to write")


def _tell(
    places: Places, settings: Settings, troubles: Sequence[Trouble], headline: str, when: str, run_id: str,
    now: dt.datetime | None,
) -> None:  # fmt: skip
    now = now or dt.datetime.now(dt.UTC)
    lines = figures.messages(places)
    for recipient in settings.recipients:
        theirs = [trouble for trouble in troubles if trouble.kind in recipient.about]
        if not theirs and (troubles or not recipient.also_when_fine):
            continue
        told = [line for line in lines if line["to"] == recipient.name and line["occasion"] == "night"]
        before = set(told[-1]["keys"]) if told else None
        found = message(theirs, headline, when, before)
        today = [line for line in told if _morning(line["at"], settings) == _morning(now, settings)]
        if today and set(found.keys) <= {key for line in today for key in line["keys"]}:
            continue
        _send_and_keep(places, settings, recipient, found, run_id, now, "night")


def _morning(moment: dt.datetime | str, settings: Settings) -> dt.date:
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment)
    return (moment.astimezone(ZoneInfo(settings.time_zone)) - MORNING).date()


def _send_again(places: Places, settings: Settings, now: dt.datetime) -> None:
    """What could not be sent in the last day is tried again; the last message of each recipient is enough."""
    recipients = {recipient.name: recipient for recipient in settings.recipients}
    for line in figures.unsent_messages(places):
        recent = now - dt.datetime.fromisoformat(line["at"]) < dt.timedelta(days=1)
        if recent and line["to"] in recipients and line["occasion"] == "night":
            again = Message(line["subject"], line["text"], tuple(line["keys"]))
            _send_and_keep(places, settings, recipients[line["to"]], again, line["run_id"], now, "night", line["at"])


def _line(to: str, run_id: str, at: dt.datetime, found: Message, occasion: str) -> dict[str, Any]:
    return {
        "at": f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}", "occasion": occasion, "run_id": run_id, "to": to,
        "subject": found.subject, "keys": list(found.keys), "sent": False, "error": "", "text": found.text,
    }  # fmt: skip


def _keep(places: Places, line: dict[str, Any]) -> None:
    places.warehouse.mkdir(parents=True, exist_ok=True)
    with places.messages.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        # half a line, of a run that was killed or a full disk, would take this one along
        mend = b"" if file.read() in (b"", b"\n") else b"\n"
        file.write(mend + json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _send_and_keep(
    places: Places, settings: Settings, recipient: Recipient, found: Message, run_id: str, now: dt.datetime,
    occasion: str, first_at: str = "",
) -> dict[str, Any]:  # fmt: skip
    line = _line(recipient.name, run_id, now, found, occasion)
    line["error"] = send(settings, recipient, found)
    line["sent"] = not line["error"]
    if first_at:  # the day on which it is given up counts from the first attempt
        line["at"] = first_at
    if line["error"]:
        log.error("%s could not be told: %s", recipient.name, line["error"])
    try:
        _keep(places, line)
    except OSError:  # a full disk; the others are to be told all the same
        log.error("what %s was told could not be kept: no place to write", recipient.name)
    return line


MODES = {"starttls": "starttls", "ssl": "ssl", "none": "insecure"}
"""How the connection with a mail server is secured, and what apprise calls it."""


def send(settings: Settings, recipient: Recipient, found: Message) -> str:
    """Send a message through apprise. Returns '' when it was handed over, and else why not."""
    import apprise

    asset = apprise.AppriseAsset(app_id="pendel", app_desc="pendel", app_url="", async_mode=False)
    target: Any
    if recipient.mail:
        assert settings.mail is not None
        mail = settings.mail
        options: dict[str, Any] = {
            "schema": "mailto" if mail.security == "none" else "mailtos", "host": mail.server,
            "smtp_host": mail.server, "from_addr": f"pendel <{mail.sender}>", "targets": [recipient.mail],
            "secure_mode": MODES[mail.security], "format": "text", "cto": SECONDS,
        }  # fmt: skip
        if mail.port:
            options["port"] = mail.port
        if mail.user:
            if not os.environ.get(PASSWORD):
                return _("the environment variable {name} is not set").format(name=PASSWORD)
            options |= {"user": mail.user, "password": os.environ[PASSWORD]}
        target = options
    else:
        target = os.environ.get(recipient.address_from, "")
        if not target:
            return _("the environment variable {name} is not set").format(name=recipient.address_from)
    service = apprise.Apprise.instantiate(target, asset=asset, suppress_exceptions=True)
    if service is None:
        return _("its address is not one that apprise knows")
    with _what_apprise_says() as said:
        done = service.notify(body=found.text, title=found.subject, body_format=apprise.NotifyFormat.TEXT)
    if done:
        return ""
    return (said[-1] if said else "") or _("the server did not take it")


@contextmanager
def _what_apprise_says() -> Iterator[list[str]]:
    """The reasons that apprise gives for a failure; of what else it logs, addresses with secrets are a part."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "Exception: " in text:
                said.append(text.split("Exception: ", 1)[1][:200])

    logger, listener = logging.getLogger("apprise"), Listener(logging.DEBUG)
    before = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before[0])
        logger.propagate = before[1]
