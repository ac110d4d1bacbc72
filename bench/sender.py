"""A node that finds enough transfers for full blocks: ``python -m bench.sender HOME SENDERS TRANSFERS EVERY_MS``.

It is the real service over a data directory; beside it a task hands its core that many signed transfers every so many
milliseconds, as if from a peer. It admits them, tells its peers of them, and mines blocks of them.
"""

import asyncio
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from bench.ledger import COINS, FEE, key_of
from chain.genesis import Genesis
from chain.ids import AccountId, Amount
from chain.transaction import SignedTransaction, Transaction, Transfer
from node.config import Config
from node.core.core import NodeCore
from node.events import Event
from node.logs import NodeLog
from node.service.home import OpenHome, open_home, read_settings
from node.service.process import LOG_FILE
from node.service.runner import Runner
from node.service.service import Service, _Parts
from p2p.events import TransactionArrived

PEER: Final = key_of("source of transfers").account
_PIECES: Final = 20
"""The transfers of one span are handed over in so many pieces, evenly: nothing comes in at once in life either."""
_MOST_WAITING: Final = 3
"""So many blocks' worth may wait in the pool; above it nothing is added."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Accounts that send, and how many transfers they send in how many milliseconds."""

    senders: int
    transfers: int
    every_ms: int


def allocations(senders: int) -> dict[AccountId, int]:
    """Return what the genesis must give the senders of transfers."""
    return {key_of(f"sender {number}").account: COINS for number in range(senders)}


class Source:
    """Signs transfers, one from each sender in turn."""

    def __init__(self, genesis: Genesis, senders: int) -> None:
        self._chain_id = genesis.chain_id
        self._keys = [key_of(f"sender {number}") for number in range(senders)]
        self._count = 0

    def sign(self) -> SignedTransaction:
        """Return the next one."""
        turn, number = divmod(self._count, len(self._keys))
        self._count += 1
        key, to = self._keys[number], self._keys[(number * 7919 + 1) % len(self._keys)]
        body = Transfer(to.account, Amount(1))
        return Transaction(1, self._chain_id, key.account, turn, Amount(FEE), body).sign(key)


class FeedingService(Service):
    """The service of a node that hears of new transfers without end; ``feed`` says of how many, and how often."""

    feed: Feed

    async def _live(self, tasks: asyncio.TaskGroup, parts: _Parts) -> None:
        assert isinstance(parts.core, NodeCore)
        source = Source(self._home.genesis, self.feed.senders)
        parts.helpers.append(tasks.create_task(keep_full(parts.core, parts.runner, source, self.feed)))
        await super()._live(tasks, parts)


async def keep_full(core: NodeCore, runner: Runner, source: Source, feed: Feed) -> None:
    """Hand in transfers at their rate, a few at a time, while few enough wait."""
    began, given = time.monotonic(), 0
    while True:
        await asyncio.sleep(feed.every_ms / 1000 / _PIECES)
        due = int((time.monotonic() - began) * 1000 / feed.every_ms * feed.transfers) - given
        given += due
        if len(core.mempool) < _MOST_WAITING * feed.transfers:
            for _ in range(due):
                runner.deliver(cast(Event, TransactionArrived(PEER, source.sign())))
                await asyncio.sleep(0)


async def serve(home: OpenHome, config: Config, log: NodeLog, feed: Feed) -> int:
    """Run the node until it is told to stop."""
    service = FeedingService(home, config, log)
    service.feed = feed
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.stop, "SIGTERM")
    return await service.run()


def main() -> int:
    """Run; return the exit code."""
    path = Path(sys.argv[1])
    feed = Feed(*map(int, sys.argv[2:5]))
    config = read_settings(path)
    sys.setswitchinterval(0.0001)
    with open_home(path) as home, NodeLog(config.log, path / LOG_FILE) as log:
        return asyncio.run(serve(home, config, log, feed))


if __name__ == "__main__":
    sys.exit(main())
