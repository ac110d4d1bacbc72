"""``fedchain db``: look after what a node keeps, while no node runs there."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.groups import Group
from commands.home import HomeOption, home_directory
from commands.output import EXIT_FAILED, CommandFailed, JsonFlag, command, emit, example, note, waiting
from commands.show import counted, facts, sentence, size

if TYPE_CHECKING:
    from chain.genesis import Genesis
    from storage.check import CheckReport
    from storage.directory import DataDirectory
    from storage.journal import FileReleaseJournal
    from storage.leveldb import LevelChainStore
    from storage.payloads import PayloadFiles

_BACKUP_S = 24 * 3600.0

app = typer.Typer(cls=Group, help="Check, compact, export and back up what a node keeps.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _Stores:
    """A data directory's stores, held by this process."""

    genesis: "Genesis"
    chain: "LevelChainStore"
    payloads: "PayloadFiles"
    journal: "FileReleaseJournal"


@contextmanager
def _open(home: Path, *, create: bool = False) -> Iterator[_Stores]:
    """Open the stores of a data directory, so that no node can; a chain of another network is refused.

    With ``create`` a data directory in which no node has run yet gets its chain, which is genesis alone.
    """
    from node.service.home import first_data
    from storage.directory import DataDirectory
    from storage.errors import ForeignGenesisError

    directory = DataDirectory.find(home)
    with ExitStack() as stack:
        lock = stack.enter_context(directory.lock())
        genesis = directory.genesis()
        chain = directory.open_chain(lock, first_data(genesis) if create else None)
        stack.callback(chain.close)
        if chain.genesis != genesis.id:
            raise ForeignGenesisError(
                f"{directory.chain_path} belongs to the network with genesis {chain.genesis.hex()}; "
                f"{directory.genesis_file} describes {genesis.id.hex()}"
            )
        journal = directory.open_journal()
        stack.callback(journal.close)
        yield _Stores(genesis, chain, directory.open_payloads(lock), journal)


@app.command("check", epilog=example("fedchain db check --home alice"))
@command
def check(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Read everything a node keeps and compare it with its checksums, ids, roots and indexes. Changes nothing.

    Exit code 1 if anything is wrong.
    """
    from storage.check import check_stores

    with waiting("reading everything"), _open(home_directory(home)) as stores:
        report = check_stores(stores.chain, stores.payloads, stores.journal)
    emit(as_json, {"sound": report.is_sound, **asdict(report)}, *_report(report))
    if not report.is_sound:
        raise typer.Exit(EXIT_FAILED)


def _state_note(report: "CheckReport") -> str:
    parts = [f", taken from peers at height {report.synced_at}"] if report.synced_at else []
    if report.blocks_pruned:
        parts.append(f", {counted(report.blocks_pruned, 'block')} without a body")
    if report.gathering:
        parts.append(", another is being fetched")
    return "".join(parts)


def _report(report: "CheckReport") -> list[RenderableType]:
    verdict = Text("sound", "green") if report.is_sound else Text(counted(len(report.problems), "problem"), "bold red")
    missing = f", {report.payloads_missing} pruned or missing" if report.payloads_missing else ""
    return [
        facts(
            [
                ("database", verdict),
                ("main chain", f"{counted(report.main_chain, 'block')}, {counted(report.transactions, 'transaction')}"),
                ("stored", f"{report.headers} headers, {report.bodies} bodies"),
                ("payloads", f"{report.payloads}{missing}"),
                ("releases", report.releases),
                ("state", f"{counted(report.values, 'value')}{_state_note(report)}"),
            ]
        ),
        *(Text(problem, "red") for problem in report.problems),
    ]


@app.command("compact", epilog=example("fedchain db compact --home alice"))
@command
def compact(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Rewrite the chain database without what was deleted or overwritten."""
    path = home_directory(home)
    before = _size_of(path / "chain")
    with waiting("rewriting the database"), _open(path) as stores:
        stores.chain.database.compact()
    after = _size_of(path / "chain")
    emit(as_json, {"bytes_before": before, "bytes_after": after}, f"{size(before)} before, {size(after)} now")


def _size_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) if directory.is_dir() else 0


@app.command("backup", epilog=example("fedchain db backup /backups/alice-monday --home alice"))
@command
def backup(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="The new directory.", show_default=False)],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy chain and payloads into a new directory, all as of one block, while the node runs or not.

    The copy can be checked with fedchain db check --home DIR. To restore it, stop the node and put its chain and
    payloads directories in the place of the node's. Keys and journals are not in it, and must stay as they are.
    """
    from commands.node_call import ask
    from storage.directory import DataDirectory
    from storage.errors import LockedError

    to, path = Path(directory).expanduser().absolute(), home_directory(home)
    if to.exists():
        raise CommandFailed(f"{to} exists already", "name a new directory")
    with waiting("copying"):
        try:
            with _open(path) as stores:
                height, payloads = _copy_at_rest(DataDirectory.find(path), stores, to)
        except LockedError:
            view = ask(home, lambda node: node.back_up(str(to)), timeout_s=_BACKUP_S)
            height, payloads = view.height, view.payloads
    length = _size_of(to)
    emit(
        as_json,
        {"directory": str(to), "height": height, "payloads": payloads, "bytes": length},
        sentence(f"the chain up to block {height} and {counted(payloads, 'payload')}, {size(length)}: {to}"),
    )


def _copy_at_rest(directory: "DataDirectory", stores: _Stores, to: Path) -> tuple[int, int]:
    from storage.backup import back_up

    report = back_up(directory, stores.chain, stores.payloads, to)
    return report.height, report.payloads


@app.command("export", epilog=example("fedchain db export --home alice --out chain.fed"))
@command
def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The new file.", dir_okay=False, show_default=False)
    ],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the main chain with its payloads to one file, to move, archive or check it."""
    from consensus.engines import make_engine
    from storage.export import export_chain

    if out.exists():
        raise CommandFailed(f"{out} exists already", "name another file")
    with waiting("writing the chain"), _open(home_directory(home)) as stores:
        count = export_chain(stores.chain, stores.payloads, out, make_engine(stores.genesis).references)
    length = out.stat().st_size
    emit(
        as_json,
        {"file": str(out), "blocks": count, "bytes": length},
        sentence(f"{counted(count, 'block')}, {size(length)}: {out}"),
    )
    if not as_json:
        note("Payloads that were pruned are not in it.")


@app.command(
    "import",
    epilog=example(
        "fedchain init --home bob --genesis alice/genesis.json",
        "fedchain db import chain.fed --home bob",
    ),
)
@command
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `fedchain db export` wrote.", exists=True, dir_okay=False)
    ],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Take in the chain of an exported file, checked and executed from genesis on like blocks of strangers.

    Into a data directory of the same network, a new one or one that has a part of the chain: what is there is not
    executed again, so an import that was stopped goes on where it was. No node may run there. A damaged file changes
    nothing. Of a chain with validators the blocks above the last final one are left to the network.
    """
    import time

    from chain.ids import Millis
    from node.chainimport import import_chain

    with waiting("reading the file") as show, _open(home_directory(home), create=True) as stores:

        def tell(what: str, part: float, height: int) -> None:
            show(f"{what}: {part:.0%}" + (f", block {height}" if height else ""))

        now = Millis(time.time_ns() // 1_000_000)
        report = import_chain(file, stores.genesis, stores.chain, stores.payloads, now, tell)
    left = f"; {counted(report.left, 'block')} above the last final one left to the network" if report.left else ""
    emit(
        as_json,
        asdict(report),
        sentence(
            f"{counted(report.imported, 'block')} taken in, {report.known} were here: height {report.height}{left}"
        ),
    )
