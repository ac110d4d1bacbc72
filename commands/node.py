"""``fedchain node``, ``status``, ``peers``: run a node, and ask it how it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from commands import bans
from commands.groups import Group
from commands.home import HomeOption, home_directory
from commands.node_call import ask
from commands.output import PANEL_NODE, JsonFlag, UsageFault, command, emit, emit_line, example, note
from commands.password import PasswordFileOption, read_password_of
from commands.settings import (
    ArchiveOption,
    CheckpointOption,
    ConnectOption,
    ConsentOption,
    DataPasswordOption,
    DeviceOption,
    ListenOption,
    MineOption,
    RpcPortOption,
    with_flags,
)
from commands.show import SHOWN_ACCOUNT, coins, counted, facts, listing, moment, short, size, span
from node.config import Config, read_config

if TYPE_CHECKING:
    from chain.genesis import PosParameters, PowParameters
    from node.client import Client
    from node.rpc.shapes import NodeStatus
    from node.service.service import Running

app = typer.Typer(cls=Group, help="Run a node, and stop it.", no_args_is_help=True)

_STATE_STYLES = {
    "synced": "green",
    "syncing": "yellow",
    "connecting": "yellow",
    "offline": "red",
    "stalled": "red",
    "outdated": "red",
}


def add_to(root: typer.Typer) -> None:
    """Add the group and the commands beside it."""
    bans.add_to(app)
    root.add_typer(app, name="node", rich_help_panel=PANEL_NODE)
    root.command("status", rich_help_panel=PANEL_NODE, epilog=example("fedchain status --home alice"))(status)
    root.command("peers", rich_help_panel=PANEL_NODE, epilog=example("fedchain peers --home alice"))(peers)


# --- running ---------------------------------------------------------------------------------------


@app.command(
    "start",
    epilog=example(
        "fedchain node start --home alice --mine",
        "fedchain node start --home hospital --device patients.csv --consent",
    ),
)
@command
def start(
    home: HomeOption = None,
    mine: MineOption = False,
    device: DeviceOption = None,
    consent: ConsentOption = False,
    connect: ConnectOption = None,
    listen: ListenOption = None,
    rpc_port: RpcPortOption = None,
    checkpoint: CheckpointOption = None,
    archive: ArchiveOption = False,
    password_file: PasswordFileOption = None,
    data_password_file: DataPasswordOption = None,
    record_events: Annotated[
        Path | None,
        typer.Option(
            "--record-events",
            metavar="FILE",
            help="Record every event in this new file, for a replay of the run.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the node of a data directory until SIGTERM or Ctrl-C.

    What the flags say holds for this run in place of config.toml. A device serves the plans that its settings name and
    those it is told of with fedchain device join.
    """
    directory = home_directory(home)
    config = with_flags(
        read_settings(directory),
        mine=mine,
        device=device,
        consent=consent,
        connect=connect,
        listen=listen,
        rpc_port=rpc_port,
        checkpoint=checkpoint,
        archive=archive,
    )
    if device is not None:
        need_consent(config)
    run(directory, config, password_file, record_events, as_json, data_password_file)


def read_settings(home: Path) -> Config:
    """Return the settings of a data directory."""
    from storage.directory import DataDirectory

    return read_config(DataDirectory.find(home).config_file)


def need_consent(config: Config) -> None:
    """Raise ``UsageFault`` if nobody has said that the data's holder agrees."""
    if not config.device.consent:
        raise UsageFault(
            "a device needs its holder's consent: what is learnt from the data is released to everybody, for ever",
            "add --consent, or set consent = true under [device] in config.toml",
        )


def run(
    home: Path,
    config: Config,
    password_file: Path | None,
    record: Path | None,
    as_json: bool,
    data_password_file: Path | None = None,
) -> None:
    """Run a node in this process until it is told to stop; a fault of its own exits with code 1."""
    from commands.data_store import store_opener
    from node.home import NODE_KEY
    from node.service.datastore import SCHEME
    from node.service.home import store_path
    from node.service.process import run_node
    from storage.directory import DataDirectory

    password = read_password_of(DataDirectory.find(home), NODE_KEY, password_file)
    opener = None
    if config.device.data.startswith(SCHEME):
        store = store_path(home, config.device.data)
        opener = store_opener(store, data_password_file, option="--data-password-file")

    def tell(running: "Running") -> None:
        document = {"home": str(home), "rpc": running.url, "listening": running.listening}
        line = f"The node runs; it listens for peers at {running.listening}. Ctrl-C stops it."
        if as_json:
            emit_line(True, document, "")
        else:
            note(line)

    code = run_node(home, config=config, password=password, data_opener=opener, record=record, on_ready=tell)
    if code:
        raise typer.Exit(code)


@app.command("stop", epilog=example("fedchain node stop --home alice"))
@command
def stop(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Stop the node that runs in a data directory."""
    ask(home, lambda node: node.stop())
    emit(as_json, {"stopped": str(home_directory(home))}, "The node stops.")


@app.command("checkpoint", epilog=example("fedchain node checkpoint --home alice"))
@command
def checkpoint(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Print HEIGHT:HASH of the latest final block of a running node, for others who trust it to start from.

    They give it as --checkpoint, or as checkpoint under [sync] in config.toml. Under proof of stake it is the block
    that ended the last epoch: by that one they can tell at once whose votes count.
    """

    async def look(node: "Client") -> tuple[int, str]:
        height = choose_checkpoint((await node.status()).finalized, (await node.genesis()).engine)
        return height, (await node.block(height=height)).id

    height, block = ask(home, look)
    emit(as_json, {"checkpoint": f"{height}:{block}", "height": height, "block": block}, f"{height}:{block}")


def choose_checkpoint(final: int, engine: "PowParameters | PosParameters") -> int:
    """Return the height, up to the final one, at which a checkpoint says most; within the first epoch any will do."""
    blocks = getattr(engine, "epoch_blocks", 1)
    return int(final - final % blocks) or final


# --- asking ----------------------------------------------------------------------------------------


@command
def status(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Show the state of a running node: its place in the chain, its peers, its roles, its coins."""

    async def look(node: "Client") -> tuple["NodeStatus", int | None]:
        from node.client import NotFound

        view = await node.status()
        try:
            return view, (await node.account(view.account)).balance
        except NotFound:  # a light node looks at no more than its device needs
            return view, None

    view, balance = ask(home, look)
    document = as_document(view) | {"balance": balance}
    emit(as_json, document, _status_facts(view, balance))


def as_document(record: object) -> dict[str, Any]:
    """Return a record of the RPC as a JSON object."""
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(record)
    return document


def _status_facts(view: "NodeStatus", balance: int | None) -> RenderableType:
    state = Text(view.state, _STATE_STYLES[view.state])
    if view.state == "syncing":
        eta = "" if view.eta_s is None else f", about {span(view.eta_s)} left"
        state.append(f" {view.height} of {view.target}, {view.rate:.1f} blocks/s{eta}")
    elif view.reason:
        state.append(f": {view.reason}")
    return facts(
        [
            ("state", state),
            ("height", f"{view.height}, final up to {view.finalized}"),
            *_agreement_facts(view),
            ("trusts", view.trust.says),
            *_liar_facts(view),
            ("head", view.head),
            ("head time", moment(view.head_time_ms)),
            ("state root", view.state_root),
            ("network", f"{view.chain_id}, genesis {short(view.genesis)}"),
            ("account", view.account),
            ("balance", None if balance is None else coins(balance)),
            ("roles", ", ".join(view.roles) or "none: follows the chain"),
            ("peers", view.peers),
            ("waiting", f"{view.transactions} transactions, {view.updates} local updates"),
            ("listening", view.listening or None),
            ("up", f"{span(view.uptime_s)}, fedchain {view.version}"),
        ]
    )


def _agreement_facts(view: "NodeStatus") -> list[tuple[str, RenderableType]]:
    """Say where the validators' agreement is and what this node does in it; nothing where there is none."""
    agreement = view.agreement
    if agreement is None:
        return []
    who = counted(agreement.validators, "validator")
    part = Text(agreement.part, "red" if agreement.part in ("refuses", "jailed") else "")
    if agreement.reason:
        part.append(f": {agreement.reason}")
    return [("agreement", f"epoch {agreement.epoch}, view {agreement.view}, {who}"), ("votes", part)]


def _liar_facts(view: "NodeStatus") -> list[tuple[str, RenderableType]]:
    """Say which full nodes lied to this light device, the last first."""
    return [
        ("liar", Text(f"{liar.peer}, {moment(liar.time_ms)}, at height {liar.height}: {liar.reason}", "red"))
        for liar in reversed(view.liars)
    ]


@command
def peers(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """List the nodes that a running node is connected to."""
    views = ask(home, lambda node: node.peers())
    rows = [
        (
            view.peer[:SHOWN_ACCOUNT],
            "out" if view.outbound else "in",
            view.height,
            "–" if view.latency_ms is None else f"{view.latency_ms} ms",
            f"{size(view.bytes_received)} / {size(view.bytes_sent)}",
            view.address,
        )
        for view in views
    ]
    headings = ("peer", "way", "told height", "latency", "in / out", "address")
    table = listing(headings, rows, numbers=("told height", "latency", "in / out"))
    emit(as_json, {"peers": views}, table if rows else "No peers.")
