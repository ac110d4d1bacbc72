"""Chains with plans whose updates carry noise, for the tests of the privacy ledger: charges are real, vectors zero."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from msgspec.structs import replace

from chain.ids import Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import RegisterDevice
from chain.update import AttestedUpdate, LocalUpdate, PrivacyCharge
from consensus.privacy import Standing, get_standing
from consensus.problems import compile_document
from consensus.state import get_device, get_privacy
from fl.payload import write_payload
from fl.plan.schema import FedAvg, Gaussian, Laplace, NoPrivacy, Plan
from fl.privacy.charges import phase_charge
from tests.consensus.harness import Chain, make_plan, make_rules

LOSS = 5000
"""Of a release at noise multiplier 10, in micro-zCDP."""


def private_plan(
    multiplier: str = "10", *, budget: int = 0, unit: Literal["record", "device"] = "record", **changes: object
) -> Plan:
    """A plan of one phase a round whose updates carry Gaussian noise; two rounds and a retry: four releases at most."""
    wanted = {"algorithm": FedAvg(Number.of("0.1"), 1, 5), "devices": (1, 2, 4), "blocks": (4, 20, 2)} | changes
    return replace(make_plan(**wanted), version=2, privacy=Gaussian(unit, Number.of(multiplier), budget))  # type: ignore[arg-type]


def laplace_plan(epsilon: str = "0.1", **changes: object) -> Plan:
    """The same with Laplace noise: each release is pure."""
    return replace(private_plan(**changes), privacy=Laplace("record", Number.of(epsilon), 0))  # type: ignore[arg-type]


def open_plan(**changes: object) -> Plan:
    """The same without noise."""
    return replace(private_plan(**changes), privacy=NoPrivacy())  # type: ignore[arg-type]


class PrivateChain(Chain):
    """A chain under rules of version 3, with devices that have lifetime budgets."""

    def __init__(self) -> None:
        super().__init__(make_rules(version=3))

    def make_device(self, key: KeyPair, lifetime: int = 0) -> None:
        self.send(key, RegisterDevice(lifetime, 0))
        self.mine()

    def begin(self, plan: Plan, *devices: KeyPair) -> Hash:
        """Submit a plan and let these devices join; it runs once its enrolment is full or over."""
        name = self.submit(plan)
        self.mine()
        self.join(name, *devices)
        self.mine()
        return name

    def signed(self, plan: Hash, device: KeyPair, total: int | None = None, **charge: object) -> LocalUpdate:
        """A device's update for the open task, of zeros; ``total`` None: what an honest device signs."""
        problem, phase = compile_document(self.state[b"s/document/" + plan]), self.task(plan).task.phase
        wanted = phase_charge(problem.plan, phase)
        said = PrivacyCharge(wanted.mechanism, wanted.loss, self.recorded(device) + wanted.loss)
        said = replace(said, **charge) if total is None else replace(said, total=total, **charge)
        payload = write_payload(np.zeros(problem.dimension, dtype=np.int64), 0)
        return self.release(plan, device, payload, lambda release: replace(release, privacy=said))

    def include(self, *updates: LocalUpdate) -> None:
        """Mine a block with these updates, in this order."""
        self.updates += [AttestedUpdate(update, ()) for update in updates]
        self.mine()

    def refused(self, update: LocalUpdate) -> str:
        """Mine a block that may carry this update, and return the rule that keeps it out."""
        self.include(update)
        return self.rejected[update.id].rule

    def recorded(self, device: KeyPair) -> int:
        record = get_device(self, device.account)
        return 0 if record is None else record.privacy_total

    def charged(self, device: KeyPair) -> int:
        return get_privacy(self, device.account).charged

    def standing(self, device: KeyPair) -> Standing:
        return get_standing(self, device.account)


Make = Callable[[PrivateChain, Hash, KeyPair], LocalUpdate]
