"""What encryption adds to a round: the same training, checks and settling with updates in the clear and encrypted.

All parts of a round in this process, one after the other, in seconds of processor: devices train, quantise and encrypt;
one node checks each update, adds up, checks the members' parts, opens the sum and settles; as many members as it takes
decrypt. In the clear, the node reads and settles the same updates. Networks, signatures and disks are left out: they
are the same on both sides, but for the bytes.

Nothing is published unless the sum that is opened is that of the quantised updates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from msgspec.structs import replace

from bench.data import MADE, find_set
from bench.phe_side import timed
from bench.report import Row, row
from chain.codec import encode
from chain.fixedpoint import Int64Vector, to_bytes
from chain.hashing import content_id, digest
from chain.ids import AccountId
from chain.keys import KeyPair
from chain.number import Number
from fl.algorithms.base import PhaseOutcome, Settled
from fl.data.formats import read_table
from fl.data.sources import list_devices, load_dataset
from fl.data.split import Split, split_files
from fl.dataset import Dataset, rows
from fl.envelope import protect_update, read_contribution, train_update
from fl.models.model import initial_model
from fl.plan.bind import load_plan
from fl.plan.schema import FedAvg, Layer, Paillier, PlainAggregation, Plan
from fl.privacy.randomness import SYSTEM_RANDOM
from fl.problem import Problem, compile_problem
from fl.secure.base import Cohort, Gathered, get_shared_name
from fl.secure.paillier import deal
from fl.secure.quantise import get_cohort_update, sum_in_clear
from fl.secure.registry import scheme_of
from fl.task import Task, device_seed

T = TypeVar("T")
MEMBERS: Final = 5
THRESHOLD: Final = 3
VALUE_BITS: Final = 24
BITS: Final = 2048
MNIST_DEVICES: Final = 10


class WrongRoundError(Exception):
    """A proof was refused, or what was opened is not what was encrypted."""


@dataclass(frozen=True, slots=True)
class Federation:
    """A plan in the clear, and its devices' rows."""

    case: str
    plan: Plan
    devices: Mapping[str, Dataset]


@dataclass(slots=True)
class Spent:
    """Processor seconds of a round, of all devices, one node, the members who decrypt; bytes of all updates."""

    training: float = 0.0
    encrypting: float = 0.0
    settling_plain: float = 0.0
    settling: float = 0.0
    decrypting: float = 0.0
    sent_plain: int = 0
    sent: int = 0

    def add(self, part: str, work: Callable[[], T]) -> T:
        """Do work, and count its seconds for this part."""
        result, (processor, _) = timed(work)
        setattr(self, part, getattr(self, part) + processor)
        return result


def find_heart() -> Federation:
    """Return the four hospitals of examples/heart."""
    plan = load_plan(Path("examples/heart/paillier.toml"), needs_key=False).plan
    files = list_devices(Path("examples/heart/data"))
    return Federation("round, heart", _plain(plan), {one.name: load_dataset(one.train, plan.roles[0]) for one in files})


def find_mnist() -> Federation:
    """Return a network of 32 hidden units on MNIST over ten devices. ``MissingDataError`` without the data."""
    directory, split = find_set("mnist"), MADE / f"mnist-{MNIST_DEVICES}-devices"
    if not split.exists():
        split_files(read_table(directory / "mnist.npz"), None, split, Split(MNIST_DEVICES))
    plan = load_plan(Path("examples/mnist/plan.toml")).plan
    plan = replace(
        plan,
        model=replace(plan.model, hidden=(Layer(32, "relu"),)),
        algorithm=FedAvg(Number.of("0.05"), 3, 16),
        participation=replace(
            plan.participation, goal_devices=MNIST_DEVICES, max_devices=MNIST_DEVICES, max_samples=20_000
        ),
    )
    files = list_devices(split)
    return Federation("round, mnist", _plain(plan), {one.name: load_dataset(one.train, plan.roles[0]) for one in files})


def _plain(plan: Plan) -> Plan:
    return replace(plan, version=2, aggregation=PlainAggregation("mean"))


def measure(federation: Federation, bits: int = BITS) -> Spent:
    """Return what a round takes in the clear and encrypted; a first one, in which kernels are loaded, is left out."""
    members = [_key_of(f"member {place}") for place in range(MEMBERS)]
    key = encode(deal([each.account for each in members], THRESHOLD, bits))
    encrypted = replace(federation.plan, aggregation=Paillier(THRESHOLD, VALUE_BITS, 30, "known", key))
    spent = Spent()
    plain, secret = compile_problem(federation.plan), compile_problem(encrypted)
    for number in (0, 1):
        spent = Spent()
        _Round(plain, secret, federation.devices, members, spent).run(number)
    return spent


def _key_of(name: str) -> KeyPair:
    return KeyPair(digest(b"fedchain/bench", name.encode()))


@dataclass(frozen=True, slots=True)
class _Round:
    """A round of one plan, in the clear and encrypted."""

    plain: Problem
    secret: Problem
    devices: Mapping[str, Dataset]
    members: Sequence[KeyPair]
    spent: Spent

    def run(self, number: int) -> None:
        """Run each phase both ways; ``WrongRoundError``. Another ``number``: other randomness, nothing remembered."""
        model, carry = initial_model(self.plain.plan), b""
        for phase in range(len(self.plain.algorithm.phases)):
            names = [content_id(to_bytes(model)), content_id(carry), content_id(b"selected"), content_id(b"beacon")]
            task = Task(self.secret.plan_id, number, 0, phase, *names)
            payloads = self.spent.add("training", partial(self._train, task, model, carry))
            settled, outcome = self.spent.add("settling_plain", partial(self._settle, phase, model, carry, payloads))
            self._settle_encrypted(task, model, carry, payloads, settled)
            self.spent.sent_plain += sum(map(len, payloads.values()))
            carry = outcome.carry

    def _train(self, task: Task, model: Int64Vector, carry: bytes) -> dict[str, bytes]:
        return {
            name: train_update(
                self.plain, task, model, carry, data, device_seed(task.digest, _key_of(name).account), b""
            )[0]
            for name, data in self.devices.items()
        }

    def _settle(
        self, phase: int, model: Int64Vector, carry: bytes, payloads: Mapping[str, bytes]
    ) -> tuple[list[Settled], PhaseOutcome]:
        """Return the devices' updates, read as a node reads them, and what they settle."""
        settled = [
            Settled.of(_key_of(name).account, rows(self.devices[name]), read_contribution(self.plain, phase, payload))
            for name, payload in payloads.items()
        ]
        return settled, self.plain.algorithm.settle(self.plain, phase, model, carry, settled)

    def _settle_encrypted(
        self, task: Task, model: Int64Vector, carry: bytes, payloads: Mapping[str, bytes], settled: Sequence[Settled]
    ) -> None:
        """Encrypt, check, decrypt and open; compare with the sum of the quantised updates; settle."""
        scheme, spent, secret = scheme_of(self.secret.plan), self.spent, self.secret
        accounts = tuple(_key_of(name).account for name in payloads)
        cohort, shared = Cohort(task.digest, accounts, {}), get_shared_name(())
        bodies = {}
        for name, payload in payloads.items():
            protected = partial(
                protect_update, secret, task.phase, payload, rows(self.devices[name]), cohort, _key_of(name)
            )
            bodies[_key_of(name).account] = spent.add("encrypting", protected)
        spent.sent += sum(map(len, bodies.values()))
        for account, body in bodies.items():
            check = partial(scheme.check_protected, secret, task.digest, account, shared, body)
            _expect_none(spent.add("settling", check))
        total = spent.add("settling", partial(scheme.combine, secret, list(bodies.values())))
        gathered = Gathered(cohort, accounts, total)
        parts: dict[AccountId, bytes] = {}
        for member in self.members[:THRESHOLD]:
            part = spent.add("decrypting", partial(scheme.decrypt, secret, gathered, member, dict(parts)))
            if part is None:
                raise WrongRoundError("a member has no share")
            _expect_none(spent.add("settling", partial(scheme.check_part, secret, gathered, member.account, part)))
            parts[member.account] = part
        sums = spent.add("settling", partial(scheme.open, secret, gathered, parts))
        samples = [each.samples for each in settled]
        expected = sum_in_clear(secret, task.phase, settled, SYSTEM_RANDOM).contribution.vector
        if sums is None:
            raise WrongRoundError("the sum does not open")
        cohort_update = spent.add("settling", partial(get_cohort_update, secret, task.phase, samples, sums))
        if not np.array_equal(cohort_update.contribution.vector, expected):
            raise WrongRoundError("what was opened is not the sum of the quantised updates")
        spent.add("settling", partial(secret.algorithm.settle, secret, task.phase, model, carry, [cohort_update]))


def _expect_none(fault: str | None) -> None:
    if fault is not None:
        raise WrongRoundError(fault)


def make_rows(federation: Federation, spent: Spent) -> list[Row]:
    """Return what a round takes: ours is encrypted, the peer in the clear."""
    case, devices = federation.case, len(federation.devices)
    everything = spent.training + spent.encrypting + spent.settling + spent.decrypting
    plain = spent.training + spent.settling_plain
    return [
        row(
            case,
            "a device: training and sending",
            "ms",
            1e3 * (spent.training + spent.encrypting) / devices,
            {"in the clear": 1e3 * spent.training / devices},
        ),
        row(
            case,
            "a node: checking and settling",
            "ms",
            1e3 * spent.settling,
            {"in the clear": 1e3 * spent.settling_plain},
        ),
        row(case, "a member: decrypting", "ms", 1e3 * spent.decrypting / THRESHOLD, {}),
        row(case, f"{devices} devices, a node, {THRESHOLD} members", "s", everything, {"in the clear": plain}),
        row(case, "… share of it that encryption costs", "%", 100 * (1 - plain / everything), {}),
        row(
            case, "a device sends", "kB", spent.sent / devices / 1e3, {"in the clear": spent.sent_plain / devices / 1e3}
        ),
    ]
