"""The command line: `pendel`. Starts without Prefect and Great Expectations; only `nightly` and `demo` need them."""

from __future__ import annotations

import atexit
import contextlib
import copy
import datetime as dt
import getpass
import inspect
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from pendel import __version__
from pendel.places import Busy, Places, UserError, discreet, hush
from pendel.words import LANGUAGES, _, ask_language, asked_language, number, set_language

PUBLISHED, HELD_BACK, USAGE, NO_DATA, BUSY = 0, 1, 2, 3, 4
"""Exit codes of `pendel nightly` (and 3 of `pendel kpi`)."""


MOST_LINES = 200
"""The most rows of a query that are laid out as a table."""


MOST_CHANGES = 20
"""The most figures, and files, of `pendel diff` that are laid out as a table."""

MOST_TRACED = 40
"""The most rows behind a figure, or of a file, that are laid out as a table."""


ROOM = 50_000_000
"""Bytes that must be free for a run besides a second warehouse: Prefect's records, and what a day brings."""


YES = {"yes", "y", "ja", "j"}
"""What agrees, in every language."""


class Translated(click.Command):
    """A command whose help is translated when it is shown, since the language is chosen on the command line."""

    def _help(self) -> str:
        return _(inspect.cleandoc(self.help or ""))

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first line in lists of commands."""
        return self._help().split("\n")[0]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What stands behind the command's name in the line of its usage."""
        return [_(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The description."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self._help())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, with translated help."""
        options = [_translated(found) for found in self.get_params(ctx) if isinstance(found, click.Option)]
        records = [option.get_help_record(ctx) for option in options]
        with formatter.section(_("Options")):
            formatter.write_dl([record for record in records if record])

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Click's own option, its help in English as that of the others, which are translated when shown."""
        found = super().get_help_option(ctx)
        if found:
            found.help = "Show this message and exit."
        return found


def _translated(option: click.Option) -> click.Option:
    shown = copy.copy(option)
    shown.help = _(option.help) if option.help else None
    shown.metavar = _(option.metavar) if option.metavar else None
    return shown


class TranslatedGroup(Translated, click.Group):
    """The group of all commands, in the order of a user's day."""

    command_class = Translated

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were added."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, and the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def _folder(name: str, variable: str, text: str) -> Callable[..., Any]:
    return click.option(
        f"--{name}", envvar=variable, type=click.Path(path_type=Path, file_okay=False), help=text, metavar="DIR"
    )


def _language_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--lang",
        type=click.Choice(LANGUAGES),
        help="Language of texts, numbers and dates.",  # PENDEL_LANG is read once, by set_language
        is_eager=True,
        expose_value=False,
        callback=lambda ctx, parameter, value: set_language(value) if value else None,
    )(command)


def with_places(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for the folders; it gets `places`."""

    def inner(
        *, home: Path | None, raw: Path | None, reference: Path | None, warehouse: Path | None, **rest: Any
    ) -> Any:
        return command(places=Places.of(home, raw, reference, warehouse), **rest)

    inner.__doc__ = command.__doc__
    inner.__name__ = command.__name__
    decorated: Callable[..., Any] = inner
    for option in (
        _language_option,
        _folder("warehouse", "PENDEL_WAREHOUSE", "Where the warehouse is, or comes (HOME/data/warehouse)."),
        _folder("reference", "PENDEL_REFERENCE", "The register and the parameters (HOME/data/reference)."),
        _folder("raw", "PENDEL_RAW", "The branches' exports (HOME/data/raw)."),
        _folder("home", "PENDEL_HOME", "The folder that holds data/; without it, the project."),
    ):
        decorated = option(decorated)
    return decorated


def _format(*choices: str) -> Callable[..., Any]:
    return click.option(
        "--format", "form", type=click.Choice(choices), default=choices[0], show_default=True, help="How to print it."
    )


@click.group(cls=TranslatedGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pendel", message="%(prog)s %(version)s")
@_language_option
def cli() -> None:
    """Reservations between library branches: taken in every night, checked, and counted."""


def _show(renderable: object) -> None:
    from pendel.present import console

    console().print(renderable)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


@cli.command()
@click.option("--year", type=click.IntRange(1990, 2100), default=2023, show_default=True, metavar="YEAR",
              help="The year to simulate.")  # fmt: skip
@with_places
def demo(places: Places, year: int) -> None:
    """Simulate a year of exports, run the nightly flow on them, show the figures.

    The exports are simulated: as the branches of the register would have delivered them, calibrated to the published
    totals. That the totals come out proves the arithmetic of the pipeline, not the history of that year.
    """
    from pendel.figures import key_figures
    from pendel.present import figures_table

    if places.raw.is_dir() and any(p.suffix != ".md" for p in places.raw.iterdir()) and not places.simulated.exists():
        raise UserError(
            "{folder} already holds exports that no demo has put there. Give the demo a folder of its own with --home.",
            folder=places.raw,
        )
    _simulate(places, year, seed=1, imperfections=False, truth=None)
    exit_code = _nightly(places, dt.date(year + 1, 1, 1))
    if exit_code == PUBLISHED:
        _show(figures_table(key_figures(places, year, None, "total"), "total"))
        click.echo(_("Look further: {commands}").format(commands=_further(places)))
    sys.exit(exit_code)


def _further(places: Places) -> str:
    own = Places.of()
    option = "" if places == own else f" --raw {places.raw} --warehouse {places.warehouse}"
    program = ".venv/bin/pendel" if os.path.exists(".venv/bin/pendel") else "pendel"
    return "".join(f"\n  {program} {command}{option}" for command in ("status", "kpi --by lane", "kpi --by month"))


def _simulate(places: Places, year: int, seed: int, imperfections: bool, truth: Path | None) -> None:
    from pendel.simulate import SimulationError, simulate

    with _progress(_("simulating the exports of {year}").format(year=year)) as advance:
        try:
            made = simulate(
                year, places.raw, places.reference, seed=seed, imperfections=imperfections, truth=truth,
                progress=advance,
            )  # fmt: skip
        except SimulationError as error:
            raise UserError("The simulator says: {error}", error=error) from None
        except OSError as error:
            raise UserError(
                "{folder} cannot be written. Is there room, and is it permitted? (the computer says: {error})",
                folder=places.raw,
                error=error.strerror,
            ) from None
    places.simulated.write_text("simulated exports: pendel\n", encoding="utf-8")
    click.echo(
        _("{files} simulated exports with {rows} rows in {folder}").format(
            files=number(made.files), rows=number(made.rows), folder=places.raw
        ),
        err=True,
    )


@cli.command()
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
              help="The day the run takes for today, such as 2024-01-01.")  # fmt: skip
@with_places
def nightly(places: Places, as_of: dt.datetime | None) -> None:
    """Take in everything new, build, check and publish: one run of the Prefect flow.

    Ends with 0 when it was published, 1 when the checks held it back, 2 on wrong use, 4 when another run is busy.
    """
    sys.exit(_nightly(places, as_of.date() if as_of else None))


def _at_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--at", type=click.DateTime(["%H:%M"]), default="04:15", show_default=True, metavar="TIME",
        help="When the night is run, on the clock of the network.",
    )(command)  # fmt: skip


@cli.command()
@_at_option
@click.option("--port", type=click.IntRange(1024, 65535), default=4200, show_default=True, metavar="PORT",
              help="Where Prefect's server listens, on this machine alone.")  # fmt: skip
@with_places
def serve(places: Places, at: dt.datetime, port: int) -> None:
    """Run every night by itself: keep the schedule, until stopped.

    Starts Prefect's server on this machine, unless PREFECT_API_URL says where one is. A night that was missed, because
    the machine was off, is run at once. `pendel install-service` has this started with the machine.
    """
    from pendel.reference import read_reference

    zone = read_reference(places.reference).parameters.time_zone
    places.check_raw()
    places.prefect.mkdir(parents=True, exist_ok=True)
    given = os.environ.get("PREFECT_API_URL")
    environment = _prefect_environment(places) | {"PREFECT_LOGGING_LEVEL": "ERROR"}
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    from pendel import server

    with contextlib.nullcontext(given) if given else server.own(port) as url:
        server.wait_for(url)
        os.environ["PREFECT_API_URL"] = url
        os.environ["PENDEL_LANG"] = asked_language()  # of the nights, each a process of its own
        text = _("Every night at {time} ({zone}). Prefect's page: {page}. Stop with Ctrl-C.")
        click.echo(text.format(time=f"{at:%H:%M}", zone=zone, page=url.removesuffix("/api")), err=True)
        from flows.serving import keep

        keep(places, at.time(), zone)


@cli.command()
@click.option("--older-than", type=click.FloatRange(0), default=26, show_default=True, metavar="HOURS",
              help="After so many hours without a run something is wrong.")  # fmt: skip
@click.option("--try", "trial", is_flag=True, help="Send everybody a trial message, and do nothing else.")
@with_places
def watch(places: Places, older_than: float, trial: bool) -> None:
    """Look whether the night was run, and tell whoever is to be told if it was not.

    To be run every hour by something else than the run itself: a run that was killed tells nobody. Sends again what
    could not be sent. Ends with 0 when all is fine, 1 when a run is missing or a message could not be sent.
    """
    from pendel import figures, notify, present

    if trial:
        sent = notify.try_out(places)
        for line in sent:
            if line["sent"]:
                click.echo(_("Sent to {to}.").format(to=line["to"]))
        for text in present.unsent_lines([line for line in sent if not line["sent"]]):
            click.echo(text, err=True)
        sys.exit(0 if all(line["sent"] for line in sent) else 1)
    now = dt.datetime.now(dt.UTC)
    troubles = notify.watch(places, now, older_than)
    if troubles:
        _write_page(lambda page: page.write_alarm(places, now, older_than))
    for trouble in troubles:
        click.echo(f"{trouble.wrong} {trouble.to_do}")
    unsent = present.unsent_lines(figures.unsent_messages(places))
    for text in unsent:
        click.echo(text, err=True)
    if not troubles and not unsent:
        click.echo(_("The last run is recent: nothing has to be done."))
    sys.exit(1 if troubles or unsent else 0)


@cli.command("install-service")
@_at_option
@click.option("--system", type=click.Choice(["linux", "windows"]), default="windows" if os.name == "nt" else "linux",
              help="For which kind of machine; without it, this one.")  # fmt: skip
@click.option("--apply", is_flag=True, help="Do it, instead of showing it (Linux).")
@with_places
def install_service(places: Places, at: dt.datetime, system: str, apply: bool) -> None:
    """Show what makes this machine run every night by itself; on Linux, do it with --apply.

    On Linux systemd keeps Prefect's server, the schedule and the watchdog; on Windows the Task Scheduler starts the
    night and the watchdog. Nothing is changed without --apply.
    """
    from pendel import services

    time = f"{at:%H:%M}"
    if system == "windows":
        if apply:
            raise UserError("On Windows nothing is done by itself: paste the lines shown into PowerShell.")
        click.echo(
            _(
                "Paste these lines into PowerShell, opened as administrator. They plan two tasks: the night at {time}, "
                "which wakes the machine and is caught up when it was off, and every hour a look whether the night "
                "ran. The password of the mail server goes into an environment variable of the machine: setx /M "
                "PENDEL_SMTP_PASSWORD …"
            ).format(time=time),
            err=True,
        )
        click.echo(services.windows(places, time), nl=False)
        return
    plan = services.linux(places, time)
    if not apply:
        for path, text in plan.files.items():
            click.echo(f"# {path}\n{text}")
        for command in plan.commands:
            click.echo("$ " + " ".join(command))
        click.echo(
            _(
                "This is what --apply does: write these files and run these commands. Prefect's server, the schedule "
                "({time}) and a look every hour then start with the machine. Passwords go into {secrets}, which only "
                "its owner may read (chmod 600): PENDEL_SMTP_PASSWORD=… on a line."
            ).format(time=time, secrets=plan.secrets),
            err=True,
        )
        return
    services.apply(plan)
    for path in plan.files:
        click.echo(_("Written: {file}").format(file=path))
    undo = ["disable" if word == "enable" else word for word in plan.commands[1]]
    text = _("The night runs every day at {time}. To undo it: {command}")
    click.echo(text.format(time=time, command=" ".join(undo)))


@cli.command()
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
              help="The day the run takes for today, such as 2024-01-01.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask, also when the store is sound.")
@with_places
def rebuild(places: Places, as_of: dt.datetime | None, yes: bool) -> None:
    """Make the store of all rows again from the raw files, and build and publish the warehouse afresh.

    For a store that is damaged or lost. The old one is set aside under another name; nothing is deleted. The files are
    taken in the order in which they once arrived. Ends as `nightly` does.
    """
    from pendel import bronze

    if not yes and bronze.is_sound(places):
        click.echo(_("{file} is sound: there is no need to make it again.").format(file=places.bronze), err=True)
        answer = click.prompt(_("Set it aside and make it again? (yes/no)"), default="no", err=True)
        if answer.strip().lower() not in YES:
            return
    sys.exit(_nightly(places, as_of.date() if as_of else None, afresh=True))


def _nightly(places: Places, as_of: dt.date | None, afresh: bool = False) -> int:
    from pendel import bronze
    from pendel.figures import RunResult, today
    from pendel.present import status_view
    from pendel.reference import read_reference

    # What a user can have wrong is found before Prefect starts, which takes seconds.
    try:
        network = read_reference(places.reference)
        places.check_raw()
        day = as_of or today(network.parameters.time_zone)
        with bronze.locked(places, bronze.Run.start(day)):
            _make_sure_of_room(places)
    except Busy:
        raise
    except Exception as error:
        from pendel import notify

        failure = error
        notify.tell_error(places, failure)
        _write_page(lambda page: page.write_error(places, failure, dt.datetime.now(dt.UTC)))
        raise
    places.prefect.mkdir(parents=True, exist_ok=True)  # Prefect's server makes one level, no more
    for name, value in _prefect_environment(places).items():
        os.environ.setdefault(name, value)
    results: list[RunResult] = []
    failures: list[Exception] = []
    with _progress(_("starting Prefect")) as advance:
        from flows.nightly import nightly as flow
        from flows.nightly import on_progress

        on_progress(_reporter(advance, results, failures))
        folders = (str(places.raw), str(places.reference), str(places.warehouse))
        try:
            state = flow(*folders, day.isoformat(), afresh, return_state=True)
        except Exception:
            # Prefect could not write down how the run ended: its database is on the same disk. How it did end counts.
            if failures:
                raise failures[0] from None
            if not results:
                with bronze.plainly(places):
                    raise
    if not results or results[0].error:
        _raise(state)
    result = results[0]
    _show(status_view(result))
    click.echo(_("The morning page: {file}").format(file=places.page))
    return PUBLISHED if result.published else HELD_BACK


def _write_page(write: Callable[[Any], None]) -> None:
    """Let the module of the morning page write it; what goes wrong with it is told, and changes nothing else."""
    from pendel import page

    try:
        write(page)
    except Exception as error:
        told = _("the morning page could not be written ({error})")
        click.echo(told.format(error=discreet(error)), err=True)


def _make_sure_of_room(places: Places) -> None:
    """Prefect on a full disk tries again for minutes and then fails in words of its own."""
    room = shutil.disk_usage(places.warehouse).free
    needed = ROOM + (places.published.stat().st_size if places.published.exists() else 0)
    if room < needed:
        raise UserError(
            "{folder} has room for {room} MB, and a run needs {needed} MB. Make room, and run again.",
            folder=places.warehouse,
            room=room // 1_000_000,
            needed=needed // 1_000_000,
        )


def _raise(state: Any) -> NoReturn:
    found = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    raise RuntimeError(state.message)


def _prefect_environment(places: Places) -> dict[str, str]:
    """Settings under which the flow runs on Prefect's embedded server, quietly and without asking other machines."""
    return {
        "PREFECT_HOME": str(places.prefect),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "false",
    }


def _reporter(
    advance: Callable[..., None], results: list[Any], failures: list[Exception]
) -> Callable[[str, dict[str, Any]], None]:
    """Turn the flow's events into progress; keep the result, and the failure of a run that broke off."""
    read = {"files": 0, "of": 0}

    def report(event: str, detail: dict[str, Any]) -> None:
        if event == "found":
            read["of"] = detail["files"]
            advance(0, max(detail["files"], 1), _("reading {n} new files").format(n=number(detail["files"])))
        elif event == "read":
            read["files"] += detail["files"]
            advance(read["files"], max(read["of"], 1), _("read: {folders}, {files} files, {rows} rows").format(
                folders=detail["folders"], files=number(detail["files"]), rows=number(detail["rows"])))  # fmt: skip
            if read["files"] == read["of"]:
                advance(None, None, _("judging the rows"))
        elif event == "unreadable":
            advance(None, None, _("could not be read: {branch}").format(branch=detail["folders"]))
        elif event == "page_failed":
            advance(None, None, _("the morning page could not be written ({error})").format(error=detail["error"]))
        elif event == "stored":
            advance(None, None, _("stored: {rows} rows, {held} held; building the warehouse").format(
                rows=number(detail["rows"]), held=number(detail["held"])))  # fmt: skip
        elif event == "built":
            advance(None, None, _("built; checking"))
        elif event == "checked":
            advance(None, None, _("{n} checks done; publishing").format(n=number(detail["checks"])))
        elif event == "failed":
            failures.append(detail["error"])
        elif event == "result":
            results.append(detail["result"])

    return report


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Callable[..., None]]:
    """A progress bar on a terminal, plain lines elsewhere: `advance(done, total, text)`, on standard error."""
    from pendel.present import console

    out = console(stderr=True)
    if not out.is_terminal:
        click.echo(title, err=True)
        last = [title]

        def line(done: int | None = None, total: int | None = None, text: str | None = None) -> None:
            if text and text != last[0]:
                last[0] = text
                click.echo(text, err=True)

        yield line
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=out) as progress:
        bar = progress.add_task(title, total=None)

        def move(done: int | None = None, total: int | None = None, text: str | None = None) -> None:
            progress.update(bar, completed=done, total=total, description=text)

        yield move


@cli.command()
@click.option("--year", type=int, metavar="YEAR", help="The year; without it the newest that has figures.")
@click.option("--month", type=click.IntRange(1, 12), metavar="MONTH", help="One month of it.")
@click.option("--by", type=click.Choice(["total", "organisation", "branch", "lane", "month"]), default="total",
              show_default=True, help="What to split the figures by.")  # fmt: skip
@_format("table", "json", "csv", "xlsx", "md")
@with_places
def kpi(places: Places, year: int | None, month: int | None, by: str, form: str) -> None:
    """Show the key figures, beside the published ones.

    Ends with 3 when there are no figures of that period. A workbook (xlsx) goes to a file in this folder, or to where
    the output is sent.
    """
    from pendel import figures, present

    found = figures.key_figures(places, year, month, by)
    if form == "json":
        _print_json(found)
    elif form == "csv":
        click.echo(present.figures_csv(found, by), nl=False)
    elif form == "md":
        click.echo(present.figures_markdown(found, by), nl=False)
    elif form == "xlsx":
        name = f"pendel-{found['year']}{f'-{month:02}' if month else ''}{'' if by == 'total' else f'-{by}'}.xlsx"
        _write_workbook(present.figures_workbook(found, by), name)
    else:
        _show(present.figures_table(found, by, figures.branch_names(places)))


def _write_workbook(content: bytes, name: str) -> None:
    """To where the output is sent; from a terminal, to a file of this name."""
    if sys.stdout.isatty():
        Path(name).write_bytes(content)
        click.echo(_("Written: {file}").format(file=name))
    else:
        sys.stdout.buffer.write(content)


@cli.command()
@click.option("--year", type=int, metavar="YEAR", help="The year; without it the newest that has figures.")
@click.option("--month", type=click.IntRange(1, 12), metavar="MONTH", help="One month of it.")
@click.option("--by", type=click.Choice(["lane", "branch"]), default="lane", show_default=True,
              help="What to show: the lanes, or the branches by lending balance.")  # fmt: skip
@_format("table", "json", "csv", "xlsx", "md")
@with_places
def lanes(places: Places, year: int | None, month: int | None, by: str, form: str) -> None:
    """Show how each lane did: volume, transit time, share within the norm, what is still on the way, and the trend.

    The lanes with the most deliveries first. With --by branch: the branches by what they lend less what they borrow,
    which adds up to zero. Ends with 3 when there are no figures of that period.
    """
    from pendel import figures, present

    of_lanes = by == "lane"
    found = (figures.lanes if of_lanes else figures.lending_balances)(places, year, month)
    lines = present.period_lines(found, "lanes" if of_lanes else "branches")
    names = figures.branch_names(places)
    if form == "json":
        _print_json(found)
    elif form == "csv":
        click.echo(present.as_excel_csv(*lines), nl=False)
    elif form == "xlsx":
        plain = ("year", "month", "compared_year", "compared_month")
        name = f"pendel-{found['year']}{f'-{month:02}' if month else ''}-{'lanes' if of_lanes else 'balance'}.xlsx"
        _write_workbook(present.as_workbook(_("Lanes"), *lines, plain=plain), name)
    elif form == "md":
        markdown = present.lanes_markdown if of_lanes else present.balances_markdown
        click.echo(markdown(found, names), nl=False)
    else:
        note = _(present.SIMULATED) if places.simulated.exists() else ""
        _show((present.lanes_view if of_lanes else present.balances_view)(found, note, names))


@cli.command()
@click.option("--branch", metavar="BRANCH", help="The list of this branch alone, by its code or name.")
@_format("table", "csv", "xlsx", "json")
@with_places
def overdue(places: Places, branch: str | None, form: str) -> None:
    """List by branch the items that should have arrived or left, the longest waiting first.

    And the receipts that the pick-up branch did not confirm. What turns up leaves the list by itself. The csv is as
    Excel opens it; a workbook (xlsx) goes to a file in this folder, or to where the output is sent.
    """
    from pendel import figures, present

    items = figures.search_items(places, branch)
    names, day = figures.branch_names(places), figures.as_of(places)
    if form == "json":
        _print_json({"as_of": str(day), "items": items})
    elif form == "csv":
        click.echo(present.as_excel_csv(*present.search_lines(items, names)), nl=False)
    elif form == "xlsx":
        _write_workbook(
            present.as_workbook(_("Search list"), *present.search_lines(items, names)), f"pendel-overdue-{day}.xlsx"
        )
    else:
        note = _(present.SIMULATED) if places.simulated.exists() else ""
        _show(present.search_view(items, day, note, names))


@cli.command()
@click.option("--by", type=click.Choice(["branch", "lane"]), default="branch", show_default=True,
              help="What to split the forecast by.")  # fmt: skip
@click.option("--branch", metavar="BRANCH", help="One branch only: all ten days of it.")
@_format("table", "json", "csv", "md")
@with_places
def forecast(places: Places, by: str, branch: str | None, form: str) -> None:
    """Show what there is to carry on the next transport days, in items and crates.

    The table shows the first day, with --branch all ten; the other formats hold all ten. A band tells between which
    numbers four outcomes in five lie. Crates are an estimate. Ends with 3 when nothing is forecast yet.
    """
    from pendel import figures, present
    from pendel.forecast import forecast as forecast_of

    found = forecast_of(places, by, branch)
    if form == "json":
        _print_json(found)
    elif form == "csv":
        click.echo(present.as_csv(*present.forecast_lines(found)), nl=False)
    elif form == "md":
        click.echo(present.forecast_markdown(found), nl=False)
    else:
        note = _(present.SIMULATED) if places.simulated.exists() else ""
        _show(present.forecast_view(found, branch is not None, note, figures.branch_names(places)))


@cli.command()
@_format("table", "json")
@with_places
def status(places: Places, form: str) -> None:
    """Show the last run, and what needs attention: files, rows, exports, gates.

    Ends with 0 when all is fine, 1 when something needs attention.
    """
    from pendel import figures, present

    try:
        found = figures.status(places)
    except figures.NoFigures as error:
        click.echo(_error(error), err=True)
        sys.exit(1)
    if form == "json":
        drift = [present.drift_told(item) for item in found.get("drift", [])]
        _print_json(found | {"drift": drift})
    else:
        run = figures.last_run(places)
        assert run is not None
        run.summary = run.summary or {name: found[name] for name in found if name != "last_run"}
        _show(present.status_view(run, found["unsent_messages"]))
    sys.exit(1 if found["needs_attention"] else 0)


@cli.command()
@click.option("--branch", metavar="BRANCH", help="Exports of this branch alone.")
@click.option("--rule", metavar="RULE", help="Rows and files held by this rule alone.")
@click.option("--file", metavar="FILE", help="Files whose name holds this.")
@_format("table", "json", "csv")
@with_places
def quarantine(places: Places, branch: str | None, rule: str | None, file: str | None, form: str) -> None:
    """List the rows that are held and the files that were rejected, and why.

    Begins with what to do, by rule and branch. On the screen the list is cut, in csv and json it is whole.
    """
    from pendel import figures, present

    names = figures.branch_names(places)
    held = figures.quarantine(places)
    held = _chosen(held, names, branch, rule, file)
    lines = [
        {
            "branch": item["branch"],
            "file": item["file"],
            "row": item["row"],
            "rule": item["rule"],
            "message": present.held_message(item),
            "export_date": str(item["export_date"]) if item["export_date"] else None,
            "columns": item["columns"],
            "settled": item["settled"],
        }
        for item in held
    ]
    if form == "json":
        _print_json(lines)
    elif form == "csv":
        columns = ["branch", "file", "row", "rule", "message", "export_date", "settled"]
        told = [[line[name] for name in columns[:-1]] + [str(line["settled"]).lower()] for line in lines]
        click.echo(present.as_csv(columns, told), nl=False)
    else:
        _show(present.quarantine_view(held, MOST_LINES, names))
        count = sum(not item["settled"] for item in held)
        if count > MOST_LINES:
            text = _(
                "The {shown} newest of {n} rows. Choose with --branch, --rule or --file; all of them: --format csv"
            )
            click.echo(text.format(shown=number(MOST_LINES), n=number(count)), err=True)


def _chosen(
    held: list[dict[str, Any]], names: dict[str, str], branch: str | None, rule: str | None, file: str | None
) -> list[dict[str, Any]]:
    """What is held of a branch (its code or name), by a rule, in files whose name holds a text."""
    from pendel.contracts import rejections, rules

    if branch is not None:
        known = {name.lower(): code for code, name in names.items()} | {code.lower(): code for code in names}
        known |= {item["branch"].lower(): item["branch"] for item in held}
        if branch.lower() not in known:
            raise UserError("{branch} is no branch. Known are: {known}.", branch=branch, known=", ".join(sorted(names)))
        held = [item for item in held if item["branch"] == known[branch.lower()]]
    if rule is not None:
        ids = [item.rule for item in rules() if item.action == "quarantine"] + list(rejections())
        if rule not in ids:
            raise UserError("{rule} is no rule. Known are: {known}.", rule=rule, known=", ".join(ids))
        held = [item for item in held if item["rule"] == rule]
    return [item for item in held if file is None or file.lower() in item["file"].lower()]


@cli.command()
@click.argument("kpi", required=False)
@click.option("--year", type=int, metavar="YEAR", help="The year; without it the newest that has figures.")
@click.option("--month", type=click.IntRange(1, 12), metavar="MONTH", help="One month of it.")
@click.option("--from", "supplier", metavar="BRANCH", help="Supplied by this branch or organisation.")
@click.option("--to", "pickup", metavar="BRANCH", help="To be collected at this branch or organisation.")
@click.option("--branch", metavar="BRANCH", help="The figure of this branch, as in `pendel kpi --by branch`.")
@click.option("--file", metavar="FILE", help="The other way: what became of the rows of this file.")
@click.option("--row", type=click.IntRange(1), metavar="ROW", help="Of this row of it alone.")
@_format("table", "csv", "json")
@with_places
def trace(
    places: Places,
    kpi: str | None,
    year: int | None,
    month: int | None,
    supplier: str | None,
    pickup: str | None,
    branch: str | None,
    file: str | None,
    row: int | None,
    form: str,
) -> None:
    """List the rows behind a key figure, or what became of the rows of a file.

    Ends with 3 when there is no such figure of that period. On the screen the list is cut, in csv and json it is whole.
    """  # fmt: skip
    from pendel import figures, present
    from pendel import trace as tracing

    of_figure = (kpi, year, month, supplier, pickup, branch)
    if (kpi is None) == (file is None) or (kpi is None and any(of_figure)) or (file is None and row is not None):
        raise UserError(
            "Give a key figure, such as `pendel trace deliveries_total --year 2023`, or a file with --file and perhaps "
            "--row."
        )
    if file is not None:
        traced = tracing.files(places, file, row)
        if form == "json":
            _print_json(traced)
        elif form == "csv":
            click.echo(present.as_csv(*present.traced_file_lines(traced)), nl=False)
        else:
            _show(present.traced_file_view(traced, MOST_TRACED, figures.branch_names(places)))
            _say_what_is_cut(max(len(item["rows"]) for item in traced))
        return
    assert kpi is not None
    most = MOST_TRACED if form == "table" else None
    found = tracing.figure(places, kpi, year, month, supplier, pickup, branch, most)
    if form == "json":
        _print_json({name: part for name, part in found.items() if name != "columns"})
    elif form == "csv":
        click.echo(present.as_csv(*present.traced_figure_lines(found)), nl=False)
    else:
        note = _(present.SIMULATED) if places.simulated.exists() else ""
        _show(present.traced_figure_view(found, note, figures.branch_names(places)))
        _say_what_is_cut(found["count"])


def _say_what_is_cut(count: int) -> None:
    if count > MOST_TRACED:
        text = _("The first {shown} of {n} rows. For all of them: --format csv")
        click.echo(text.format(shown=number(MOST_TRACED), n=number(count)), err=True)


@cli.command()
@click.argument("sql", required=False)
@_format("table", "json", "csv")
@with_places
def query(places: Places, sql: str | None, form: str) -> None:
    """Ask the published warehouse something in SQL, read-only. Without SQL: one question a line, until an empty one."""
    if sql is not None:
        _answer(places, sql, form)
        return
    while line := click.prompt("SQL", default="", show_default=False):
        try:
            _answer(places, line, form)
        except UserError as error:
            click.echo(_error(error), err=True)


def _answer(places: Places, sql: str, form: str) -> None:
    from pendel import figures, present

    names, lines = figures.query(places, sql)
    if form == "json":
        # two columns of one name, as of a join, are both told
        keys = [name if names.index(name) == at else f"{name}_{at + 1}" for at, name in enumerate(names)]
        _print_json([{key: figures.plain(cell) for key, cell in zip(keys, line, strict=True)} for line in lines])
    elif form == "csv":
        click.echo(present.as_csv(names, lines), nl=False)
    else:
        _show(present.grid(names, lines[:MOST_LINES]))
        if len(lines) > MOST_LINES:
            text = _("The first {shown} of {n} rows. For all of them: --format csv")
            click.echo(text.format(shown=number(MOST_LINES), n=number(len(lines))), err=True)


@cli.command()
@click.argument("one", required=False, metavar="[RUN]")
@click.argument("other", required=False, metavar="[RUN]")
@_format("table", "json", "csv")
@with_places
def diff(places: Places, one: str | None, other: str | None, form: str) -> None:
    """Show which figures changed from one run to another, and by which files or rules.

    Without runs: the last two. A run is named by its id, or the beginning of it (`pendel status` and quality.run).
    """
    from pendel import history, present
    from pendel.reference import read_reference

    found = history.diff(places, read_reference(places.reference), one, other)
    if form == "json":
        _print_json(found)
    elif form == "csv":
        names = list(found["figures"][0]) if found["figures"] else ["kpi"]
        click.echo(present.as_csv(names, [[figure[name] for name in names] for figure in found["figures"]]), nl=False)
    else:
        _show(present.diff_view(found, MOST_CHANGES))


@cli.command("close-year")
@click.argument("year", type=click.IntRange(1990, 2100), metavar="YEAR")
@click.option("--by", metavar="NAME", default=getpass.getuser, help="Who closes it; without it, the user's name.")
@with_places
def close_year(places: Places, year: int, by: str) -> None:
    """Freeze the figures of a year as they are published now.

    They stay so: what later runs compute differently is shown beside them as a restatement, with what caused it.
    """
    from pendel import bronze, history
    from pendel.figures import today
    from pendel.reference import read_reference

    reference = read_reference(places.reference)
    with bronze.locked(places, bronze.Run.start(today(reference.parameters.time_zone))):
        closing = history.close_year(places, reference, year, by)
    text = _("{year} is closed: {n} figures of run {run} are frozen.")
    click.echo(text.format(year=year, n=number(closing["figures"]), run=closing["run_id"]))


@cli.command()
@click.option("--year", type=click.IntRange(1990, 2100), required=True, metavar="YEAR", help="The year to simulate.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR",
              help="Where the exports go, a folder a branch.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, metavar="NUMBER",
              help="The same seed gives the same exports.")  # fmt: skip
@click.option("--imperfections", is_flag=True, help="Plant errors: bad rows and files, late, repeated, corrected "
              "exports. A truth file beside the folder tells which.")  # fmt: skip
@with_places
def simulate(places: Places, year: int, out: Path, seed: int, imperfections: bool) -> None:
    """Write the exports that the branches would have delivered in a year."""
    from dataclasses import replace

    out = out.resolve()
    truth = out.with_name(f"{out.name}-truth-{year}.json")
    _simulate(replace(places, raw=out), year, seed, imperfections, truth)
    click.echo(_("What is in them: {file}").format(file=truth), err=True)


@cli.command()
@click.option("--older-than", required=True, metavar="DAYS", help="Exports of more than so many days ago: 90d.")
@click.option("--yes", is_flag=True, help="Remove them without asking.")
@with_places
def purge(places: Places, older_than: str, yes: bool) -> None:
    """Remove raw exports that were taken in: the figures do not change.

    Shows first what it would remove and asks. Files that were rejected, changed or not taken in yet are kept.
    """
    from pendel import bronze, present, purging
    from pendel.figures import today
    from pendel.reference import read_reference

    age = purging.days(older_than)
    day = today(read_reference(places.reference).parameters.time_zone)
    with bronze.locked(places, bronze.Run.start(day)):
        planned = purging.plan(places, day, age)
    _show(present.purge_view(planned))
    if not planned.files:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("Nothing was removed: nobody can be asked here. Give --yes to remove these files.")
        # not click.confirm, which knows no Dutch answer
        answer = click.prompt(_("Remove these files? (y/n)"), default="n", show_default=False)
        if answer.strip().lower() not in ("y", "yes", "j", "ja"):
            click.echo(_("Nothing was removed."), err=True)
            return
    run = bronze.Run.start(day)
    with bronze.locked(places, run):
        gone = purging.purge(places, planned, run.started_at)
    text = _("{n} of {of} files removed; the figures stay as they are.")
    click.echo(text.format(n=number(len(gone)), of=number(len(planned.files))))
    if len(gone) < len(planned.files):
        raise UserError(
            "{n} files could not be removed, or changed meanwhile. Are they open in another program, or read-only?",
            n=len(planned.files) - len(gone),
        )


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@with_places
def backup(places: Places, file: Path) -> None:
    """Write all that another machine needs to one file (.zip), except the raw exports.

    The store in it holds their rows; the exports themselves tell who reads what.
    """
    from pendel import backup, bronze
    from pendel.figures import today
    from pendel.reference import read_reference

    run = bronze.Run.start(today(read_reference(places.reference).parameters.time_zone))
    with bronze.locked(places, run):
        made = backup.back_up(places, file.resolve(), run.started_at)
    text = _("{n} files are in {file} ({megabytes} MB), and were read again.")
    click.echo(text.format(n=number(made["files"]), file=file, megabytes=number(max(1, made["size_bytes"] // 10**6))))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@with_places
def restore(places: Places, file: Path) -> None:
    """Make an installation again from a backup, here or on another machine.

    Nothing is put over a store that is there. The figures are those of the night before the backup; the next run takes
    in what was delivered since.
    """
    from pendel import backup, bronze
    from pendel.words import date

    now = dt.datetime.now(dt.UTC)
    with bronze.locked(places, bronze.Run.start(now.date())):
        made_at = backup.restore(places, file.resolve())
    text = _(
        "Everything is as it was on {date}. Put the exports that came later in {folder}, and run `pendel nightly`."
    )
    click.echo(text.format(date=date(made_at.date()), folder=places.raw))


def _error(error: UserError) -> str:
    return _(error.template).format(**error.values)


def _language_asked(arguments: Sequence[str]) -> str | None:
    """The language that the command line asks for, so that what is wrong with the line itself is said in it too."""
    asked = re.findall(rf"(?<!\S)--lang[= ]({'|'.join(LANGUAGES)})(?!\S)", " ".join(arguments))
    return asked[-1] if asked else None


def main() -> None:
    """Run the command line; errors that a user can mend end in one sentence, without a traceback."""
    atexit.register(hush)  # registered first, so run last
    try:
        ask_language(_language_asked(sys.argv[1:]))
    except UserError as error:
        click.echo(_error(error), err=True)
        sys.exit(USAGE)
    from pendel.figures import NoFigures

    try:
        cli.main(prog_name="pendel", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Busy as error:
        click.echo(_error(error), err=True)
        sys.exit(BUSY)
    except NoFigures as error:
        click.echo(_error(error), err=True)
        sys.exit(NO_DATA)
    except UserError as error:
        click.echo(_error(error), err=True)
        sys.exit(USAGE)
    except Exception as error:
        # lines of the program, and not what the error says
        text = _("Unexpected: {error}. More is not shown, since it could quote a row of an export.")
        click.echo("".join(traceback.format_tb(error.__traceback__)), err=True, nl=False)
        click.echo(text.format(error=discreet(error)), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
