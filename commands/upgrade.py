"""``fedchain upgrade``: the rules that a network follows, and those it takes on at a height."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.groups import Group
from commands.home import HomeOption, home_directory
from commands.output import CommandFailed, JsonFlag, command, emit, example, note
from commands.show import listing

if TYPE_CHECKING:
    from chain.genesis import Genesis

app = typer.Typer(
    cls=Group, help="See which rules a network follows; take on those its operators agreed on.", no_args_is_help=True
)


@app.command("show", epilog=example("fedchain upgrade show --home alice"))
@command
def show(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """List the versions of the rules by the height from which they hold, those of the future too."""
    from storage.directory import DataDirectory

    genesis = DataDirectory.find(home_directory(home)).genesis()
    rows = _rows(genesis)
    emit(
        as_json,
        {
            "genesis": genesis.id.hex(),
            "rules": [dict(zip(("height", "version", "known"), row, strict=True)) for row in rows],
        },
        listing(
            ("from block", "rules version", "this fedchain"),
            [(height, version, "knows them" if known else "stops there") for height, version, known in rows],
            numbers=("from block", "rules version"),
        ),
    )


@app.command("adopt", epilog=example("fedchain upgrade adopt upgrades.json --home alice"))
@command
def adopt(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The document that the network's operators agreed on.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Take on the rules of a document from the heights it names. Restart the node then."""
    from chain.errors import GenesisError
    from chain.upgrades import find_unknown, read_upgrades
    from storage.directory import DataDirectory
    from storage.files import write_file

    directory = DataDirectory.find(home_directory(home))
    text = file.read_text(encoding="utf-8")
    try:
        genesis = read_upgrades(text, directory.genesis().founding)
    except GenesisError as error:
        raise CommandFailed(f"{file}: {error}", "ask who gave it to you; nothing was changed") from None
    write_file(directory.upgrades_file, text.encode())
    unknown = find_unknown(genesis)
    emit(
        as_json,
        {
            "file": str(directory.upgrades_file),
            "rules": len(_rows(genesis)),
            "stops_at": None if unknown is None else unknown.height,
        },
        f"Written to {directory.upgrades_file}. Restart the node.",
    )
    if unknown is not None and not as_json:
        release = unknown.release or "a later release"
        note(
            f"This fedchain does not know rules version {unknown.version}: it stops before block {unknown.height}. "
            f"Install {release}."
        )


def _rows(genesis: "Genesis") -> list[tuple[int, int, bool]]:
    """Return height, version and whether this software knows it, for each entry."""
    from chain.genesis_check import KNOWN_VERSIONS
    from chain.upgrades import UpgradedGenesis

    rows = [(rules.height, rules.version) for rules in genesis.all_rules]
    if isinstance(genesis, UpgradedGenesis):
        rows += [(each.height, each.version) for each in genesis.unknown]
    return [(height, version, version in KNOWN_VERSIONS) for height, version in sorted(rows)]
