"""Where things are: the folders of an installation, and the errors a user can cause."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SQL = PROJECT / "sql"
EXPECTATIONS = PROJECT / "expectations"
NOTIFICATIONS = "notifications.yaml"
"""In a reference folder: who is told what. It decides on no figure."""

NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""How every DuckDB connection of the pipeline is opened: nothing is fetched, nothing is loaded from elsewhere."""


class UserError(Exception):
    """Something a user can mend. The message says what is wrong, where, and what to do.

    It is a template in English and the values to fill in, so that the command line can say it in Dutch too.
    """

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values))
        self.template = template
        self.values = values


class Busy(UserError):
    """Another run holds the lock."""


class Unexpected(RuntimeError):
    """Something that nobody foresaw, told without its own text, which can quote a row: its kind, and where it arose."""

    def __init__(self, kind: str, where: str) -> None:
        super().__init__(f"{kind} in {where}")
        self.kind = kind


def is_held(error: Exception) -> bool:
    """Whether DuckDB could not open a file because another process has it open in a way that excludes this one."""
    return any(text in str(error) for text in ("Could not set lock", "being used by another process"))


def is_full(error: Exception) -> bool:
    """Whether something could not be written because there is no room (left) for it, as the system or DuckDB says."""
    full = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
    if isinstance(error, OSError):
        return error.errno in full
    return any(os.strerror(code) in str(error) for code in full) or "max_temp_directory_size" in str(error)


def discreet(error: Exception) -> Exception:
    """What may be told of an error, in logs and on screens: an OSError without the file's name, of others but a
    UserError the kind and the place alone, and that the disk is full. Errors quote values, and a value can be a
    reader's.
    """
    if isinstance(error, UserError | Unexpected):
        return error
    if is_full(error):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror) if error.errno else type(error)()
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(PROJECT)] or frames
    where = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "no place"
    return Unexpected(type(error).__name__, where)


def hush() -> None:
    """At exit: DuckDB's bindings fill standard error with references that Great Expectations' imports still hold."""
    if "great_expectations" in sys.modules:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Damaged(UserError):
    """The bronze store cannot be read, or is not the one that the runs filled: `pendel rebuild` makes it again."""


def write_whole(path: Path, text: str) -> None:
    """Write a file of which a reader sees the old text or the new one, never half."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def escaped(path: Path) -> str:
    """A path within single quotes of SQL."""
    return str(path).replace("'", "''")


@dataclass(frozen=True)
class Places:
    """The folders of one installation.

    `raw` is only ever read; `reference` describes the network; `warehouse` is written.
    """

    raw: Path
    reference: Path
    warehouse: Path

    @classmethod
    def of(
        cls,
        home: Path | None = None,
        raw: Path | None = None,
        reference: Path | None = None,
        warehouse: Path | None = None,
    ) -> Places:
        """Fill in what was not given: `data/…` under `home`, which is the project itself without one.

        A home without a `data/reference` of its own uses the register that ships with the product.
        """
        data = (home or PROJECT).resolve() / "data"
        if reference is None:
            own = data / "reference"
            reference = own if own.is_dir() else PROJECT / "data" / "reference"
        return cls(
            raw=(raw or data / "raw").resolve(),
            reference=reference.resolve(),
            warehouse=(warehouse or data / "warehouse").resolve(),
        )

    @property
    def simulated(self) -> Path:
        """Is there when the exports are simulated: what is made of them says so."""
        return self.raw / ".simulated"

    @property
    def bronze(self) -> Path:
        """The store of every row ever delivered; private to the pipeline."""
        return self.warehouse / "bronze.duckdb"

    @property
    def spill(self) -> Path:
        """Where DuckDB puts what does not fit in memory; emptied by every run."""
        return self.warehouse / "tmp"

    @property
    def published(self) -> Path:
        """The warehouse that everybody may read."""
        return self.warehouse / "pendel.duckdb"

    @property
    def mark(self) -> Path:
        """Which run published the warehouse, what it was made by, and how the file looked then."""
        return self.warehouse / "published.json"

    @property
    def closed(self) -> Path:
        """The years that are closed, with their figures as they were then."""
        return self.warehouse / "closed"

    @property
    def runs(self) -> Path:
        """What each run found and decided, a folder a run."""
        return self.warehouse / "runs"

    @property
    def lock(self) -> Path:
        """Is held by the run that is at work."""
        return self.warehouse / "bronze.lock"

    @property
    def site(self) -> Path:
        """The pages for people: the morning page and the search lists."""
        return self.warehouse / "site"

    @property
    def page(self) -> Path:
        """The morning page."""
        return self.site / "index.html"

    @property
    def prefect(self) -> Path:
        """What Prefect keeps: its database and its settings."""
        return self.warehouse / "prefect"

    @property
    def messages(self) -> Path:
        """What people were told after which run, and what could not be told; a message a line."""
        return self.warehouse / "messages.jsonl"

    def check_raw(self) -> None:
        """Raises UserError when there is no raw folder: a share that is not there must not look as if it were empty."""
        if not self.raw.is_dir():
            raise UserError(
                "{folder} is no folder. Put the branches' exports there, a folder a branch, or give --raw.",
                folder=self.raw,
            )
