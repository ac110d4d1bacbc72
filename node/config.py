"""``config.toml``: what an operator decides about one node. Nothing here changes what the network agrees on.

Every setting stands once, in the sections below, with its default, what it means and what is allowed; the
file that ``init`` writes, the checks and docs/operating.md come from that table. A file is checked as a whole:
``ConfigError`` names every setting that does not fit, unknown ones with the name that was probably meant.

Rules of this file: no I/O but ``read_config``; values are checked for shape, not against the machine.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, Literal, TypeVar

from fl.errors import Problem
from node.addresses import DEFAULT_PORT, is_host, is_target
from node.core.checkpoint import Checkpoint
from node.core.config import STRICT, WorkConditions
from node.errors import ConfigError

T = TypeVar("T")

DEFAULT_RPC_PORT: Final = 9471
_MIB: Final = 1024 * 1024


# --- what a value may be ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """What a setting may be, in words and as a test."""

    allowed: str
    is_allowed: Callable[[object], bool]


def _whole(low: int, high: int) -> Check:
    return Check(
        f"must be a whole number, {low} … {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def _choice(*names: str) -> Check:
    return Check("must be one of " + ", ".join(f'"{name}"' for name in names), lambda value: value in names)


def _is_list_of(is_item: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(is_item, value))


def _is_plan(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_checkpoint(value: object) -> bool:
    try:
        return isinstance(value, str) and (not value or bool(Checkpoint.parse(value)))
    except ValueError:
        return False


_FLAG: Final = Check("must be true or false", lambda value: isinstance(value, bool))
_HOST: Final = Check("must be an IP address or a host name", is_host)
_PORT: Final = _whole(0, 65535)
_PATH: Final = Check("must be a path in quotes", lambda value: isinstance(value, str) and "\0" not in value)
_CHECKPOINT: Final = Check("must be HEIGHT:HASH, the hash in 64 hex digits, or empty", _is_checkpoint)
_WORK: Final = Check(
    "must be a whole number in quotes, of at most 78 digits",
    lambda value: isinstance(value, str) and re.fullmatch(r"[0-9]{1,78}", value) is not None,
)
_TEXT: Final = Check(
    "must be a text of at most 200 characters", lambda value: isinstance(value, str) and len(value) <= 200
)
_EXECUTOR: Final = Check(
    'must be "threads", "ray" or "ray:ADDRESS"',
    lambda value: isinstance(value, str) and re.fullmatch(r"threads|ray|ray:\S{1,200}", value) is not None,
)
_TARGETS: Final = Check('must be a list of "HOST:PORT" or "ACCOUNT@HOST:PORT"', _is_list_of(is_target))
_PLANS: Final = Check("must be a list of plan ids (64 hex digits each)", _is_list_of(_is_plan))


def _setting(default: T, check: Check, meaning: str) -> T:
    """Return a dataclass field that carries its check and its meaning."""
    return field(default=default, metadata={"check": check, "meaning": meaning})


# --- the settings ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The door for other nodes."""

    host: str = _setting(
        "127.0.0.1",
        _HOST,
        "Where this node listens for other nodes. 127.0.0.1 is this machine alone; 0.0.0.0 or :: is every interface.",
    )
    port: int = _setting(DEFAULT_PORT, _PORT, "0 takes any free port; the one taken is written to rpc.json.")
    connect: tuple[str, ...] = _setting(
        (),
        _TARGETS,
        "Nodes to connect to and to stay connected to, as HOST:PORT; with ACCOUNT@ before it, whoever else answers "
        "there is turned away.",
    )
    seeds: tuple[str, ...] = _setting(
        (), _TARGETS, "Nodes to ask for others, in the same form, where no other known address answers."
    )
    outbound: int = _setting(8, _whole(0, 1000), "Connections that this node keeps open by dialling nodes it heard of.")
    max_inbound: int = _setting(32, _whole(0, 1000), "Connections that it accepts, at most.")
    lan: bool = _setting(
        False,
        _FLAG,
        "Find nodes in the local network, and say there that this one is here. IPv4; nothing is believed of it.",
    )
    exchange_addresses: bool = _setting(True, _FLAG, "Hear of nodes from peers, and tell them of nodes.")
    ban_minutes: int = _setting(
        60, _whole(1, 525_600), "How long a node that broke the protocol, and its host, are not spoken to."
    )


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """The door for programs and people: JSON-RPC, events, metrics."""

    enabled: bool = _setting(True, _FLAG, "Without it the node can't be asked anything.")
    host: str = _setting(
        "127.0.0.1", _HOST, "Keep it on loopback; reach it from elsewhere through a tunnel, it speaks plain HTTP."
    )
    port: int = _setting(DEFAULT_RPC_PORT, _PORT, "0 takes any free port; the one taken is written to rpc.json.")
    hosts: tuple[str, ...] = _setting(
        (),
        Check("must be a list of host names", _is_list_of(is_host)),
        "Host names besides localhost and the address above under which requests are answered.",
    )


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """Building blocks and verifying local updates, for rewards."""

    enabled: bool = _setting(False, _FLAG, "Build and seal blocks.")
    threads: int = _setting(1, _whole(0, 256), "Threads that search for seals, at low priority; 0 = one a processor.")
    max_hashrate: int = _setting(0, _whole(0, 2**53), "Hashes a second at most; 0 = as many as the threads make.")
    register: bool = _setting(True, _FLAG, "Bond coins, once this node has them, to be assigned updates to verify.")
    bond: int = _setting(0, _whole(0, 2**63 - 1), "Coins to bond; 0 = the least that the network's rules ask for.")
    dispute_percent: int = _setting(
        10,
        _whole(0, 100),
        "Of the updates that other miners attested in plans that repeat trainings, repeat so many percent, drawn in "
        "secret, and dispute those that are false, for a share of what is slashed; 0 = none.",
    )
    hold_ms: int = _setting(
        0,
        _whole(0, 60_000),
        "Under proof of stake: hold a block back for so many milliseconds, at most the network's Δ, while it would be "
        "empty or lack updates that a plan's round waits for; 0 = never. For networks whose blocks may follow each "
        "other faster than devices answer.",
    )
    accuse: str = _setting(
        "paid",
        _choice("paid", "always"),
        "Bring evidence against validators that vote twice to the chain if its reward pays for the fee, or always.",
    )


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Training on this machine's private data."""

    data: str = _setting(
        "",
        _PATH,
        "The data file to train on (relative to this directory), store:DIR for a data store, or scheme:rest for a "
        "reader that a program registered; empty = this node is no device.",
    )
    consent: bool = _setting(
        False,
        _FLAG,
        "Whether the data's holder agrees that what is learnt from them is released to everybody, for ever. "
        "Without it nothing is joined or trained.",
    )
    share: bool = _setting(
        False,
        _FLAG,
        "Whether the data's holder agrees that THE ROWS THEMSELVES are published to everybody, for ever, as plans with "
        "verification.replay ask: for public data. Without it such plans are stayed away from.",
    )
    light: bool = _setting(
        False,
        _FLAG,
        "Keep no chain: follow headers, and have what is needed of the state proven by full nodes. Such a node mines "
        "nothing and answers questions about itself alone.",
    )
    statement: str = _setting(
        "",
        _PATH,
        "The file with a registrar's statement about this device (fedchain device vouch), for plans that ask for one.",
    )
    when_idle: Literal["off", "if-known", "required"] = _setting(
        "off",
        _choice(*STRICT),
        "Train only while other programs use at most idle_percent of the processors: not, where that is known, or only "
        "if it is known.",
    )
    idle_percent: int = _setting(
        WorkConditions().idle_percent, _whole(0, 100), "What they may use together while the machine counts as idle."
    )
    on_power: Literal["off", "if-known", "required"] = _setting(
        "off", _choice(*STRICT), "Train only while the machine does not run on its battery, as strictly as above."
    )
    unmetered: Literal["off", "if-known", "required"] = _setting(
        "off", _choice(*STRICT), "Train only while the network connection is not metered, as strictly as above."
    )
    plans: tuple[str, ...] = _setting((), _PLANS, "Plans to serve, besides those named with: fedchain device join")
    any_plan: bool = _setting(False, _FLAG, "Serve every plan that the data fit.")
    role: str = _setting("", _TEXT, "The plan's role to take; empty = the plan's only one.")
    lifetime_budget: int = _setting(
        0,
        _whole(0, 2**63 - 1),
        "Privacy loss over all plans at most, in micro-zCDP (rho x 1000000); 0 = no bound set. A lower one is put on "
        "the chain, where it can't be raised again.",
    )


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """Training for many devices at once, each with a key of its own, derived from the key named fleet."""

    data: str = _setting(
        "",
        _PATH,
        "The fleet file with the devices' rows (relative to this directory); empty = this node hosts no fleet.",
    )
    consent: bool = _setting(
        False,
        _FLAG,
        "Whether the data's holders agree that what is learnt from them is released to everybody, for ever. "
        "Without it nothing is joined or trained.",
    )
    plans: tuple[str, ...] = _setting((), _PLANS, "Plans to serve.")
    any_plan: bool = _setting(False, _FLAG, "Serve every plan that the data fit.")
    role: str = _setting("", _TEXT, "The plan's role to take; empty = the plan's only one.")
    lifetime_budget: int = _setting(
        0, _whole(0, 2**63 - 1), "Each device's privacy loss over all plans at most, in micro-zCDP; 0 = no bound set."
    )
    executor: str = _setting(
        "threads",
        _EXECUTOR,
        "What trains the devices: threads of this process, ray (processes of this machine, by the extra Ray) or "
        "ray:ADDRESS of a cluster. The rows go to its machines: name one that may have them.",
    )


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How this node finds out where everybody is."""

    checkpoint: str = _setting(
        "",
        _CHECKPOINT,
        "A block that you know to be on the chain, HEIGHT:HASH as fedchain node checkpoint prints it on a node that "
        "you trust. A chain without it is refused.",
    )
    state_blocks: int = _setting(
        10_000,
        _whole(0, 2**53),
        "So many blocks behind, take the state after a final block from peers, every piece checked, in place of "
        "executing all blocks before it; 0 = never.",
    )
    minimum_work: str = _setting(
        "0",
        _WORK,
        "Hashes that a chain must have cost (as text, decimal) before its headers are stored: the weight of a chain "
        "you know, say. 0 = what the node's own head weighs.",
    )
    state_networks: int = _setting(
        3,
        _whole(0, 8),
        "Under proof of work, without checkpoint and minimum_work, dialled peers of so many networks must be on the "
        "heaviest chain before a state of it is taken, or after a minute all that are connected; 0 = ask nobody.",
    )
    allow_deep_reorg: bool = _setting(
        False,
        _FLAG,
        "Follow a heavier chain however deep it leaves this one, beyond the genesis' limit. Set it when the network "
        "has agreed that this node stands on the wrong branch, start once, and take it back.",
    )
    serve_state: bool = _setting(True, _FLAG, "Let peers take it from this node.")


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """What is kept of blocks that are final."""

    archive: bool = _setting(False, _FLAG, "Keep everything, for ever.")
    payload_blocks: int = _setting(
        20_000,
        _whole(0, 2**53),
        "Payloads of local updates are kept for so many blocks beyond finality (and while an open task needs them); "
        "0 = for ever.",
    )
    block_blocks: int = _setting(
        0,
        _whole(0, 2**53),
        "Blocks are kept whole for so many blocks beyond finality, then their headers alone; 0 = for ever.",
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What this node lets others take from it."""

    transactions: int = _setting(20_000, _whole(1, 10**7), "Transactions that wait for blocks, at most.")
    transaction_bytes: int = _setting(32 * _MIB, _whole(10**4, 2**40), "Their bytes, at most.")
    updates: int = _setting(8_192, _whole(1, 10**6), "Local updates that wait for blocks, at most.")
    update_bytes: int = _setting(512 * _MIB, _whole(10**4, 2**40), "Bytes of their payloads, at most.")
    write_queue_bytes: int = _setting(
        32 * _MIB, _whole(10**5, 2**32), "Bytes waiting to be sent to one peer; one that reads slower is closed."
    )
    job_threads: int = _setting(
        0, _whole(0, 256), "Threads for training, verification and building; 0 = one a processor."
    )
    rpc_body_bytes: int = _setting(4 * _MIB, _whole(10**4, 2**30), "Longest RPC request; n bytes take 2n as hex.")
    rpc_batch: int = _setting(50, _whole(1, 10_000), "Calls in one RPC batch, at most.")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What the node tells about itself."""

    level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", _choice("debug", "info", "warning", "error"), "The least important lines that are written."
    )
    json: bool = _setting(False, _FLAG, "Write JSON lines to the terminal too (logs/node.log always has them).")
    file_bytes: int = _setting(
        20_000_000, _whole(0, 2**40), "logs/node.log is turned over at this size, three are kept; 0 = never."
    )


@dataclass(frozen=True, slots=True)
class Config:
    """A node's whole configuration."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    rpc: RpcSettings = field(default_factory=RpcSettings)
    mining: MiningSettings = field(default_factory=MiningSettings)
    device: DeviceSettings = field(default_factory=DeviceSettings)
    fleet: FleetSettings = field(default_factory=FleetSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    log: LogSettings = field(default_factory=LogSettings)


_SECTIONS: Final[dict[str, type[Any]]] = {
    "network": NetworkSettings,
    "rpc": RpcSettings,
    "mining": MiningSettings,
    "device": DeviceSettings,
    "fleet": FleetSettings,
    "sync": SyncSettings,
    "storage": StorageSettings,
    "limits": LimitSettings,
    "log": LogSettings,
}


# --- reading ---------------------------------------------------------------------------------------


def parse_config(text: str) -> Config:
    """Return the configuration that TOML text holds; settings left out have their defaults. ``ConfigError``."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(Problem("config.toml", "", f"is not TOML: {error}")) from None
    return make_config(document)


def make_config(document: dict[str, object]) -> Config:
    """Return the configuration for ``{section: {setting: value}}``. ``ConfigError`` with every problem."""
    problems: list[Problem] = []
    sections: dict[str, Any] = {}
    for name, value in document.items():
        kind = _SECTIONS.get(name)
        if kind is None:
            problems.append(Problem(name, "", _unknown("section", name, list(_SECTIONS))))
        elif not isinstance(value, dict):
            problems.append(Problem(name, _shown(value), f"must be a section, [{name}]"))
        else:
            sections[name] = kind(**_checked_section(name, kind, value, problems))
    if problems:
        raise ConfigError(*problems)
    return Config(**sections)


def _checked_section(
    section: str, kind: type[Any], values: dict[str, object], problems: list[Problem]
) -> dict[str, object]:
    checks: dict[str, Check] = {setting.name: setting.metadata["check"] for setting in fields(kind)}
    good: dict[str, object] = {}
    for name, value in values.items():
        check = checks.get(name)
        if check is None:
            names = [f"{other}.{setting.name}" for other, cls in _SECTIONS.items() for setting in fields(cls)]
            problems.append(Problem(f"{section}.{name}", "", _unknown("setting", f"{section}.{name}", names)))
        elif not check.is_allowed(value):
            problems.append(Problem(f"{section}.{name}", _shown(value), check.allowed))
        else:
            good[name] = tuple(value) if isinstance(value, list) else value
    return good


def _unknown(what: str, name: str, known: list[str]) -> str:
    same = [full for full in known if full.partition(".")[2] == name.partition(".")[2] != ""]  # in another section
    close = same or get_close_matches(name, known, n=1)
    return f"there is no such {what}" + (f"; did you mean {close[0]}?" if close else "")


def _shown(value: object) -> str:
    text = to_toml(value) if isinstance(value, bool | int | str | list | tuple) else repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def read_config(path: Path) -> Config:
    """Return the configuration in a file. ``ConfigError`` if it can't be read or does not fit."""
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(Problem(str(path), "", f"can't be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise ConfigError(Problem(str(path), "", "is not UTF-8 text")) from None


# --- writing ---------------------------------------------------------------------------------------


def render_config(config: Config) -> str:
    """Return the TOML text of a configuration, every setting with its meaning; ``parse_config`` reads it back."""
    lines = [
        "# What this node does. Restart it after a change; check the file with: fedchain config check",
    ]
    for name, kind in _SECTIONS.items():
        section = getattr(config, name)
        lines += ["", f"# {kind.__doc__}", f"[{name}]"]
        for setting in fields(kind):
            check: Check = setting.metadata["check"]
            lines += [f"# {line}" for line in wrap(f"{setting.metadata['meaning']} ({check.allowed})", 100)]
            lines.append(f"{setting.name} = {to_toml(getattr(section, setting.name))}")
    return "\n".join(lines) + "\n"


def to_toml(value: object) -> str:
    """Return a setting's value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(
            f"\\{char}" if char in '"\\' else char if char >= " " and char != "\x7f" else f"\\u{ord(char):04x}"
            for char in value
        )
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return str(value)
