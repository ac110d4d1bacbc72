"""What a fleet's chain says when its processes have stopped: read from the fleet node's own store, block by block.

Nothing is taken from the program's bookkeeping that the chain can say: updates, rounds, rewards, bytes.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from chain.codec import encode
from chain.ids import Hash, Height
from consensus.queries import get_history
from consensus.state import get_account, get_plan
from node.fleet.hosted import FleetFile
from node.fleet.keys import FLEET_KEY, device_key
from node.service.home import first_data
from storage.directory import DataDirectory

_BLOCK_BYTES: Final = 512
"""st_blocks counts in these."""


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What a chain holds of a fleet's plan.

    ``bytes`` of bodies; ``update_bytes`` of the updates in them and ``payload_bytes`` of the payloads these name.
    ``losses`` by round, of the model that it started from. ``paid`` counts devices with coins, ``rewards`` adds up what
    the rounds gave them.
    """

    blocks: int
    transactions: int
    updates: int
    bytes: int
    update_bytes: int
    payload_bytes: int
    largest_block_updates: int
    rounds: int
    settled: int
    refused: int
    attempts: int
    losses: tuple[float, ...]
    round_ms: tuple[int, ...]
    status: str
    paid: int
    rewards: int
    coins_of_devices: int


def read_facts(home: Path, data: Path, plan: Hash) -> ChainFacts:
    """Return what the chain in a stopped fleet node's home says of a plan."""
    directory = DataDirectory.find(home)
    secret = directory.keystore().load(FLEET_KEY)
    accounts = [device_key(secret, name).account for name in FleetFile(data).names()]
    with directory.lock() as lock:
        store = directory.open_chain(lock, first_data(directory.genesis()))
        try:
            counts = [0] * 6
            for height in range(1, store.height() + 1):
                id = store.block_id_at(Height(height))
                body = None if id is None else store.body(id)
                if body is None:
                    continue
                counts[0] += len(body.transactions)
                counts[1] += len(body.updates)
                counts[2] += len(encode(body))
                counts[3] += sum(len(encode(update)) for update in body.updates)
                counts[4] += sum(update.update.release.payload.size for update in body.updates)
                counts[5] = max(counts[5], len(body.updates))
            with store.view() as view:
                history, entry = get_history(view, plan), get_plan(view, plan)
                balances = [get_account(view, account).balance for account in accounts]
            times = [record.time_ms for record in history]
            unit = 2.0**-28
            return ChainFacts(
                blocks=store.height(),
                transactions=counts[0],
                updates=counts[1],
                bytes=counts[2],
                update_bytes=counts[3],
                payload_bytes=counts[4],
                largest_block_updates=counts[5],
                rounds=len(history),
                settled=sum(len(record.devices) for record in history),
                refused=sum(len(record.refused) for record in history),
                attempts=sum(record.attempts for record in history),
                losses=tuple([record.loss * unit for record in history if record.loss is not None]),
                round_ms=tuple([late - early for early, late in pairwise(times)]),
                status="unknown" if entry is None else entry.status,
                paid=sum(balance > 0 for balance in balances),
                rewards=sum(report.reward for record in history for report in record.devices),
                coins_of_devices=sum(balances),
            )
        finally:
            store.close()


def stored_bytes(home: Path) -> dict[str, int]:
    """Return what a node's chain, payloads and journals take on disk, in bytes."""
    return {part: _size(home / part) for part in ("chain", "payloads", "journal")}


def _size(path: Path) -> int:
    return sum(_BLOCK_BYTES * file.stat().st_blocks for file in path.rglob("*") if file.is_file())
