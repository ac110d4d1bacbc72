"""How much a core holds: every container in its memory has a name here, and a cap.

A stranger who can make one list grow without end takes the machine's memory. So a core is searched for all it holds,
part by part, and each container is compared with what the program says is the most that it may hold: the constants
of the part it is in, the node's settings, or what honest work has paid for (headers that were sealed, plans whose
coins are in escrow). A container without a cap here is a fault itself: nobody has thought about its end.

Rules of this file: it reads and never touches. What is on disk (stores and journals) is not memory and is left out, and
so are values: messages, headers, transactions have their limits where they are decoded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import msgspec

from chain.genesis import PosParameters
from consensus.headernode import Node
from consensus.headertree import KEPT_BELOW_FINAL
from consensus.pos import inbox, live, sets, views
from consensus.state import get_plan_count
from consensus.waiting import MAX_WAITING
from node.core import earlyheaders, headstates, intake, presync, teller, waymarks
from node.core.core import NodeCore
from node.roles import replayer
from p2p import limits
from p2p.access import NetworkConfig
from p2p.inventory import Inventory
from p2p.limits import CLASSES, MessageClass
from p2p.ratelimit import TokenBucket
from p2p.recent import RecentSet
from p2p.sendqueue import SendQueue
from p2p.session import Session

_ROOMS: Final = ("node.", "p2p.", "consensus.")
_APART: Final = ("node.simulator.", "node.jobs.")
"""The simulator's disks, and jobs, which end."""
_HEADERS_A_BLOCK: Final = 4
"""Headers sealed for one height or view on average, where less than a third of the power lies: each cost work or a
turn to lead."""
_FEW: Final = 64
_FIXED: Final = 256
"""For what is filled once, when the core is made."""
_QUEUED_BYTES: Final = sum(each.queue_bytes + each.answer_bytes for each in CLASSES.values())
"""Of each class its queue and one frame, which is always taken."""
_BUCKETS: Final = limits.NEW_BUCKETS + limits.TRIED_BUCKETS


@dataclass(frozen=True, slots=True)
class Facts:
    """What caps depend on: connections, blocks that headers are held of, plans, validators, what pools may hold, runs
    of headers below the checkpoint."""

    callers: int
    peers: int
    blocks: int
    plans: int
    members: int
    pooled: int
    updates: int
    runs: int

    @property
    def headers(self) -> int:
        """Headers in memory at most."""
        return _HEADERS_A_BLOCK * self.blocks + _FEW

    @property
    def fetches(self) -> int:
        """Items being fetched at most: offered by peers, wanted by the core, or with it for a verdict."""
        offered = 2 * self.peers * (limits.MAX_OFFERS + limits.TRANSACTIONS_IN_FLIGHT)
        return offered + self.payloads + 512 + limits.MAX_DELIVERED

    @property
    def payloads(self) -> int:
        """Payloads wanted at most: of updates in the pool, of blocks on the way, of open plans."""
        return self.updates + self.headers + self.plans + 256


def get_facts(core: NodeCore, network: NetworkConfig) -> Facts:
    """Return what a core's caps depend on."""
    tree, pools = core.chain.tree, core.config.pools
    floor = max(0, core.finalized() - KEPT_BELOW_FINAL)
    peers = network.max_inbound + network.outbound + len(network.connect) + limits.MAX_DIALS
    engine = core.world.genesis.engine
    return Facts(
        callers=peers + limits.MAX_HALF_OPEN,
        peers=peers,
        blocks=max(tree.height(tree.best()), core.chain.height) - floor + 1,
        plans=get_plan_count(core.chain.view) + _FEW,
        members=engine.max_validators if isinstance(engine, PosParameters) else 0,
        pooled=pools.transactions + pools.free_transactions,
        updates=pools.updates,
        runs=(0 if core.config.checkpoint is None else core.config.checkpoint.height) // waymarks.RUN + 1,
    )


Cap: TypeAlias = int | Callable[[Facts], int]


def _peers(facts: Facts) -> int:
    return facts.peers


def _callers(facts: Facts) -> int:
    return facts.callers


def _headers(facts: Facts) -> int:
    return facts.headers


def _plans(facts: Facts) -> int:
    return facts.plans


def _pooled(facts: Facts) -> int:
    return facts.pooled


def _updates(facts: Facts) -> int:
    return facts.updates


def _fetches(facts: Facts) -> int:
    return facts.fetches


def _payloads(facts: Facts) -> int:
    return facts.payloads


def _views_kept(facts: Facts) -> int:
    """Return how many views' votes and proposals are kept: those behind, those whose blocks count, and what is next."""
    return live.BEHIND + views.KEPT_VIEWS


def _ballots(facts: Facts) -> int:
    return 3 * facts.members


CAPS: Final[dict[str, Cap]] = {
    # connections
    "Links.sessions": _callers,
    "Links.ready": _peers,
    "Links.on_up": _FIXED,
    "Links.on_down": _FIXED,
    "Links.on_closed": _FIXED,
    "Links._outputs": 0,
    "Links._unsent": _callers,
    "Liveness._pinged": _callers,
    "Gossip._pending": _peers,
    "_Pending.transactions": limits.MAX_PENDING_ANNOUNCEMENTS,
    "Gossip._ignored": limits.MAX_IGNORED,
    "EngineGossip._heard": limits.MAX_ENGINE_HEARD,
    "Session.known": limits.MAX_KNOWN,
    "Session.owed": len(MessageClass),
    "Session.owed[]": limits.TRANSACTIONS_IN_FLIGHT + limits.BODIES_OWED,
    "Session._sizes": limits.BUNDLED_BYTES_IN_FLIGHT // limits.LEAST_BUNDLED_BYTES + 1,
    "SendQueue._bytes": len(MessageClass),
    "SendQueue._frames": len(MessageClass),
    "SendQueue._frames[]": max(each.queue_frames for each in CLASSES.values()),
    "Budget._rates": len(limits.RATES),
    "Debts._left": limits.MAX_DEBTS,
    "Debts._left[]": limits.MAX_DEBTS_PER_SITE,
    "FairShare._asked_at": _peers,
    "Stalls._progress": lambda facts: 4 * facts.peers,
    "Windows._windows": _peers,
    "Windows._windows[]": 4,
    "SnapshotExchange._asked": lambda facts: limits.PARTS_IN_FLIGHT * facts.peers,
    "HeaderSync._locators": _peers,
    "HeaderSync._set_aside": _peers,
    "HeaderSync._trials": _peers,
    "HeaderTrial._noted": presync.MAX_RUNS,
    "HeaderTrial._buffer": 4 * presync.RUN + limits.MAX_HEADERS,
    "HeaderTrial._beside": 4 * presync.RUN + limits.MAX_HEADERS,
    "Window._headers": 1024,
    "Window._ids": 1024,
    "EpochSync._fruitless": _peers,
    "Bans._bans": limits.MAX_BANS,
    "Bans._points": limits.MAX_BANS,
    "PeerNetwork._handlers": _FIXED,
    # addresses
    "AddressBook._entries": _BUCKETS * limits.BUCKET_SIZE,
    "AddressBook._contests": limits.MAX_CONTESTS,
    "Table._buckets": max(limits.NEW_BUCKETS, limits.TRIED_BUCKETS),
    "Table._buckets[]": limits.BUCKET_SIZE,
    "Dialer._anchors": limits.ANCHORS,
    "Dialer._backoffs": limits.MAX_BACKOFFS,
    "Dialer._connected": _callers,
    "Dialer._dialling": lambda facts: limits.MAX_DIALS + facts.peers,
    "Dialer._ours": limits.MAX_BACKOFFS,
    "Dialer._peer_at": limits.MAX_BACKOFFS,
    "Dialer._pins": _FIXED,
    "Dialer._seeds": _FIXED,
    "Dialer.kept": _FIXED,
    # what is fetched and served
    "Inventory._delivered": limits.MAX_DELIVERED,
    "Inventory._named": limits.MAX_DELIVERED,
    "Inventory._named[]": limits.MAX_DELIVERED,
    "Inventory._fetches": _fetches,
    "Inventory._parked": _fetches,
    "Inventory._in_flight": _fetches,
    "Inventory._flights_of": lambda facts: 4 * facts.peers,
    "Inventory._flights_of[]": limits.TRANSACTIONS_IN_FLIGHT,
    "Inventory.offers": _peers,
    "Inventory.offers[]": 4,
    "Inventory.offers[][]": lambda facts: limits.MAX_OFFERS + facts.payloads,
    "Inventory.stirred": _peers,
    "Fetch.sources": _peers,
    "Fetch.failed": _peers,
    "Fetch.other_sizes": limits.MAX_SIZES,
    "Fetch.misfits": lambda facts: facts.peers * (limits.MAX_SIZES + 1),
    "Assembly._chunks": limits.PAYLOAD_BYTES_IN_FLIGHT // limits.CHUNK_BYTES,
    "Assembly._givers": limits.PAYLOAD_BYTES_IN_FLIGHT // limits.CHUNK_BYTES,
    "SmallBodies._held": _peers,
    "Relays._quiet": _peers,
    "Relays._recalled": _peers,
    "Relays._tellers": _peers,
    "Relays._last_tellers": _peers,
    "NodeCore._awaiting": _FIXED,
    "Server._payloads": limits.SERVED_PAYLOAD_BYTES // limits.LEAST_BUNDLED_BYTES + 1,
    "Inventory.payload_bytes": 2 * limits.PAYLOAD_BYTES_IN_FLIGHT,
    "SendQueue.waiting_bytes": _QUEUED_BYTES,
    "Session.buffered_bytes": _QUEUED_BYTES + max(each.answer_bytes for each in CLASSES.values()) + limits.KIB,
    "HeadStates._held": headstates.HELD,
    "SnapshotDesk._held": 6,
    "RewoundState._changes": 32 * limits.MIB // _FEW,
    "RewoundState._order": 32 * limits.MIB // _FEW,
    # headers and blocks
    "HeaderTree._nodes": _headers,
    "HeaderTree._recent": _FIXED,
    "Frontier._tips": _headers,
    "ForkChoice._aside": _headers,
    "WaitingHeaders._entries": MAX_WAITING,
    "WaitingHeaders._waiters": 3 * MAX_WAITING,
    "WaitingHeaders._waiters[]": MAX_WAITING,
    "OtherRules._kept": _FIXED,
    "OtherRules._makers": _FIXED,
    "Lineages._known": _FIXED,
    "Importer._wanted": 256 + 8 * 16,
    "Importer._held": _FIXED,
    "Importer._mending": _plans,
    "Importer._likely": 1,
    "Completeness._lacking": _headers,
    "Completeness._lacking[]": _payloads,
    "Completeness._needed_by": _payloads,
    "Completeness._needed_by[]": _headers,
    "PayloadWants._needers": _payloads,
    "PayloadWants._needers[]": _payloads,
    "PayloadWants._needs": _payloads,
    "PayloadWants._needs[]": _payloads,
    "Monitor._moves": 1024,
    "Pruner._noted": lambda facts: facts.blocks + _FEW,
    "Waymarks._notes": lambda facts: facts.runs,
    "Waymarks._ahead": lambda facts: facts.runs,
    "LinkTrial._notes": lambda facts: facts.runs,
    # a state that is fetched
    "StateSync._offers": _peers,
    "StateSync._crumbs": _peers,
    "StateSync._resting": _peers,
    "StateSync._done": 1 << 16,
    "StateSync._pending": 1 << 16,
    "StateSync._flying": lambda facts: limits.PARTS_IN_FLIGHT * facts.peers,
    "StateSync._checking": lambda facts: limits.PARTS_IN_FLIGHT * facts.peers,
    "StateSync._unfinished": lambda facts: 16 + limits.PARTS_IN_FLIGHT * facts.peers,
    "LargeValue._slices": 1024,
    # transactions and updates
    "Mempool._entries": _pooled,
    "Mempool._senders": _pooled,
    "Sender.by_nonce": 64,
    "Shares._shares": lambda facts: facts.peers + 2,
    "Shares._ends": lambda facts: facts.peers + 2,
    "Shares._ends[]": lambda facts: 4 * facts.pooled + 64,
    "Intake._rows": _peers,
    "Intake._rows[]": intake.ROW_TRANSACTIONS,
    "Intake._bytes": _peers,
    "Intake._turns": _peers,
    "KeptTransactions._kept": lambda facts: facts.pooled + 256 + 4096 * facts.blocks,
    "RefusedItems._ids": 4096,
    "WaitingRoom._waiting": 256,
    "UpdatePool._entries": _updates,
    "UpdatePool._by_task": _updates,
    "UpdatePool._by_task[]": _updates,
    "UpdatePool._by_payload[]": _updates,
    "UpdatePool._by_payload": _updates,
    "PooledUpdate.attestations": 64,
    "UpdateDesk._early": _updates,
    "Awaited._plans": 256,
    "UpdateDesk._queue": _updates,
    "UpdateDesk._own": _updates,
    "UpdateDesk._own_queue": _updates,
    "UpdateDesk._later": _updates,
    "UpdateDesk._lacking": _updates,
    "SignatureCache._good": 65_536,
    "GoodContents._good": 32_768,
    "KnownOutcomes._known": 4,
    "KnownGatherings._known": 4,
    "JobTable._running": 24,
    # the agreement
    "AgreementDesk._handlers": _FIXED,
    "AgreementDesk._timers": 16,
    "AgreementDesk._due": 0,
    "Repeats._due": 0,
    "Agreement._out": 0,
    "Teller._waiting": teller.MAX_WAITING,
    "EarlyHeaders._taken": 16_384,
    "EarlyHeaders._taken[]": earlyheaders.MAX_SIBLINGS,
    "EarlyHeaders._waiting": earlyheaders.MAX_EARLY,
    "EarlyMessages._messages": inbox.MAX_EARLY,
    "OwnReports._votes": inbox.MAX_REPORTS,
    "Epochs._last_views": 1,
    "Grace._peers": _peers,
    "LiveEpoch.casts": _views_kept,
    "Proposals._slots": _views_kept,
    "Proposals.blocks": lambda facts: 2 * _views_kept(facts) + 2,
    "Proposals.pending": lambda facts: 2 * _views_kept(facts),
    "Spans._spans": 2 * views.KEPT_VIEWS,
    "ValidatorSets._sets": sets.MAX_EPOCHS,
    "Views._notarized": views.KEPT_VIEWS,
    "Views._nullified": views.KEPT_VIEWS,
    "VotePool._views": _views_kept,
    "_Ballots.votes": _ballots,
    "_Ballots.power": _ballots,
    "_Ballots.accused": lambda facts: facts.members,
    # roles
    "Replayer._verdicts": replayer.MAX_VERDICTS,
    "Replayer._wanted": replayer.MAX_WANTED,
    "Replayer._jobs": 16,
    "Device._committed": _plans,
    "Device._failed": _plans,
    "Device._roles": _plans,
    "Device._sent": _plans,
    "Device._standings": _plans,
    "FairShares.finished": _plans,
    "Owner._declined": _plans,
    "Owner._jobs": _plans,
    "Routes._handlers": _FIXED,
    "Routes._handlers[]": _FIXED,
    "Routes._jobs": _FIXED,
}
"""The most that each container may hold, by its class and attribute; ``[]``: one of the containers in it."""

# --- the search ------------------------------------------------------------------------------------


def measure(core: NodeCore) -> dict[str, int]:
    """Return the size of the largest container of each name that a core holds."""
    sizes: dict[str, int] = {}
    for name, size in _search(core):
        if size > sizes.get(name, -1):
            sizes[name] = size
    return sizes


def find_excess(core: NodeCore, network: NetworkConfig) -> list[str]:
    """Return what is larger than it may be; nothing, if all is well."""
    facts, faults = get_facts(core, network), list[str]()
    for name, size in measure(core).items():
        cap = CAPS.get(name, size)
        most = cap(facts) if callable(cap) else cap
        if size > most:
            faults.append(f"{name} holds {size}, of {most} at most")
    return faults


def find_uncapped(core: NodeCore) -> list[str]:
    """Return the containers of which nobody has said how large they may become."""
    return sorted(set(measure(core)) - set(CAPS))


def _search(core: NodeCore) -> Iterator[tuple[str, int]]:
    """Yield the name and size of every container that is reached from a core."""
    seen: set[int] = set()
    waiting: list[object] = [core]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, SendQueue | Inventory | Session):
            yield from _weigh(part)
        for attribute in _attributes(part):
            value = getattr(part, attribute, None)
            if isinstance(value, _CONTAINERS):
                yield from _enter(f"{type(part).__name__}.{attribute}", value, waiting)
            elif _is_part(value):
                waiting.append(value)


_CONTAINERS: Final = (dict, list, set, deque, RecentSet)


def _enter(name: str, value: object, waiting: list[object]) -> Iterator[tuple[str, int]]:
    """Yield the size of a container and of those in it; note the parts in it. What is in one is of one kind."""
    assert isinstance(value, _CONTAINERS)
    yield name, len(value)
    if isinstance(value, RecentSet) or not value:
        return
    groups = [list(value.keys()), list(value.values())] if isinstance(value, dict) else [list(value)]
    for group in groups:
        first: object = group[0]
        if isinstance(first, _CONTAINERS):
            for inner in group:
                yield from _enter(f"{name}[]", inner, waiting)
        elif isinstance(first, tuple):
            waiting += [each for pair in group for each in pair if _is_part(each)]
        elif _is_part(first):
            waiting += group


def _weigh(part: SendQueue | Inventory | Session) -> Iterator[tuple[str, int]]:
    """Yield what is limited by bytes."""
    if isinstance(part, SendQueue):
        yield "SendQueue.waiting_bytes", part.waiting_bytes
    elif isinstance(part, Session):
        yield "Session.buffered_bytes", part.buffered_bytes
    else:
        yield "Inventory.payload_bytes", part.payload_bytes


class _Kinds(dict[type, tuple[bool, tuple[str, ...]]]):
    """Of each class seen: is it a part of the program, not a value or on disk? And which slots has it?"""

    def __missing__(self, kind: type) -> tuple[bool, tuple[str, ...]]:
        is_ours = kind.__module__.startswith(_ROOMS) and not kind.__module__.startswith(_APART)
        is_value = issubclass(kind, msgspec.Struct | type | BaseException | Node | TokenBucket)
        slots = [getattr(base, "__slots__", ()) for base in kind.__mro__]
        names = chain.from_iterable((each,) if isinstance(each, str) else each for each in slots)
        found = self[kind] = is_ours and not is_value, tuple(dict.fromkeys(names))
        return found


_KINDS: Final = _Kinds()


def _is_part(value: object) -> bool:
    return _KINDS[type(value)][0]


def _attributes(part: object) -> Iterable[str]:
    return (*_KINDS[type(part)][1], *getattr(part, "__dict__", ()))
