"""Who is told what, and how often: every alarm raised by its cause, and received by a mail server."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import filelock
import pytest

from pendel import figures, notify, words
from pendel.cli import cli
from pendel.figures import RunResult
from pendel.places import NOTIFICATIONS, Places, UserError
from pendel.reference import read_reference
from tests.mailserver import MailServer, mail_server, text_of
from tests.pipeline import night
from tests.test_cli import GOOD, HEADER, YEAR, at, network, pendel, spoiled  # noqa: F401

NOW = dt.datetime(YEAR + 1, 1, 3, 4, 0, tzinfo=dt.UTC)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:apprise")


@pytest.fixture(autouse=True)
def _dutch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PENDEL_LANG", "nl")
    before = words.language()
    words.set_language("nl")
    yield
    words.set_language(before)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as found:
        yield found


RECIPIENTS = "  - {name: coordinator, mail: coordinator@example.org}\n"


def settings(folder: Path, port: int, recipients: str = RECIPIENTS, more: str = "") -> None:
    (folder / NOTIFICATIONS).write_text(
        f"mail: {{server: 127.0.0.1, port: {port}, security: none, from: pendel@example.org{more}}}\n"
        f"recipients:\n{recipients}",
        encoding="utf-8",
    )


@pytest.fixture
def places(spoiled: Places, server: MailServer, tmp_path: Path) -> Places:  # noqa: F811
    """The morning after: one row is held, one file is rejected, two branches delivered nothing; one is told."""
    shutil.copytree(spoiled.warehouse, tmp_path / "warehouse")
    shutil.copytree(spoiled.reference, tmp_path / "reference")
    settings(tmp_path / "reference", server.port)
    return Places.of(raw=spoiled.raw, reference=tmp_path / "reference", warehouse=tmp_path / "warehouse")


def last(places: Places) -> RunResult:
    run = figures.last_run(places)
    assert run is not None
    return run


# --- one mail a morning ---


def test_a_morning_in_one_mail(places: Places, server: MailServer) -> None:
    notify.tell_run(places, last(places), now=NOW)
    (mail,) = server.mails
    assert (mail["Subject"], mail["To"]) == ("pendel: 3 vestigingen vragen aandacht", "coordinator@example.org")
    assert "pendel@example.org" in mail["From"]
    text = text_of(mail).replace("\r\n", "\n")
    assert text.startswith("Gepubliceerd; 3 vestigingen vragen aandacht.\nVerwerking van 03-01-2024 03:00.\n\nNoord\n")
    assert "- 1 bestand is afgekeurd. noord/lijst.csv: De bestandsnaam past niet bij het aanleverformaat." in text
    assert "  Te doen: Vraag de vestiging om een nieuwe aanlevering en zet die in data/raw/noord;" in text
    assert "- 1 rij staat in quarantaine en telt niet mee." in text
    assert "Oost\n- 1 aanlevering ontbreekt (02-01-2024).\n  Te doen: Vraag de vestiging" in text
    assert "(nieuw)" not in text, "nothing was told before: everything is"


def test_the_same_is_told_once_a_morning_and_what_is_new_at_once(places: Places, server: MailServer) -> None:
    run = last(places)
    for minutes in (0, 60, 600):
        notify.tell_run(places, run, now=NOW + dt.timedelta(minutes=minutes))
    assert len(server.mails) == 1
    run.failed_branches = ["zuid"]
    notify.tell_run(places, run, now=NOW + dt.timedelta(minutes=700))
    assert server.subjects()[1:] == ["pendel: 3 vestigingen vragen aandacht, 1 map was niet te lezen"]
    assert text_of(server.mails[1]).count("(nieuw)") == 1
    notify.tell_run(places, run, now=NOW + dt.timedelta(days=1))
    assert len(server.mails) == 3, "the next morning it is told again"
    assert "(nieuw)" not in text_of(server.mails[2])


def test_nothing_wrong_is_no_mail_unless_asked_for(network: Places, places: Places, server: MailServer) -> None:  # noqa: F811
    run = last(network)
    assert not notify.troubles_of(run)
    notify.tell_run(places, run, now=NOW)
    assert server.mails == []
    settings(places.reference, server.port, RECIPIENTS.replace("}", ", also_when_fine: true}"))
    notify.tell_run(places, run, now=NOW)
    assert server.subjects() == ["pendel: alle vestigingen hebben aangeleverd"]


def test_each_hears_what_concerns_him(places: Places, server: MailServer) -> None:
    others = RECIPIENTS + "".join(
        f"  - {{name: {name}, mail: {name}@example.org, about: [{about}]}}\n"
        for name, about in {"beheer": "crashed, held_back, nothing_ran", "team": "missing"}.items()
    )
    settings(places.reference, server.port, others)
    run = last(places)
    notify.tell_run(places, run, now=NOW)
    assert [mail["To"].split("@")[0] for mail in server.mails] == ["coordinator", "team"]
    assert server.subjects()[1] == "pendel: 2 vestigingen vragen aandacht"
    assert "afgekeurd" not in text_of(server.mails[1])
    run.published, run.held_back_by = False, ["rows_are_conserved"]
    notify.tell_run(places, run, now=NOW)
    by_name = {mail["To"].split("@")[0]: mail["Subject"] for mail in server.mails[2:]}
    assert by_name == {
        "coordinator": "pendel: de publicatie is tegengehouden, 3 vestigingen vragen aandacht",
        "beheer": "pendel: de publicatie is tegengehouden",
    }


def test_it_is_told_in_english_where_asked_for(places: Places, server: MailServer) -> None:
    path = places.reference / NOTIFICATIONS
    path.write_text("language: en\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    notify.tell_run(places, last(places), now=NOW)
    assert server.subjects() == ["pendel: 3 branches need attention"]
    assert words.language() == "nl"


# --- what is wrong ---


def test_every_attention_is_a_trouble_and_every_trouble_attention(network: Places, spoiled: Places) -> None:  # noqa: F811
    well = last(network)
    for change in (
        {}, {"published": False, "held_back_by": ["x"]}, {"warnings": ["figure_differs_from_published"]},
        {"failed_branches": ["zuid"]}, {"error": "OSError", "published": False}, {"published": False},
        {"summary": last(spoiled).summary},
    ):  # fmt: skip
        run = RunResult(**(vars(well) | change))
        assert bool(notify.troubles_of(run)) == figures.needs_attention(run, run.summary), change
    for name in ("files_rejected", "rows_held", "missing", "rejected", "unconfirmed", "late"):
        branches = [dict(well.summary["branches"][0]) | {name: 1}]
        run = RunResult(**(vars(well) | {"summary": well.summary | {"branches": branches}}))
        troubles = notify.troubles_of(run)
        assert bool(troubles) == figures.needs_attention(run, run.summary) == (name != "late"), name
        assert all(trouble.wrong and trouble.to_do for trouble in troubles)


def test_a_run_that_broke_off(places: Places, server: MailServer) -> None:
    run = RunResult("r", "2024-01-03T03:15:00Z", "2024-01-03", "2024-01-03T03:16:00Z", error="UserError")
    notify.tell_run(places, run, UserError("{folder} is no folder.", folder="/raw"), now=NOW)
    assert server.subjects() == ["pendel: de verwerking is afgebroken"]
    assert "/raw is no folder." in text_of(server.mails[0])


def test_a_run_that_could_not_begin(places: Places, server: MailServer) -> None:
    (places.reference / "branches.csv").unlink()
    with pytest.raises(UserError) as caught:
        read_reference(places.reference)
    notify.tell_error(places, caught.value, now=NOW)
    assert server.subjects() == ["pendel: de verwerking is afgebroken"]
    assert "branches.csv ontbreekt" in text_of(server.mails[0])


def test_a_planned_night_that_could_not_begin(places: Places, server: MailServer, pendel: Any) -> None:  # noqa: F811
    """The Task Scheduler, or cron, starts `pendel nightly`: nobody looks at its output."""
    (places.reference / "branches.csv").unlink()
    assert [pendel("nightly", *at(places)).code for _ in range(2)] == [2, 2]
    assert server.subjects() == ["pendel: de verwerking is afgebroken"]
    assert "branches.csv ontbreekt" in text_of(server.mails[0])


# --- nothing ran ---


def test_a_run_that_never_was(places: Places, server: MailServer) -> None:
    started = dt.datetime.fromisoformat(last(places).started_at)
    assert notify.watch(places, started + dt.timedelta(hours=25, minutes=59)) == []
    assert server.mails == []
    late = started + dt.timedelta(hours=26)
    for hour in range(12):
        (trouble,) = notify.watch(places, late + dt.timedelta(hours=hour))
        assert trouble.kind == "nothing_ran"
    assert server.subjects() == ["pendel: vannacht is er niets verwerkt"], "once, not every hour"
    assert "Sinds 03-01-2024 03:00, 26 uur geleden, heeft er niets gedraaid." in text_of(server.mails[0])
    notify.watch(places, late + dt.timedelta(hours=24))
    assert len(server.mails) == 2, "the next morning again"


def test_there_was_never_a_run(places: Places, server: MailServer, tmp_path: Path) -> None:
    empty = Places.of(raw=places.raw, reference=places.reference, warehouse=tmp_path / "empty")
    notify.watch(empty, NOW)
    assert server.subjects() == ["pendel: vannacht is er niets verwerkt"]
    assert "Er is nog geen verwerking geweest." in text_of(server.mails[0])


def test_a_killed_run_is_noticed_and_one_at_work_is_not(places: Places, server: MailServer) -> None:
    run = RunResult("2024-01-04-run", "2024-01-04T03:15:00Z", "2024-01-04")
    run.write(places)
    soon = dt.datetime(2024, 1, 4, 3, 45, tzinfo=dt.UTC)
    with filelock.FileLock(places.lock):
        assert notify.watch(places, soon) == []
    for hour in range(3):
        (trouble,) = notify.watch(places, soon + dt.timedelta(hours=hour))
        assert trouble.kind == "crashed"
    assert server.subjects() == ["pendel: de verwerking is afgebroken"]
    assert "De verwerking is afgekapt, of de machine ging uit." in text_of(server.mails[0])


# --- when telling fails ---


def test_a_mail_server_that_is_away_fails_nothing_and_is_tried_again(
    places: Places, network: Places, pendel: Any  # noqa: F811
) -> None:  # fmt: skip
    with mail_server() as gone:
        port = gone.port
    settings(places.reference, port)
    now = dt.datetime.now(dt.UTC)
    run = last(places)
    run.started_at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    run.write(places)
    notify.tell_run(places, run, now=now)
    done = pendel("status", *at(places))
    assert done.code == 1
    assert "het bericht aan coordinator kon niet verstuurd worden: [Errno 111] Connection refused" in done.out
    (unsent,) = pendel("status", "--format", "json", *at(places)).json["unsent_messages"]
    assert (unsent["to"], unsent["subject"]) == ("coordinator", "pendel: 3 vestigingen vragen aandacht")
    done = pendel("watch", *at(places))
    assert (done.code, "Connection refused" in done.err) == (1, True)
    with mail_server(port) as back:
        done = pendel("watch", *at(places))
        assert (done.code, done.out) == (0, "De laatste verwerking is recent: er hoeft niets te gebeuren.\n")
        assert back.subjects() == ["pendel: 3 vestigingen vragen aandacht"]
        assert "Te doen:" in text_of(back.mails[0])
        assert pendel("watch", *at(places)).code == 0
        assert len(back.mails) == 1
    assert "kon niet verstuurd" not in pendel("status", *at(places)).out


def test_a_mail_that_is_refused(places: Places, server: MailServer) -> None:
    server.refuses = True
    notify.tell_run(places, last(places), now=NOW)
    (line,) = figures.unsent_messages(places)
    assert "no such mailbox" in line["error"]


def test_settings_that_cannot_be_used_fail_no_run_and_are_shown(places: Places, pendel: Any) -> None:  # noqa: F811
    (places.reference / NOTIFICATIONS).write_text("recipients: [", encoding="utf-8")
    notify.tell_run(places, last(places), now=NOW)
    assert "niemand kon bericht krijgen: " in pendel("status", *at(places)).out
    done = pendel("watch", *at(places))
    assert done.code == 2
    assert "is geen leesbare YAML" in done.err


def test_a_password_comes_from_the_environment(
    places: Places, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(places.reference, server.port, more=", user: pendel")
    monkeypatch.delenv(notify.PASSWORD, raising=False)
    notify.tell_run(places, last(places), now=NOW)
    assert figures.unsent_messages(places)[0]["error"].endswith("PENDEL_SMTP_PASSWORD is niet ingevuld")
    monkeypatch.setenv(notify.PASSWORD, "geheim @:/%")
    notify.watch(places, NOW)
    assert server.logins == [("pendel", "geheim @:/%")]
    assert len(server.mails) == 1
    assert "geheim" not in places.messages.read_text(encoding="utf-8")


def test_other_services_go_through_apprise(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given: object) -> None:
            pass

    (places.reference / NOTIFICATIONS).write_text(
        "recipients:\n  - {name: team, address_from: PENDEL_TEAM, about: [missing]}\n", encoding="utf-8"
    )
    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as hook:
        thread = threading.Thread(target=hook.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("PENDEL_TEAM", f"json://127.0.0.1:{hook.server_address[1]}/geheim")
        notify.tell_run(places, last(places), now=NOW)
        hook.shutdown()
        thread.join()
    assert [message["title"] for message in got] == ["pendel: 2 vestigingen vragen aandacht"]
    assert "Oost" in got[0]["message"]
    assert "geheim" not in places.messages.read_text(encoding="utf-8")
    monkeypatch.setenv("PENDEL_TEAM", "nonsens")
    notify.tell_run(places, last(places), now=NOW + dt.timedelta(days=1))
    assert figures.unsent_messages(places)[0]["error"] == "dit soort adres kent apprise niet"


def test_half_a_line_takes_no_other_along(places: Places, server: MailServer, pendel: Any) -> None:  # noqa: F811
    """As a run leaves it that is killed while it writes, in the middle of a letter too."""
    notify.tell_run(places, last(places), now=NOW)
    with places.messages.open("ab") as file:
        file.write('{"at": "2024-01-03T03:00:00Z", "text": "caf\u00e9'.encode()[:-1])
    run = last(places)
    run.failed_branches = ["zuid"]
    for _ in range(2):
        notify.tell_run(places, run, now=NOW + dt.timedelta(minutes=5))
    assert [line["subject"] for line in figures.messages(places)] == server.subjects()
    assert len(server.mails) == 2, "what could be read was not told again"
    assert pendel("status", *at(places)).code in (0, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is POSIX'")
def test_who_comes_next_is_told_when_nothing_can_be_kept(places: Places, server: MailServer) -> None:
    settings(places.reference, server.port, RECIPIENTS + RECIPIENTS.replace("coordinator", "beheer"))
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        notify.tell_run(places, last(places), now=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [mail["To"] for mail in server.mails] == ["coordinator@example.org", "beheer@example.org"]


# --- the settings ---


def test_the_file_that_ships_tells_nobody_and_its_example_can_be_used(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[1] / "data" / "reference" / NOTIFICATIONS
    assert notify.read_settings(shipped.parent).recipients == ()
    text = shipped.read_text(encoding="utf-8").split("\n\nlanguage")[1].split("\n# about:")[0]
    (tmp_path / NOTIFICATIONS).write_text("language" + text.replace("\n# ", "\n"), encoding="utf-8")
    found = notify.read_settings(tmp_path)
    assert found.mail == notify.MailServer("smtp.example.org", "pendel@example.org", 587, "starttls", "pendel")
    assert [recipient.name for recipient in found.recipients] == ["coordinator", "beheer", "team"]
    assert found.recipients[0].about == notify.KINDS
    assert found.recipients[2].address_from == "PENDEL_TEAMS"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("- a", "expected names with values"),
        ("lang: nl", "unknown: lang"),
        ("language: fr", "language is nl or en"),
        ("mail: {server: x}", "from: the address"),
        ("mail: {server: x, from: y, security: maybe}", "security is one of starttls, ssl, none"),
        ("mail: {server: x, from: y, port: '25'}", "port is a number"),
        ("mail: {server: x, from: y, password: z}", "password is a secret"),
        ("recipients: [{name: a, mail: a@b}]", "mail: names no server"),
        ("recipients: [{name: a}]", "either mail or address_from"),
        ("recipients: [{mail: a@b}]", "a recipient has a name"),
        ("recipients: [{name: a, url: 'x://y'}]", "url is a secret"),
        ("recipients: [{name: a, address_from: X, about: [rain]}]", "a wants to hear about rain"),
    ],
)
def test_settings_that_cannot_be_used(text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / NOTIFICATIONS).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=wrong):
        notify.read_settings(tmp_path)


def test_who_is_told_decides_on_no_figure(network: Places, tmp_path: Path) -> None:  # noqa: F811
    from pendel import building

    shutil.copytree(network.reference, tmp_path / "reference")
    before = building.ingredients(read_reference(tmp_path / "reference"))
    settings(tmp_path / "reference", 25)
    assert building.ingredients(read_reference(tmp_path / "reference")) == before


# --- the command ---


def test_watch_says_what_is_missing(places: Places, server: MailServer, pendel: Any) -> None:  # noqa: F811
    done = pendel("watch", *at(places))
    assert done.code == 1
    assert done.out.startswith("Sinds 03-01-2024 03:00, ")
    page = places.page.read_text(encoding="utf-8")
    assert "<h1>Sinds 03-01-2024 03:00, " in page
    assert server.subjects() == ["pendel: vannacht is er niets verwerkt"]
    assert pendel("watch", "--older-than", 1e6, *at(places)).code == 0
    english = pendel("watch", "--lang", "en", *at(places))
    assert english.out.startswith("Nothing has run since 2024-01-03 03:00, ")
    assert len(server.mails) == 1
    (older_than,) = (option for option in cli.commands["watch"].params if option.name == "older_than")
    assert older_than.default == notify.HOURS, "the page grows old when the watchdog tells"


def test_a_trial_message(places: Places, server: MailServer, pendel: Any) -> None:  # noqa: F811
    done = pendel("watch", "--try", *at(places))
    assert (done.code, done.out) == (0, "Verstuurd aan coordinator.\n")
    assert server.subjects() == ["pendel: proefbericht"]
    server.refuses = True
    done = pendel("watch", "--try", *at(places))
    assert done.code == 1
    assert "het bericht aan coordinator kon niet verstuurd worden" in done.err
    (places.reference / NOTIFICATIONS).unlink()
    done = pendel("watch", "--try", *at(places))
    assert done.code == 2
    assert "noemt niemand die bericht moet krijgen" in done.err


def test_a_branch_that_does_not_deliver_is_told_by_name(
    network: Places, server: MailServer, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    """From the cause itself to the mail: a network, a day on which one branch delivers."""
    for name in ("raw", "warehouse", "reference"):
        shutil.copytree(getattr(network, name), tmp_path / name)
    found = Places.of(raw=tmp_path / "raw", reference=tmp_path / "reference", warehouse=tmp_path / "warehouse")
    settings(found.reference, server.port)
    lines = "\n".join((HEADER, GOOD, ""))
    (found.raw / "noord" / "reserveringen_0060_20240102.csv").write_text(lines, encoding="cp1252")
    run = RunResult("2024-01-03-run", "2024-01-03T03:15:00Z", "2024-01-03", "2024-01-03T03:16:00Z", True)
    run.summary = night(found, date(YEAR + 1, 1, 3))
    notify.tell_run(found, run, now=NOW)
    assert server.subjects() == ["pendel: 2 vestigingen vragen aandacht"]
    text = text_of(server.mails[0])
    assert "Oost" in text
    assert "Noord" not in text
