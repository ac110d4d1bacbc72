"""What a node pays for each local update of a plan of thousands of devices, from hearing of it to settling its phase.

Three cores in one process, joined by pipes: a fleet that has all devices' updates, the miner that makes the block
(its stores on disk), and one that hears the same updates and imports that block. CPU time of the thread, by part.
"""

import argparse
import shutil
import time
import tempfile
from pathlib import Path
from time import perf_counter, thread_time_ns

from bench.report import Row, publish, row
from bench.updatenet import BLOCK_MS, START, Founding, Node, Town, found, make_payloads, release
from chain.update import AttestedUpdate
from consensus.queries import get_open_task
from fl.plan.schema import plan_id
from node.core.config import CoreConfig, MinerConfig
from node.core.messages import UpdateReleased
from node.core.turn import Turn
from chain.ids import Millis


def hand_over(town: Town, fleet: Node, founding: Founding, payloads: list[bytes]) -> None:
    """Let the fleet's core take the updates of all devices, as its role hands them over."""
    task = get_open_task(fleet.core.chain.view, plan_id(founding.plan))
    assert task is not None
    updates = release(founding, task.task, payloads)
    for payload in payloads:
        fleet.payloads.put(payload)
    for at in range(0, len(updates), 250):
        began = thread_time_ns()
        turn = Turn(Millis(town.now), fleet.core._jobs)
        for update in updates[at : at + 250]:
            turn.tell(UpdateReleased(AttestedUpdate(update, ())))
        while turn.messages:
            fleet.core._routes.dispatch(turn.messages.popleft(), turn)
        town.take(fleet, turn.effects)
        fleet.spend("core: released", began)
        town.run()


def report(node: Node, count: int, what: str) -> None:
    total = sum(node.cost.values())
    print(
        f"--- {what}: {node.name}: {total / count / 1000:.0f} µs an update, {node.received / count:.0f} bytes received an update"
    )
    for name, spent in sorted(node.cost.items(), key=lambda each: -each[1])[:12]:
        print(f"      {name:40} {spent / count / 1000:8.1f} µs   {node.calls[name]:6} calls")
    node.cost.clear()
    node.calls.clear()
    node.received = 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--profile", default="")
    parser.add_argument("--phases", type=int, default=2)
    options = parser.parse_args()
    began = perf_counter()
    founding = found(options.devices)
    print(f"founded in {perf_counter() - began:.1f} s")
    home = Path(tempfile.mkdtemp())
    try:
        run(founding, home, options)
    finally:
        shutil.rmtree(home)


def run(founding: Founding, home: Path, options: argparse.Namespace) -> None:
    count = options.devices
    miner = CoreConfig(miner=MinerConfig(register=False))
    nodes = [
        Node("fleet", founding, CoreConfig(), None),
        Node("miner 0", founding, miner, home / "0"),
        Node("miner 1", founding, miner, home / "1"),
    ]
    fleet, maker, other = nodes
    town = Town(nodes, START + (len(founding.blocks) + 1) * BLOCK_MS)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        town.connect(first, second)
    town.tick()
    for node in nodes:
        node.cost.clear()
        node.calls.clear()
        node.received = 0
    if options.profile:
        import cProfile

        profile = cProfile.Profile()
        profile.enable()
    for phase in range(options.phases):
        hand_over(town, fleet, founding, make_payloads(founding.plan, phase, count))
        ticks = 0
        while min(sum(e.stage == "verified" for e in n.core.updates.entries()) for n in nodes) < count:
            town.tick(50)
            ticks += 1
            if ticks > 4000:
                raise RuntimeError([len(n.core.updates) for n in nodes])
        for node in nodes:
            report(node, count, f"phase {phase}: heard, {ticks} ticks")
        blocks = 0
        while len(maker.core.updates):
            town.tick(2100)
            town.seal(maker)
            town.tick()
            blocks += 1
        assert len({node.core.chain.head_id for node in nodes}) == 1
        for node in nodes:
            report(node, count, f"phase {phase}: in {blocks} blocks")
    if options.profile:
        profile.disable()
        profile.dump_stats(options.profile)


if __name__ == "__main__":
    main()
