"""``node.bans``, ``node.ban``, ``node.unban``, ``node.addresses``: whom a node speaks to, and whom it knows of."""

from typing import Any, Final

from chain.address import format_account, parse_account
from chain.errors import AddressError
from chain.ids import AccountId, Millis
from node.events import BanOrder, UnbanOrder
from node.rpc.doors import NodeDoors
from node.rpc.methods.convert import done
from node.rpc.params import BanParams, UnbanParams
from node.rpc.registry import Method, Nothing
from node.rpc.shapes import AddressesView, BanView, Done


def read_subject(text: str, prefix: str) -> str:
    """Return what the network calls an account (its key's hex digits) or a host (itself)."""
    try:
        return parse_account(text, prefix).hex()
    except AddressError:
        return text


def show_subject(subject: str, prefix: str) -> str:
    """Return what people call a subject of the network's: an account's address, or the host itself."""
    return format_account(AccountId(bytes.fromhex(subject)), prefix) if len(subject) == 64 else subject


async def _bans(doors: NodeDoors, _params: Nothing) -> tuple[BanView, ...]:
    prefix = doors.genesis.prefix
    return tuple(
        BanView(subject=show_subject(ban.subject, prefix), until_ms=ban.until, reason=ban.reason)
        for ban in await doors.bans()
    )


async def _ban(doors: NodeDoors, params: BanParams) -> Done:
    subject = read_subject(params.subject, doors.genesis.prefix)
    span_ms = Millis(params.minutes * 60_000)
    return done(await doors.ask(lambda request: BanOrder(request, subject, span_ms, params.reason)))


async def _unban(doors: NodeDoors, params: UnbanParams) -> Done:
    subject = read_subject(params.subject, doors.genesis.prefix)
    return done(await doors.ask(lambda request: UnbanOrder(request, subject)))


async def _addresses(doors: NodeDoors, _params: Nothing) -> AddressesView:
    tried, new, anchors = await doors.addresses()
    return AddressesView(tried=tried, new=new, anchors=anchors)


PEER_METHODS: Final[list[Method[NodeDoors, Any]]] = [
    Method("node.bans", "Returns whom the node does not speak to, and why.", Nothing, tuple[BanView, ...], _bans),
    Method("node.ban", "Parts with a node or host, and for how long.", BanParams, Done, _ban, guarded=True),
    Method("node.unban", "Lets a node or host back in.", UnbanParams, Done, _unban, guarded=True),
    Method("node.addresses", "Returns what the address book holds.", Nothing, AddressesView, _addresses),
]
