"""Flags that say what config.toml can say, for ``init`` (which writes them) and ``node start`` (for one run)."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from commands.output import UsageFault
from node.addresses import DEFAULT_PORT, is_host, split_address, split_target
from node.config import Config
from node.core.checkpoint import Checkpoint
from node.core.config import Strictness

ConnectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--connect",
        metavar="[ACCOUNT@]HOST:PORT",
        help="A node to connect to; with an account, no other will do. Can be repeated.",
        show_default=False,
    ),
]
ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help=f"Where to listen for other nodes; 0.0.0.0:{DEFAULT_PORT} is every interface, port 0 any free port.",
        show_default=False,
    ),
]
RpcPortOption = Annotated[
    int | None,
    typer.Option(
        "--rpc-port", metavar="PORT", min=0, max=65535, help="Port of the RPC; 0 is any free port.", show_default=False
    ),
]
MineOption = Annotated[
    bool,
    typer.Option("--mine", metavar="", help="Build and seal blocks, for rewards."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="DATA", help="The data file to train on: makes the node a device.", show_default=False
    ),
]
ConsentOption = Annotated[
    bool,
    typer.Option(
        "--consent",
        metavar="",
        help="The data's holder agrees that what is learnt from them is released to everybody, for ever.",
    ),
]

WhenIdleOption = Annotated[
    Strictness | None,
    typer.Option("--when-idle", help="Train only while other programs rest.", show_default=False),
]
OnPowerOption = Annotated[
    Strictness | None,
    typer.Option("--on-power", help="Train only while the machine does not run on its battery.", show_default=False),
]
UnmeteredOption = Annotated[
    Strictness | None,
    typer.Option("--unmetered", help="Train only while the network is not metered.", show_default=False),
]
DataPasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--data-password-file",
        metavar="FILE",
        help="A file whose first line is the password of the data store store:DIR.",
        show_default=False,
    ),
]

CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="HEIGHT:HASH",
        help="A block you know to be on the chain (fedchain node checkpoint); a chain without it is refused.",
        show_default=False,
    ),
]
ArchiveOption = Annotated[
    bool,
    typer.Option("--archive", metavar="", help="Keep every block, payload and undo for ever."),
]


def with_flags(
    config: Config,
    *,
    connect: list[str] | None = None,
    listen: str | None = None,
    rpc_port: int | None = None,
    mine: bool = False,
    device: str | None = None,
    consent: bool = False,
    plans: tuple[str, ...] = (),
    any_plan: bool = False,
    role: str | None = None,
    light: bool = False,
    checkpoint: str | None = None,
    archive: bool = False,
    when_idle: Strictness | None = None,
    on_power: Strictness | None = None,
    unmetered: Strictness | None = None,
    statement: Path | None = None,
) -> Config:
    """Return the settings with those that flags name in place of the file's. ``UsageFault`` if a flag does not fit."""
    network, rpc, mining, holder = config.network, config.rpc, config.mining, config.device
    if connect:
        for address in connect:
            _check_target("--connect", address)
        network = replace(network, connect=tuple(connect))
    if listen is not None:
        host, port = _listening(listen)
        network = replace(network, host=host, port=port)
    if rpc_port is not None:
        rpc = replace(rpc, port=rpc_port)
    if mine:
        mining = replace(mining, enabled=True)
    if device is not None:
        holder = replace(holder, data=_absolute(device))
    if consent:
        holder = replace(holder, consent=True)
    if plans or any_plan:
        holder = replace(holder, plans=plans, any_plan=any_plan)
    if role is not None:
        holder = replace(holder, role=role)
    if statement is not None:
        holder = replace(holder, statement=str(statement.resolve()))
    if when_idle is not None:
        holder = replace(holder, when_idle=when_idle)
    if on_power is not None:
        holder = replace(holder, on_power=on_power)
    if unmetered is not None:
        holder = replace(holder, unmetered=unmetered)
    if light:
        holder = replace(holder, light=True)
    sync, storage = config.sync, config.storage
    if checkpoint is not None:
        try:
            sync = replace(sync, checkpoint=str(Checkpoint.parse(checkpoint)))
        except ValueError as error:
            raise UsageFault(f"--checkpoint {error}") from None
    if archive:
        storage = replace(storage, archive=True)
    return replace(config, network=network, rpc=rpc, mining=mining, device=holder, sync=sync, storage=storage)


def _check_address(flag: str, address: str) -> None:
    try:
        split_address(address)
    except ValueError as error:
        raise UsageFault(f"{flag} {error}") from None


def _check_target(flag: str, target: str) -> None:
    try:
        split_target(target)
    except ValueError as error:
        raise UsageFault(f"{flag} {error}") from None


def _listening(text: str) -> tuple[str, int]:
    """Return host and port to listen on; port 0 is allowed here, and nowhere to connect to."""
    host, _, port = text.rpartition(":")
    if port == "0" and is_host(host.strip("[]")):
        return host.strip("[]"), 0
    _check_address("--listen", text)
    return split_address(text)


def _absolute(data: str) -> str:
    """Return a data file's absolute path (config.toml's are relative to the home); ``scheme:rest`` stays."""
    if data.startswith("store:"):
        return "store:" + str(Path(data.removeprefix("store:")).expanduser().resolve())
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() or ":" not in data else data
