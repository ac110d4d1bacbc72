"""``fedchain iot``: small devices that never train, and the gateways that they send their readings to."""

import asyncio
import csv
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from chain.wholefile import write_text
from commands.groups import Group
from commands.output import CommandFailed, JsonFlag, UsageFault, command, emit, emit_line, example, note, waiting, warn
from commands.password import PasswordFileOption, read_password
from commands.show import counted, facts, sentence

if TYPE_CHECKING:
    from chain.keys import KeyPair
    from fl.sharing.delivery import Reading
    from fl.sharing.group import SharingGroup

app = typer.Typer(
    cls=Group, help="Small devices that never train, and gateways that take their readings.", no_args_is_help=True
)

GroupArgument = Annotated[
    Path,
    typer.Argument(
        metavar="GROUP.toml", help="The sharing group's file.", exists=True, dir_okay=False, show_default=False
    ),
]
KeyOption = Annotated[
    Path,
    typer.Option(
        "--key",
        metavar="KEY.json",
        help="Whose key: a file of fedchain keys new.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
_SHOWN = 5


@app.command(
    "gateway",
    epilog=example(
        "fedchain iot gateway north.toml --key home/keys/node.json --out home/iot --listen 127.0.0.1:7401",
        "fedchain iot gateway north.toml south.toml --key node.json --out iot --model air.npz",
    ),
)
@command
def gateway(
    groups: Annotated[
        list[Path],
        typer.Argument(
            metavar="GROUP.toml", help="The sharing groups' files.", exists=True, dir_okay=False, show_default=False
        ),
    ],
    key: KeyOption,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where readings and shares are kept.", show_default=False)
    ],
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where small devices and gateways call.")
    ] = "127.0.0.1:7401",
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="MODEL.npz", help="The model to hand out; it may come later.", show_default=False
        ),
    ] = None,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Take readings of small devices, answer for sums, hand out the model, until it is stopped."""
    import structlog

    from node.addresses import split_address
    from node.gateway.door import GatewayDoor
    from node.gateway.store import GatewayStore

    own, members = _load_key(key, password_file), [_read_group(each) for each in groups]
    try:
        host, port = split_address(listen)
    except ValueError as error:
        raise UsageFault(f"--listen: {error}", "say HOST:PORT, such as 127.0.0.1:7401") from None
    for file, member in zip(groups, members, strict=True):
        if member.number_of(own.account) is None:
            raise UsageFault(f"{file}: {key} is none of its gateways", "give the key of a gateway, or name it there")

    async def serve() -> None:
        with ExitStack() as stack:
            stores = []
            for member in members:
                stores.append(GatewayStore(_store_of(out, member), member, own))
                stack.callback(stores[-1].close)
            door = GatewayDoor(own, stores, model, structlog.get_logger("gateway"))
            await door.open(host, port)
            names = [member.name for member in members]
            shown = {"host": host, "port": door.port, "groups": names}
            emit_line(as_json, shown, sentence(f"Listening at {host}:{door.port} for {', '.join(names)}."))
            try:
                await asyncio.Event().wait()
            finally:
                await door.close()

    asyncio.run(serve())


@app.command(
    "stream",
    epilog=example(
        "fedchain iot stream north.toml --key sensor.json readings.csv",
        "read-sensor | fedchain iot stream north.toml --key sensor.json --batch 1 -",
    ),
)
@command
def stream(
    group: GroupArgument,
    readings: Annotated[
        Path,
        typer.Argument(
            metavar="READINGS.csv|-",
            help="A table with a header; - is standard input.",
            dir_okay=False,
            show_default=False,
        ),
    ],
    key: KeyOption,
    time: Annotated[str, typer.Option("--time", metavar="COLUMN", help="The column that says when.")] = "time",
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, max=512, help="Readings that are sent together.")
    ] = 256,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Where the outbox is; else beside the key.", show_default=False),
    ] = None,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", min=0, help="How long a gateway may be away.")
    ] = 60.0,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Send readings to the group's gateways: sealed for the one, or shared among all of them.

    What no gateway has confirmed stays in the outbox and is sent first the next time. Times only rise; readings that
    were sent before are passed over.
    """
    from node.errors import GatewayError
    from node.gateway.client import GatewayClient
    from node.gateway.sender import Outbox

    member, own = _read_group(group), _load_key(key, password_file)
    if own.account not in member.devices:
        raise UsageFault(f"{group}: {key} is none of its devices", "give the key of a device, or name it there")
    box = Outbox(state or key.with_name(f"{key.stem}-{member.id.hex()[:12]}"), member, own)
    table = _Table(member, time, box.label)

    async def send() -> None:
        async with GatewayClient() as client:
            await box.flush(client, patience)
            for some in _batches(table.readings(source), batch):
                box.add(some)
                await box.flush(client, patience)
                show(f"{table.sent:,} readings sent")

    with ExitStack() as stack:
        source = (
            sys.stdin if str(readings) == "-" else stack.enter_context(readings.open(encoding="utf-8-sig", newline=""))
        )
        show = stack.enter_context(waiting("Sending"))
        try:
            asyncio.run(send())
        except GatewayError as error:
            told = (
                "start fedchain iot gateway there; readings wait in the outbox, and the same command sends them first"
            )
            raise CommandFailed(f"{error}", "" if error.is_final else told) from None
    for told in table.faults[:_SHOWN]:
        warn(told)
    shown = {"sent": table.sent, "earlier": table.earlier, "incomplete": table.incomplete, "refused": len(table.faults)}
    emit(as_json, shown, facts([(name, f"{count:,}") for name, count in shown.items()]))


@dataclass(slots=True)
class _Table:
    """Reads a table of readings, and counts what is passed over: sent earlier, incomplete, out of range."""

    group: "SharingGroup"
    time: str
    last: str
    sent: int = 0
    earlier: int = 0
    incomplete: int = 0
    faults: list[str] = field(default_factory=list)

    def readings(self, source: TextIO) -> "Iterator[Reading]":
        """Yield what is to be sent."""
        from fl.errors import DataError
        from fl.sharing.delivery import Reading, is_label
        from fl.sharing.readings import read_number

        table = csv.DictReader(source)
        needed = [self.time, *(column.name for column in self.group.fields)]
        absent = [name for name in needed if name not in (table.fieldnames or ())]
        if absent:
            raise UsageFault(f"the readings have no column {', '.join(absent)}", "name the time's column with --time")
        for row in table:
            label = (row[self.time] or "").strip()
            if label <= self.last:
                self.earlier += 1
                continue
            try:
                if label[:1] not in set("0123456789"):  # after it every date would count as sent before
                    raise DataError(f"the time {label[:40]!r} must begin with a digit: times rise as texts do")
                if not is_label(label):
                    raise DataError(f"{label[:40]!r}: up to 32 letters, digits, blanks and : + . _ - are allowed")
                numbers = tuple(read_number(column, row[column.name] or "") for column in self.group.fields)
            except DataError as error:
                self.faults.append(f"line {table.line_num} is not sent: {error}")
                continue
            if self.group.mode == "shares" and None in numbers:
                self.incomplete += 1
                continue
            self.last, self.sent = label, self.sent + 1
            yield Reading(label, numbers)


def _batches(readings: "Iterator[Reading]", size: int) -> "Iterator[list[Reading]]":
    for first in readings:
        some = [first]
        for following in readings if size > 1 else ():
            some.append(following)
            if len(some) == size:
                break
        yield some


@app.command(
    "collect",
    epilog=example(
        "fedchain iot collect north.toml --key home/keys/node.json --out home/iot --to data/north.csv",
        "fedchain iot collect north.toml --key node.json --out iot --to - --after 2016-11-22",
    ),
)
@command
def collect(
    group: GroupArgument,
    key: KeyOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The gateway's directory.", show_default=False)],
    to: Annotated[
        Path,
        typer.Option(
            "--to", metavar="FILE.csv|-", help="The table to write; - prints it.", show_default=False, dir_okay=False
        ),
    ],
    after: Annotated[
        str, typer.Option("--after", metavar="TIME", help="Write what is of later times alone.", show_default=False)
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Do not wait for devices that have sent nothing as late.")
    ] = False,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write what a gateway may know as a table: the sums that the group reconstructs, or the readings sealed for it.

    Sums become means over the devices that sent. Under shares only the group's first gateway can do this.
    """
    from node.gateway.client import GatewayClient
    from node.gateway.collect import Collected, collect_sums, write_rows, write_sums
    from node.gateway.store import GatewayStore

    member, own = _read_group(group), _load_key(key, password_file)
    if own.account != member.collector:
        raise UsageFault(f"{key} is not the group's collector", "give the key of its first gateway")

    async def ask() -> Collected:
        async with GatewayClient() as client:
            return await collect_sums(member, own, store, client, everything=everything)

    with ExitStack() as stack:
        store = GatewayStore(_store_of(out, member), member, own)
        stack.callback(store.close)
        with waiting("Asking the other gateways"):
            found = asyncio.run(ask()) if member.mode == "shares" else Collected()
        text = write_sums(member, store, after) if member.mode == "shares" else write_rows(member, store, after)
        counts = store.counts()
    if str(to) == "-":
        sys.stdout.write(text)
    else:
        write_text(to, text)
    for fault in found.faults[:_SHOWN]:
        warn(fault)
    rows = text.count("\n") - 1
    shown = {"file": str(to), "rows": rows, "too_few": found.too_few, "faults": found.faults, "devices": counts}
    lines = [("file", to), ("rows", f"{rows:,}"), ("times with too few devices", f"{found.too_few:,}")]
    told = facts([*lines, *((name, counted(count, "reading")) for name, count in counts.items())])
    if str(to) == "-":
        note(told)  # standard output has the table
    else:
        emit(as_json, shown, told)


@app.command("model", epilog=example("fedchain iot model north.toml --to air.npz"))
@command
def model(
    group: GroupArgument,
    to: Annotated[
        Path, typer.Option("--to", metavar="MODEL.npz", help="The file to write.", show_default=False, dir_okay=False)
    ],
    as_json: JsonFlag = False,
) -> None:
    """Fetch the model from one of the group's gateways; fedchain model predict uses it.

    The file is signed by the gateway. To trust none of them, run a light node and use fedchain model export.
    """
    from chain.address import format_account
    from chain.wholefile import whole_file
    from node.errors import GatewayError
    from node.gateway.client import GatewayClient
    from node.gateway.door import MAX_MODEL_BYTES, open_model

    member = _read_group(group)

    async def fetch() -> bytes:
        faults = []
        async with GatewayClient() as client:
            for one in member.gateways:
                try:
                    return await client.get(one.url, "/model", MAX_MODEL_BYTES + 64)
                except GatewayError as error:
                    faults.append(str(error))
        raise GatewayError("\n".join(faults), is_final=False)

    found = open_model(member, asyncio.run(fetch()))
    if found is None:
        raise GatewayError("none of the group's gateways signed this model", is_final=True)
    with whole_file(to) as file:
        file.write(found[1])
    shown = {"file": str(to), "bytes": len(found[1]), "gateway": format_account(found[0])}
    emit(as_json, shown, facts([("file", to), ("bytes", f"{len(found[1]):,}"), ("from", shown["gateway"])]))


@app.command(
    "split-key",
    epilog=example("fedchain iot split-key sensor.json --threshold 2 --to fed1… --to fed1… --to fed1… --out shares"),
)
@command
def split_key(
    key: Annotated[Path, typer.Argument(metavar="KEY.json", exists=True, dir_okay=False, show_default=False)],
    to: Annotated[
        list[str], typer.Option("--to", metavar="ACCOUNT", help="Who keeps a share; once for each.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the shares go.", show_default=False)],
    threshold: Annotated[int, typer.Option("--threshold", metavar="T", help="How many give the key back.")] = 2,
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Split a key into shares, each sealed for who keeps it: so many of them give it back, fewer say nothing."""
    from chain.address import format_account, parse_account
    from chain.sealing import seal
    from fl.sharing.keyshares import split_key as split
    from storage.files import write_file

    own, keepers = _load_key(key, password_file), [parse_account(each) for each in to]
    if len(set(keepers)) != len(keepers):
        raise UsageFault("--to names somebody twice", "who has two shares needs one helper less")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = []
    for keeper, share in zip(keepers, split(own, threshold, len(keepers), os.urandom), strict=True):
        files.append(out / f"{format_account(keeper)}.share")
        write_file(files[-1], seal(share, [keeper], os.urandom(32)))
    shown = {"threshold": threshold, "files": [str(file) for file in files]}
    emit(
        as_json,
        shown,
        *(sentence(str(file)) for file in files),
        sentence(f"Any {threshold} of them give the key back."),
    )


@app.command("open-share", epilog=example("fedchain iot open-share fed1….share --key node.json --to opened.share"))
@command
def open_share(
    share: Annotated[Path, typer.Argument(metavar="FILE.share", exists=True, dir_okay=False, show_default=False)],
    key: KeyOption,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The file for the owner.", show_default=False)],
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Open a share of a key that one keeps, to give it back to the key's owner. Make sure that it is the owner."""
    from chain.address import format_account
    from chain.sealing import unseal
    from fl.errors import ShareError
    from fl.sharing.keyshares import read_key_share
    from storage.files import write_file

    plain = unseal(share.read_bytes(), _load_key(key, password_file))
    read = "it is not sealed for this key" if plain is None else read_key_share(plain)
    if isinstance(read, str) or plain is None:
        raise ShareError(f"{share}: {read}")
    write_file(to, plain)
    owner = format_account(read.account)
    emit(as_json, {"file": str(to), "account": owner, "number": read.number}, facts([("file", to), ("of", owner)]))


@app.command("join-key", epilog=example("fedchain iot join-key ann.share bob.share --to sensor.json"))
@command
def join_key(
    shares: Annotated[list[Path], typer.Argument(metavar="FILE", exists=True, dir_okay=False, show_default=False)],
    to: Annotated[Path, typer.Option("--to", metavar="KEY.json", help="The key's new file.", show_default=False)],
    password_file: PasswordFileOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key again of opened shares. A share that is wrong is named."""
    from chain.address import format_account
    from fl.sharing.keyshares import join_key as join
    from storage.keystore import KeyFiles

    found = join([(str(share), share.read_bytes()) for share in shares])
    password = None if password_file is None else read_password(password_file)
    KeyFiles(to.parent).add(to.stem, found, password)
    account = format_account(found.account)
    emit(as_json, {"file": str(to), "account": account}, facts([("file", to), ("account", account)]))


def _read_group(file: Path) -> "SharingGroup":
    from fl.errors import ShareError
    from fl.sharing.group import read_group

    try:
        return read_group(file.read_text(encoding="utf-8"))
    except (ShareError, UnicodeDecodeError) as error:
        raise ShareError(f"{file}: {error}") from None


def _load_key(file: Path, password_file: Path | None) -> "KeyPair":
    from storage.keystore import KeyFiles

    keys = KeyFiles(file.parent)
    password = None
    if password_file is not None:
        password = read_password(password_file)
    elif keys.find(file.stem).is_encrypted:
        password = str(typer.prompt(f"Password of {file}", hide_input=True, err=True))
    return keys.load(file.stem, password)


def _store_of(out: Path, group: "SharingGroup") -> Path:
    return out / f"{group.id.hex()[:16]}.db"
