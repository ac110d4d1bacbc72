"""What a run came to, as one document: agreement, updates, scores, money, time, memory.

Agreement is asked of every node; nothing is taken from the program's own bookkeeping that the chain can say.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from chain.genesis import Genesis
from consensus.first import count_first_coins
from node.client import Client
from node.localnet.watch import Watched
from node.rpc.shapes import BlockView, HistoryView, NodeStatus, SupplyView

QUIET_SECONDS: Final = 1.0
"""How long all heads must have been the same before nodes are taken to agree."""


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """The chain as the nodes tell it at the end of a run, in the order of the nodes."""

    statuses: tuple[NodeStatus, ...]
    model_digests: tuple[str, ...]
    supplies: tuple[SupplyView, ...]
    blocks: tuple[BlockView, ...]
    history: HistoryView
    status: str

    @property
    def agreed(self) -> bool:
        """Do all nodes have the same head, state root and model?"""
        return (
            len({status.head for status in self.statuses}) == 1
            and len({status.state_root for status in self.statuses}) == 1
            and len(set(self.model_digests)) == 1
        )


async def read_chain(nodes: Sequence[Watched], plan: str) -> ChainRecord:
    """Return what all nodes say; the first one answers for the blocks and the history."""
    first = nodes[0].client
    statuses = await asyncio.gather(*(node.client.status() for node in nodes))
    supplies = await asyncio.gather(*(node.client.supply() for node in nodes))
    models = await asyncio.gather(*(node.client.get_model(plan) for node in nodes))
    blocks = [await first.block(height=height) for height in range(1, statuses[0].height + 1)]
    return ChainRecord(
        statuses=tuple(statuses),
        model_digests=tuple(model.digest.hex() for model in models),
        supplies=tuple(supplies),
        blocks=tuple(blocks),
        history=await first.history(plan),
        status=(await first.plan(plan)).standing.status,
    )


async def wait_for_agreement(nodes: Sequence[Watched], timeout_s: float) -> bool:
    """Wait until all nodes have had the same head for a while; say whether they came to it in time.

    A block sealed just before the miners were paused may still be on its way when all heads are first the same.
    """
    clock = asyncio.get_running_loop().time
    deadline, agreed, since = clock() + timeout_s, "", clock()
    while clock() < deadline:
        heads = set(await asyncio.gather(*(_head(node.client) for node in nodes)))
        head = heads.pop() if len(heads) == 1 else ""
        if head != agreed:
            agreed, since = head, clock()
        elif head and clock() - since >= QUIET_SECONDS:
            return True
        await asyncio.sleep(0.1)
    return False


async def _head(client: Client) -> str:
    return (await client.status()).head


def is_supply_conserved(genesis: Genesis, supplies: Sequence[SupplyView]) -> bool:
    """Is what exists just the first coins and the subsidies, and does every coin stand somewhere, on every node?"""
    first = count_first_coins(genesis)
    for supply in supplies:
        subsidies = sum(genesis.rules_at(height).subsidy_at(height) for height in range(1, supply.height + 1))
        if supply.minted != first + subsidies:
            return False
        if supply.minted != supply.circulating + supply.escrowed + supply.bonded:
            return False
    return True


def chain_part(record: ChainRecord, names: dict[str, str], genesis: Genesis) -> dict[str, Any]:
    """Return the part of the summary that the chain tells. ``names`` maps accounts to the nodes' names."""
    first = record.statuses[0]
    included = sum(len(block.updates or ()) for block in record.blocks)
    refused = [
        {"round": settled.round, "device": _name(names, entry["device"]), "reason": entry["reason"]}
        for settled in record.history.rounds
        for entry in settled.refused
    ]
    return {
        "rounds": len(record.history.rounds),
        "blocks": first.height,
        "finalized": first.finalized,
        "head": first.head,
        "state_root": first.state_root,
        "model_digest": record.model_digests[0],
        "agreed": record.agreed,
        "plan_status": record.status,
        "updates_accepted": included - len(refused),
        "updates_refused": len(refused),
        "refusals": refused,
        "losses": [settled.loss for settled in record.history.rounds if settled.loss is not None],
        "rewards": _rewards(record, names, genesis),
        "contributions": _contributions(record, names),
        "computation_ms": _computation_times(record, names),
        "supply": {
            "minted": record.supplies[0].minted,
            "circulating": record.supplies[0].circulating,
            "escrowed": record.supplies[0].escrowed,
            "bonded": record.supplies[0].bonded,
        },
        "supply_conserved": is_supply_conserved(genesis, record.supplies),
    }


def _name(names: dict[str, str], account: str) -> str:
    return names.get(account, account)


def _rewards(record: ChainRecord, names: dict[str, str], genesis: Genesis) -> dict[str, dict[str, int]]:
    devices: dict[str, int] = {}
    verification: dict[str, int] = {}
    blocks: dict[str, int] = {}
    for settled in record.history.rounds:
        for entry in settled.devices:
            name = _name(names, entry["device"])
            devices[name] = devices.get(name, 0) + entry["reward"]
        for entry in settled.miners:
            name = _name(names, entry["miner"])
            verification[name] = verification.get(name, 0) + entry["reward"]
    for block in record.blocks:
        producer = str(block.header["producer"])
        name = _name(names, producer)
        blocks[name] = blocks.get(name, 0) + genesis.rules_at(block.height).subsidy_at(block.height)
    return {"devices": devices, "miners_verification": verification, "miners_blocks": blocks}


def _contributions(record: ChainRecord, names: dict[str, str]) -> list[dict[str, float | None]]:
    """Return what each device's update of a round was worth, round by round, of a plan whose rewards go by that."""
    return [
        {_name(names, each.device): each.value for each in settled.contributions}
        for settled in record.history.rounds
        if settled.contributions
    ]


def _computation_times(record: ChainRecord, names: dict[str, str]) -> dict[str, float]:
    """Return each device's median reported computation time of an update, in milliseconds."""
    reported: dict[str, list[int]] = {}
    for block in record.blocks:
        for update in block.updates or ():
            release = update["update"]["release"]
            reported.setdefault(_name(names, release["device"]), []).append(release["computation_us"])
    return {name: median(values) / 1000 for name, values in sorted(reported.items())}
