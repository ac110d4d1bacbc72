"""What a node pays for each local update of a plan of thousands of devices, from hearing of it to settling its phase.

Three cores in one process, joined by pipes: a fleet that has all devices' updates, the miner that makes the block
(both miners' stores on disk), and one that hears the same updates and imports that block. CPU time of the thread alone:
what sockets, TLS and the hand-over between threads cost comes on top in a node.
"""

import argparse
import shutil
import tempfile
from cProfile import Profile
from pathlib import Path
from time import thread_time_ns

from bench.report import Row, publish, row
from bench.updatenet import BLOCK_MS, START, Founding, Node, Town, found, make_payloads, release
from chain.ids import Millis
from chain.update import AttestedUpdate
from consensus.queries import get_open_task
from fl.plan.schema import plan_id
from node.core.config import CoreConfig, MinerConfig
from node.core.messages import UpdateReleased
from node.core.turn import Turn
from node.updatepool import Stage

_TURN = 250
"""Updates that the fleet hands over in one turn."""
_PATIENCE = 4000
_PHASES = ("gradients", "updates")
_BUILDING = "job: build-block"
_WARM = 20
"""Devices of a first run whose figures nobody sees: it loads the compiled kernels."""


def hand_over(town: Town, fleet: Node, founding: Founding, payloads: list[bytes]) -> None:
    """Let the fleet's core take the updates of all devices, as a role hands them over."""
    task = get_open_task(fleet.core.chain.view, plan_id(founding.plan))
    assert task is not None
    updates = release(founding, task.task, payloads)
    for payload in payloads:
        fleet.payloads.put(payload)
    for at in range(0, len(updates), _TURN):
        began = thread_time_ns()
        turn = Turn(Millis(town.now), fleet.core._jobs)
        for update in updates[at : at + _TURN]:
            turn.tell(UpdateReleased(AttestedUpdate(update, ())))
        while turn.messages:
            fleet.core._routes.dispatch(turn.messages.popleft(), turn)
        fleet.spend("core: released", began)
        town.take(fleet, turn.effects)
        town.run()


def listen(town: Town, count: int) -> None:
    """Let time pass until everybody has checked all updates."""
    for _ in range(_PATIENCE):
        if all(_count_verified(node) == count for node in town.nodes):
            return
        town.tick(50)
    raise TimeoutError(f"updates checked: {[_count_verified(node) for node in town.nodes]}, of {count}")


def _count_verified(node: Node) -> int:
    return sum(entry.stage is Stage.VERIFIED for entry in node.core.updates.entries())


def take(node: Node, count: int, *names: str) -> float:
    """Return what a node has spent on these since the last look, or on anything, in µs an update."""
    spent = sum([node.cost.pop(name, 0) for name in names or tuple(node.cost)])
    return spent / count / 1000


def measure(founding: Founding, home: Path, phases: int, profile: Profile | None) -> list[Row]:
    """Return the costs of so many phases."""
    count = len(founding.keys)
    miner = CoreConfig(miner=MinerConfig(register=False))
    fleet = Node("fleet", founding, CoreConfig(), None)
    maker, other = (Node(f"miner {number}", founding, miner, home / str(number)) for number in (0, 1))
    town = Town([fleet, maker, other], START + (len(founding.blocks) + 1) * BLOCK_MS)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        town.connect(first, second)
    town.tick()
    for node in town.nodes:
        node.cost.clear()
    if profile is not None:
        profile.enable()
    rows: list[Row] = []
    for phase in range(phases):
        case = f"{count} devices, {_PHASES[phase % 2]}"
        payloads = make_payloads(founding.plan, phase % 2, count, phase)
        received = maker.received
        hand_over(town, fleet, founding, payloads)
        listen(town, count)
        built = take(maker, 1, _BUILDING) + take(other, 1, _BUILDING)
        heard = take(maker, count)
        rows.append(row(case, "a miner hears, fetches, checks, stores", "µs an update", heard, {}))
        rows.append(row(case, "the fleet takes over, announces, serves", "µs an update", take(fleet, count), {}))
        rows.append(row(case, "received by a miner", "bytes an update", (maker.received - received) / count, {}))
        rows.append(row(case, "of that the payload", "bytes an update", sum(map(len, payloads)) / count, {}))
        take(other, count)
        while len(maker.core.updates):
            town.tick(2100)
            town.seal(maker)
            town.tick()
        if len({node.core.chain.head_id for node in town.nodes}) != 1:
            raise RuntimeError("the nodes do not agree")
        built += take(maker, 1, _BUILDING) + take(other, 1, _BUILDING)
        offered, maker.offered, other.offered = maker.offered + other.offered, 0, 0
        rows.append(row(case, "a miner builds a candidate", "µs an update", built / offered, {}))
        rows.append(row(case, "candidates that an update was put into", "candidates", offered / count, {}))
        rows.append(row(case, "its own blocks are imported", "µs an update", take(maker, count), {}))
        rows.append(row(case, "another miner imports them", "µs an update", take(other, count), {}))
        rows.append(row(case, "the fleet imports and settles", "µs an update", take(fleet, count), {}))
    if profile is not None:
        profile.disable()
    size = sum(file.stat().st_size for file in (home / "0" / "chain").iterdir())
    rows.append(row(f"{count} devices", "chain database", "bytes an update", size / count / phases, {}))
    return rows


def main() -> None:
    """Measure, print and write ``build/bench/updates.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--phases", type=int, default=2)
    parser.add_argument("--profile", type=Path, help="write a profile here")
    options = parser.parse_args()
    profile = None if options.profile is None else Profile()
    rows: list[Row] = []
    for devices in (_WARM, *options.devices):
        home = Path(tempfile.mkdtemp())
        try:
            measured = measure(found(devices), home, options.phases, None if devices == _WARM else profile)
        finally:
            shutil.rmtree(home)
        rows += [] if devices == _WARM else measured
    if profile is not None:
        profile.dump_stats(options.profile)
    publish("updates", rows, note="CPU time of one thread, three cores in one process, no sockets")


if __name__ == "__main__":
    main()
