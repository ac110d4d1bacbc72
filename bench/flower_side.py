"""The other side of ``bench.bench_round``: a federation on Flower's simulation, run in an environment of its own.

    python -m bench.flower_side WORK RESULT

``WORK`` holds ``plan.bin``, a plan's canonical bytes, and one file of rows a device (``write_work``). The server is
``fl.train.train_federated`` with Flower for its executor, the clients run ``fl.executors.base.train_device``: tasks,
seeds, arithmetic and sums are ours on both sides, so the models must be equal to the bit. What differs is who carries
the orders out and the payloads back.

Clients keep what Flower's users keep: a process loads the rows of a partition once. ``RESULT`` gets seconds, bytes as
Flower's own messages on a wire would have them, processor time, and the model's digest. The first round is start-up.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from chain.fixedpoint import to_bytes
from chain.hashing import content_id
from fl.dataset import Dataset, DenseData, SparseData
from fl.executors.base import Exchange, Order, train_device
from fl.plan.schema import Plan, decode_plan, encode_plan
from fl.problem import Problem, compile_problem
from fl.train import RoundReport, train_federated

WORK = "FEDCHAIN_BENCH_WORK"
PLAN = "plan.bin"
PARTITION = "partition-id"


# --- what both sides know -------------------------------------------------------------------------


def write_work(directory: Path, plan: Plan, devices: Mapping[str, Dataset]) -> None:
    """Write a plan and its devices' rows."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / PLAN).write_bytes(encode_plan(plan))
    for name, data in devices.items():
        if isinstance(data, DenseData):
            np.savez(directory / f"{name}.npz", x=data.x, y=data.y)
        else:
            np.savez(
                directory / f"{name}.npz",
                starts=data.indptr,
                indices=data.indices,
                values=data.values,
                columns=np.array(data.columns),
                y=data.y,
            )


@cache
def read_problem() -> Problem:
    """Return the plan of the work at hand."""
    return compile_problem(decode_plan((Path(os.environ[WORK]) / PLAN).read_bytes()))


@cache
def device_names() -> tuple[str, ...]:
    """Return the devices: partition k is the k-th."""
    return tuple(sorted(path.stem for path in Path(os.environ[WORK]).glob("*.npz")))


@cache
def read_rows(name: str) -> Dataset:
    """Return a device's rows, read once in each process."""
    with np.load(Path(os.environ[WORK]) / f"{name}.npz") as file:
        arrays = dict(file)
    if "x" in arrays:
        return DenseData(arrays["x"], arrays["y"])
    return SparseData(arrays["starts"], arrays["indices"], arrays["values"], int(arrays["columns"]), arrays["y"])


# --- Flower's client ------------------------------------------------------------------------------


def who(message: Any, context: Any) -> Any:
    """Answer which device a node is."""
    from flwr.app import ConfigRecord, Message, RecordDict

    name = device_names()[int(context.node_config[PARTITION])]
    return Message(RecordDict({"who": ConfigRecord({"name": name})}), reply_to=message)


def train(message: Any, context: Any) -> Any:
    """Train on a partition."""
    from flwr.app import ConfigRecord, Message, RecordDict

    name, order = device_names()[int(context.node_config[PARTITION])], message.content["order"]
    exchange = Exchange(order["phase"], message.content["model"]["weights"].numpy(), order["carry"])
    payload = train_device(read_problem(), exchange, Order(name, order["seed"]), read_rows(name))
    return Message(RecordDict({"update": ConfigRecord({"payload": payload})}), reply_to=message)


# --- Flower's server ------------------------------------------------------------------------------


class FlowerExecutor:
    """Flower's grid as an executor. ``sent`` and ``received``: the bytes of a phase's messages, all devices."""

    def __init__(self, grid: Any) -> None:
        from flwr.app import Message, MessageType, RecordDict

        self._grid = grid
        asked = [Message(RecordDict(), node, MessageType.QUERY) for node in grid.get_node_ids()]
        answers = list(grid.send_and_receive(asked))
        self._nodes = {answer.content["who"]["name"]: answer.metadata.src_node_id for answer in answers}
        self.sent: dict[int, int] = {}
        self.received: dict[int, int] = {}

    def payloads(self, exchange: Exchange, orders: Sequence[Order]) -> Iterator[bytes]:
        """Yield the payload of each order, in their order."""
        from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

        model = ArrayRecord({"weights": Array(exchange.model)})
        messages = [
            Message(
                RecordDict(
                    {
                        "model": model,
                        "order": ConfigRecord({"phase": exchange.phase, "carry": exchange.carry, "seed": order.seed}),
                    }
                ),
                self._nodes[order.device],
                MessageType.TRAIN,
            )
            for order in orders
        ]
        replies = {reply.metadata.src_node_id: reply for reply in self._grid.send_and_receive(messages)}
        if exchange.phase not in self.sent:  # measured in the first round alone, which is not timed
            self.sent[exchange.phase] = sum(map(wire_bytes, messages))
            self.received[exchange.phase] = sum(map(wire_bytes, replies.values()))
        for order in orders:
            yield replies[self._nodes[order.device]].content["update"]["payload"]


def wire_bytes(message: Any) -> int:
    """Return what a message has as Flower's protocol buffers."""
    from flwr.common.serde import message_to_proto

    return int(message_to_proto(message).ByteSize())


def processor_seconds() -> float:
    """Return the processor time of this process and all below it, so far."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def run(grid: Any, began: float) -> dict[str, object]:
    """Run the federation; return what it took and learnt."""
    problem, marks = read_problem(), list[tuple[float, float]]()
    devices = {name: read_rows(name) for name in device_names()}
    executor = FlowerExecutor(grid)
    ready = time.perf_counter()

    def mark(report: RoundReport) -> None:
        marks.append((time.perf_counter(), processor_seconds()))

    found = train_federated(problem, devices, executor=executor, on_round=mark)
    (start, start_cpu), (end, end_cpu) = marks[0], marks[-1]
    exchanges = (len(marks) - 1) * len(problem.algorithm.phases)
    return {
        "exchange_ms": 1000 * (end - start) / exchanges,
        "processor_ms": 1000 * (end_cpu - start_cpu) / exchanges,
        "start_up_s": ready - began,
        "first_round_s": start - ready,
        "sent": sum(executor.sent.values()),
        "received": sum(executor.received.values()),
        "losses": [report.loss for report in found.history],
        "model": content_id(to_bytes(found.model)).hex(),
    }


def main(work: str, result: str) -> None:
    """Run the work on Flower's simulation: a processor for each client at a time, as many at once as there are."""
    began = time.perf_counter()
    os.environ[WORK] = work
    from importlib.metadata import version

    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    def serve(grid: Any, context: Any) -> None:
        found = run(grid, began)
        versions = {name: version(name) for name in ("flwr", "ray")}
        Path(result).write_text(json.dumps(found | {"versions": versions}) + "\n")

    client, server = ClientApp(), ServerApp()
    client.query()(who)
    client.train()(train)
    server.main()(serve)
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=len(device_names()),
        backend_config={"init_args": {"address": "local"}, "client_resources": {"num_cpus": 1}},
    )


if __name__ == "__main__":
    # Imported by name, so that Ray's workers find the client by name too instead of unpacking it with each message.
    from bench import flower_side

    flower_side.main(*sys.argv[1:])
