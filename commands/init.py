"""``fedchain init``: make a node's data directory, for a network of one's own or one that exists."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from chain.address import format_account
from chain.errors import GenesisError
from chain.genesis import Genesis, PosParameters
from chain.genesis_default import HASHES_PER_BLOCK
from chain.genesis_file import read_genesis
from chain.ids import AccountId
from chain.keys import KeyPair
from commands.home import HomeOption, home_directory
from commands.networks import BLOCK_MS, OWN_COINS, OWN_STAKE, NetworkWishes, make_network
from commands.output import PANEL_NODE, CommandFailed, JsonFlag, UsageFault, command, emit, example
from commands.password import PasswordFileOption, new_password
from commands.settings import ConnectOption, ListenOption, MineOption, RpcPortOption, with_flags
from commands.show import counted, facts, steps
from node.addresses import join_address
from node.config import Config, NetworkSettings

if TYPE_CHECKING:
    from storage.directory import DataDirectory

_OWN_NETWORK = "A network of your own"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "init",
        rich_help_panel=PANEL_NODE,
        epilog=example(
            "fedchain init --home alice --mine",
            "fedchain init --home bob --genesis alice/genesis.json --connect 192.0.2.1:9470",
            "fedchain init --home alice --engine pos --validator fed1…=5000coins --validator fed1…=5000coins",
        ),
    )(init)


GenesisOption = Annotated[
    Path | None,
    typer.Option("--genesis", metavar="FILE", help="Join the network of this genesis file.", show_default=False),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="Take this key (of fedchain keys new --out) for the node; else a new one.",
        show_default=False,
    ),
]
AskPasswordOption = Annotated[
    bool, typer.Option("--password", metavar="", help="Encrypt the node's key with a password, asked for here.")
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="pow (work), pos (stake), or consortium (validators that never change); else pow.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]
ChainIdOption = Annotated[
    str | None,
    typer.Option(
        "--chain-id",
        metavar="NAME",
        help="Its name; else a random one.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]
BlockMsOption = Annotated[
    int | None,
    typer.Option(
        "--block-ms",
        metavar="N",
        min=1,
        help=f"Milliseconds between blocks; else {BLOCK_MS}.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]
HashesOption = Annotated[
    int | None,
    typer.Option(
        "--hashes-per-block",
        metavar="N",
        min=1,
        help=f"Work of the first block, in hashes; else {HASHES_PER_BLOCK}. Later blocks follow the miners.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]
AllocateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allocate",
        metavar="ADDRESS=AMOUNT",
        help=f"Who has coins at the start; else this node has {OWN_COINS:,} coins. Can be repeated.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]
ValidatorsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--validator",
        metavar="ADDRESS=STAKE",
        help=f"Who votes at the start; else this node, with {OWN_STAKE:,} coins. Can be repeated.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]
RegistrarsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--registrar",
        metavar="ADDRESS",
        help="Who permits devices; in a consortium this node, if nobody is named. Can be repeated.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]
EpochBlocksOption = Annotated[
    int | None,
    typer.Option(
        "--epoch-blocks",
        metavar="N",
        min=1,
        help="Blocks after which the validators may change; else an hour's.",
        show_default=False,
        rich_help_panel=_OWN_NETWORK,
    ),
]


@command
def init(
    home: HomeOption = None,
    genesis: GenesisOption = None,
    key_file: KeyFileOption = None,
    connect: ConnectOption = None,
    listen: ListenOption = None,
    rpc_port: RpcPortOption = None,
    mine: MineOption = False,
    ask_password: AskPasswordOption = False,
    password_file: PasswordFileOption = None,
    engine: EngineOption = None,
    chain_id: ChainIdOption = None,
    block_ms: BlockMsOption = None,
    hashes: HashesOption = None,
    allocate: AllocateOption = None,
    validators: ValidatorsOption = None,
    registrars: RegistrarsOption = None,
    epoch_blocks: EpochBlocksOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a node's data directory: its key, its settings, and the network it belongs to.

    Without --genesis it starts a network of its own, by proof of work or of stake. Give the genesis.json it writes to
    whoever is to take part; with --genesis their nodes join.
    """
    from node.home import create_home

    path = home_directory(home)
    password = new_password(ask_password, password_file)
    key = KeyPair.generate() if key_file is None else _open_key(key_file, password)
    wishes = NetworkWishes(
        engine, chain_id, block_ms, hashes, epoch_blocks, allocate or (), validators or (), registrars or ()
    )
    if genesis is not None:
        if not wishes.is_empty():
            raise UsageFault("--genesis names a network that exists: its options are for a network of your own")
        network = _read_genesis(genesis)
    else:
        network = make_network(key.account, wishes)
    config = with_flags(Config(), connect=connect, listen=listen, rpc_port=rpc_port, mine=mine)
    directory = create_home(path, network, config, key=key, password=password)
    _report(as_json, directory, network, key.account, password is not None, config.network)


def _read_genesis(file: Path) -> Genesis:
    try:
        return read_genesis(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise CommandFailed(f"{file}: is not UTF-8 text") from None
    except GenesisError as error:
        problems = "\n".join(f"{file}: {line}" for line in str(error).splitlines())
        raise CommandFailed(problems, "get genesis.json from somebody whose node is in the network") from None


def _open_key(file: Path, password: str | None) -> KeyPair:
    """Return the key of a key file, which has the password that the node's key will have."""
    from storage.keystore import KeyFiles

    return KeyFiles(file.parent).load(file.stem, password)


def _report(
    as_json: bool,
    directory: "DataDirectory",
    network: Genesis,
    account: AccountId,
    encrypted: bool,
    listen: NetworkSettings,
) -> None:
    address = format_account(account, network.prefix)
    start = f"fedchain node start --home {quote(str(directory.path))}"
    emit(
        as_json,
        {
            "home": str(directory.path),
            "account": address,
            "chain_id": network.chain_id,
            "genesis": network.id.hex(),
            "engine": _engine(network),
            "genesis_file": str(directory.genesis_file),
            "config_file": str(directory.config_file),
            "encrypted": encrypted,
            "next": [start],
        },
        facts(
            [
                ("data directory", directory.path),
                ("account", address),
                ("network", f"{network.chain_id}, one block in {network.engine.block_ms / 1000:g} s"),
                ("agreed by", _agreed_by(network)),
                ("genesis", network.id.hex()),
                ("peers at", _listening(listen)),
                ("settings", directory.config_file),
            ]
        ),
        steps(
            ("Start the node:", start),
            (
                "Let another machine join, with a copy of genesis.json:",
                f"fedchain init --genesis genesis.json --connect THIS-MACHINE:{listen.port or 'PORT'}",
            ),
        ),
    )


def _listening(network: NetworkSettings) -> str:
    """Return where the node will listen for others, and who can reach it there."""
    address = join_address(network.host, network.port) if network.port else f"{network.host}, any free port"
    is_local = network.host in ("localhost", "::1") or network.host.startswith("127.")
    return f"{address}, this machine alone; else --listen 0.0.0.0:{network.port or 9470}" if is_local else address


def _engine(network: Genesis) -> str:
    """Return the engine's name as --engine takes it."""
    if not isinstance(network.engine, PosParameters):
        return "pow"
    return "consortium" if network.engine.permissioned else "pos"


def _agreed_by(network: Genesis) -> str:
    if not isinstance(network.engine, PosParameters):
        return "proof of work"
    who = counted(len(network.engine.validators), "validator")
    return f"a consortium of {who}" if network.engine.permissioned else f"proof of stake, {who} at the start"
