"""``fedchain data store``: a device's own data, encrypted, within a size and an age, growing row by row."""

import csv
import io
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.progress import Progress

from chain.wholefile import whole_file
from commands.groups import Group
from commands.output import CommandFailed, JsonFlag, UsageFault, command, diagnostics, emit, example, note, warn
from commands.password import PasswordFileOption, ask_password, new_password, read_password
from commands.rowinput import now_ms, pieces, read_age, read_size, sift, table_times
from commands.show import counted, facts, listing, moment, sentence, short, size, span, steps
from fl.errors import DataError, FLError
from storage.errors import StorageError

if TYPE_CHECKING:
    from fl.plan.schema import Role
    from node.service.datastore import OpenedStore
    from storage.datakey import Opener
    from storage.datastate import StoreLimits

app = typer.Typer(cls=Group, help="A device's own data: encrypted, limited in size and age.", no_args_is_help=True)

DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The store.", file_okay=False, show_default=False)]
KeyringOption = Annotated[
    bool, typer.Option("--keyring", metavar="", help="Keep its key in the system's keyring (fedchain[keyring]).")
]
TimeOption = Annotated[
    str,
    typer.Option(
        "--time",
        metavar="COLUMN",
        help="The column with each row's time, ISO 8601 or seconds since 1970; else now.",
        show_default=False,
    ),
]
MaxSizeOption = Annotated[
    str | None,
    typer.Option("--max-size", metavar="SIZE", help="Bytes on disk at most, as 500MB or 2GB.", show_default=False),
]
MaxAgeOption = Annotated[
    str | None,
    typer.Option(
        "--max-age", metavar="AGE", help="Rows older than this go, as 36h or 30d; 0 = none.", show_default=False
    ),
]
WhenFullOption = Annotated[
    Literal["refuse", "drop-oldest"] | None,
    typer.Option("--when-full", help="What happens to rows that find no room.", show_default=False),
]
_DEFAULT_SIZE: Final = "1GB"


@app.command(
    "init",
    epilog=example(
        "fedchain data store init readings --plan plan.toml --max-size 500MB --max-age 30d",
        "fedchain data store init readings --plan plan.toml --keyring",
    ),
)
@command
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the store goes.", file_okay=False, show_default=False)
    ],
    plan: Annotated[
        Path,
        typer.Option("--plan", metavar="FILE", help="The plan whose schema its rows must fit.", show_default=False),
    ],
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="NAME", help="The plan's role; else its only one.", show_default=False),
    ] = None,
    max_size: MaxSizeOption = None,
    when_full: WhenFullOption = None,
    max_age: MaxAgeOption = None,
    password_file: PasswordFileOption = None,
    keyring: KeyringOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a store for the rows of a plan's role. Whoever forgets its password has lost the rows.

    Rows that do not fit the schema are refused at the door. A device trains plans on it as on a file: plans whose
    features are among the store's columns.
    """
    from node.service.datastore import create_store
    from storage.datastore import make_limits

    wanted = _role_of(plan, role)
    limits = make_limits(
        read_size(max_size or _DEFAULT_SIZE), when_full or "refuse", 0 if max_age is None else read_age(max_age)
    )
    store = create_store(directory, _new_opener(password_file, keyring), wanted, limits)
    store.close()
    document = {"store": store.id.hex(), "path": str(directory), "role": wanted.name, **_limits_document(limits)}
    at = quote(str(directory))
    told = steps(
        ("Put rows into it:", f"fedchain data store import {at} FILE"),
        ("Train on it:", f"fedchain device run store:{at} --any-plan --consent"),
    )
    emit(as_json, document, sentence(f"Made the data store {directory}."), told)


@app.command(
    "append",
    epilog=example(
        "fedchain data store append readings --password-file FILE",
        "fedchain data store append readings --time measured --skip-bad",
    ),
)
@command
def append(
    directory: DirArgument,
    time_column: TimeOption = "",
    delimiter: Annotated[str, typer.Option("--delimiter", metavar="CHAR", help="What stands between cells.")] = ",",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", metavar="", help="Pass over rows that do not fit, and name them.")
    ] = False,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Add the rows that come on standard input, as long as it is open; they are safe within a second or so.

    A first line that names the store's columns says their order; other columns are left out. A node may train on the
    store meanwhile: plans it has joined go on with the rows as of their join.
    """
    from fl.data.rows import LineReader

    if len(delimiter) != 1:
        raise UsageFault(f"--delimiter {delimiter!r}: must be one character")
    with _open(directory, password_file, from_terminal=False) as store:
        reader = LineReader(store.role, "standard input", delimiter, time_column)
        stored, refused, last = 0, 0, 0
        try:
            for lines in pieces(_standard_input()):
                torn: list[DataError] = []
                numbers, rows, times = reader.read(lines, torn if skip_bad else None)
                for error in torn:
                    warn(str(error))
                good = sift(store, rows, times, numbers, skip_bad)
                if good:
                    store.append([rows[place] for place, _ in good], [when for _, when in good])
                    stored, last = stored + len(good), numbers[good[-1][0]]
                refused += len(torn) + len(rows) - len(good)
        except (FLError, StorageError) as fault:
            raise CommandFailed(f"{fault}", f"{counted(stored, 'row')} are in, up to line {last}") from None
    told = f"{counted(stored, 'row')} stored" + (f", {refused} refused" if refused else "")
    emit(as_json, {"stored": stored, "refused": refused}, sentence(f"{told}."))


@app.command("import", epilog=example("fedchain data store import readings patients.csv --time admitted"))
@command
def import_(
    directory: DirArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The data file.", exists=True, dir_okay=False, show_default=False)
    ],
    time_column: TimeOption = "",
    again: Annotated[
        bool, typer.Option("--again", help="Add the rows of a file that is in already once more.")
    ] = False,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Add the rows of a data file: CSV, Parquet, NPZ or LIBSVM. All of them fit the store's schema, or none goes in.

    The store remembers the file: an import that was interrupted goes on where it stood, and one that was not adds
    nothing. The file itself stays as it is, unencrypted: remove it if it is not needed.
    """
    from fl.data.encode import encode_table
    from fl.data.formats import read_table
    from fl.data.rows import rows_of_table
    from storage.datasegment import Source

    with _open(directory, password_file) as store, store.store.importing():
        table = read_table(file)
        times = table_times(table, time_column)
        encode_table(table, store.role)
        digest = b"" if again else sha256(file.read_bytes()).digest()
        before = 0 if again else store.store.taken(digest)
        start = stored = 0
        with Progress(console=diagnostics, transient=True, disable=not diagnostics.is_terminal) as bar:
            task = bar.add_task(f"storing {file.name}", total=table.rows)
            try:
                for lines, rows in rows_of_table(table, store.role):
                    start, stored = max(stored, before), stored + len(lines)
                    if start < stored:
                        source = None if again else Source(digest, start)
                        store.append(rows[start - stored :], times[start:stored], source)
                    bar.update(task, completed=stored)
            except StorageError as error:
                told = f"the first {start} of {table.rows} rows are in; run it again with room for the others"
                raise CommandFailed(f"{error}", told) from None
    document = {"stored": stored - before, "already": before, "file": str(file)}
    emit(as_json, document, sentence(f"{counted(stored - before, 'row')} stored."))
    if not as_json and before:
        note(sentence(f"The first {before} of them were in already; --again adds them once more."))
    if not as_json:
        note(sentence(f"{file} is as it was, unencrypted."))


@app.command("list", epilog=example("fedchain data store list readings"))
@command
def list_(directory: DirArgument, password_file: PasswordFileOption = None, as_json: JsonFlag = False) -> None:
    """Show what a store holds, for whom, and for how long."""
    with _open(directory, password_file) as store:
        found, role = store.store.facts(), store.role
    device = None if found.device is None else found.device.hex()
    holds = [{"plan": hold.plan.hex(), "rows": hold.rows} for hold in found.holds]
    document = {
        "store": found.store.hex(),
        "rows": found.rows,
        "bytes": found.bytes,
        "segments": found.segments,
        "oldest_ms": found.oldest or None,
        "newest_ms": found.newest or None,
        "removed": found.removed,
        "role": role.name,
        "columns": [*[feature.name for feature in role.features], role.label.name],
        "device": device,
        "holds": holds,
        **_limits_document(found.limits),
    }
    age = found.limits.max_age_ms
    shown = [
        ("rows", f"{found.rows:,}" + (f", {found.removed:,} gone" if found.removed else "")),
        ("size", f"{size(found.bytes)} of {size(found.limits.max_bytes)}; when full: {found.limits.when_full}"),
        ("oldest", moment(found.oldest) if found.rows else None),
        ("newest", moment(found.newest) if found.rows else None),
        ("kept for", span(age / 1000) if age else "ever"),
        ("role", f"{role.name}: {len(role.features)} features and {role.label.name}"),
        ("device", device or "none yet: the first that joins a plan"),
    ]
    heading = "rows kept until it ends"
    rows = [(short(hold.plan.hex()), hold.rows) for hold in found.holds]
    held = [listing(("plan", heading), rows, numbers=(heading,))] if rows else []
    emit(as_json, document, facts(shown), *held)


@app.command("expire", epilog=example("fedchain data store expire readings --even-held"))
@command
def expire(
    directory: DirArgument,
    even_held: Annotated[
        bool,
        typer.Option("--even-held", metavar="", help="Rows that plans train on go as well: the device leaves them."),
    ] = False,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Let the rows go whose time is up. A running node does it every ten minutes."""
    with _open(directory, password_file) as store:
        expired = store.store.expire(now_ms(), even_held=even_held)
    told = f"{counted(expired.rows, 'row')} gone" + (f", {expired.held} kept for plans" if expired.held else "")
    emit(as_json, {"expired": expired.rows, "held": expired.held}, sentence(f"{told}."))


@app.command("limits", epilog=example("fedchain data store limits readings --max-size 2GB --when-full drop-oldest"))
@command
def limits_(
    directory: DirArgument,
    max_size: MaxSizeOption = None,
    when_full: WhenFullOption = None,
    max_age: MaxAgeOption = None,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Change how much a store keeps, and for how long."""
    from storage.datastore import make_limits

    with _open(directory, password_file) as store:
        old = store.store.facts().limits
        new = make_limits(
            old.max_bytes if max_size is None else read_size(max_size),
            when_full or old.when_full,
            old.max_age_ms if max_age is None else read_age(max_age),
        )
        store.store.set_limits(new)
    emit(as_json, _limits_document(new), facts((name, str(value)) for name, value in _limits_document(new).items()))


@app.command(
    "password",
    epilog=example("fedchain data store password readings", "fedchain data store password readings --keyring"),
)
@command
def password(
    directory: DirArgument,
    password_file: PasswordFileOption = None,
    new_password_file: Annotated[
        Path | None,
        typer.Option(
            "--new-password-file", metavar="FILE", help="A file whose first line is the new one.", show_default=False
        ),
    ] = None,
    keyring: KeyringOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Put a store's key under another password, or into the system's keyring. The rows are not written again.

    Whoever has an old copy of key.json and the old password still opens the store.
    """
    with _open(directory, password_file) as store:
        store.store.change_opener(_new_opener(new_password_file, keyring))
    where = "keyring" if keyring else "password"
    emit(as_json, {"store": str(directory), "key": where}, sentence(f"The store's key is under the new {where}."))


@app.command("export", epilog=example("fedchain data store export readings rows.csv"))
@command
def export(
    directory: DirArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the CSV file goes.", dir_okay=False, show_default=False)
    ],
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write all rows, with their times, to a CSV file that is NOT encrypted."""
    from fl.data.rows import column_names, decode_row

    if file.exists():
        raise UsageFault(f"{file} exists already", "choose another file")
    count = 0
    with _open(directory, password_file) as store, whole_file(file, mode=0o600, replace=False) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow([*column_names(store.role), "stored_time"])
        for batch in store.store.read():
            for at, row in zip(batch.times, batch.rows, strict=True):
                writer.writerow([*decode_row(row), datetime.fromtimestamp(at / 1000, UTC).isoformat()])
            count += len(batch.rows)
        text.flush()
        text.detach()
    warn(f"{file} holds the rows unencrypted.")
    emit(as_json, {"file": str(file), "rows": count}, sentence(f"{counted(count, 'row')} written."))


def _standard_input() -> int:
    return sys.stdin.fileno()


# --- what the commands share ---------------------------------------------------------------------


def _role_of(plan: Path, name: str | None) -> "Role":
    from fl.plan.bind import read_draft

    roles = {role.name: role for role in read_draft(plan).plan.roles}
    if name is None and len(roles) == 1:
        return next(iter(roles.values()))
    if name not in roles:
        raise UsageFault(f"{plan} has the roles {', '.join(roles)}", "name the one whose rows the store keeps: --role")
    return roles[name]


def _new_opener(file: Path | None, keyring: bool) -> "Opener":
    from storage.datakey import Keyring, Password
    from storage.keyrings import SystemKeyring

    if keyring and file is not None:
        raise UsageFault("a keyring and a password file contradict each other", "give one of the two")
    if keyring:
        return Keyring(SystemKeyring())
    given = new_password(file is None, file)
    assert given is not None
    return Password(given)


def store_opener(
    directory: Path, file: Path | None, *, from_terminal: bool = True, option: str = "--password-file"
) -> "Opener":
    """Return what opens a store: the keyring if its key is there, else the password of a file, or asked for.

    ``option``: which one of the command names the file.
    """
    from node.service.datastore import choose_opener
    from storage.datakey import is_in_keyring

    if is_in_keyring(directory / "key.json"):
        if file is not None:
            raise UsageFault(f"the key of {directory} is in the system's keyring, not under a password")
        return choose_opener(directory, None)
    if file is None and not from_terminal:
        raise UsageFault("standard input brings rows: the store's password can't be asked for", "use --password-file")
    given = ask_password(f"Password of the data store {directory}", option) if file is None else read_password(file)
    return choose_opener(directory, given)


def _open(directory: Path, file: Path | None, *, from_terminal: bool = True) -> "OpenedStore":
    from node.service.datastore import OpenedStore

    return OpenedStore(directory, store_opener(directory, file, from_terminal=from_terminal))


def _limits_document(limits: "StoreLimits") -> dict[str, object]:
    return {"max_bytes": limits.max_bytes, "when_full": limits.when_full, "max_age_ms": limits.max_age_ms}
