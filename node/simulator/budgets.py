"""Worlds with noise: plans that ask for it, devices whose lifetime budgets end, and the watch over what they lose.

The watch knows what no node does: every release that any honest device journalled, on whatever fork, whether or not a
block carried it. So it compares budgets with what was really lost, and the chain's word with that.

Rules of this file: it reads and never touches.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from random import Random
from typing import Final

from msgspec.structs import replace

from chain.codec import decode
from chain.ids import Hash
from chain.number import Number
from chain.update import Release
from consensus.records import Device, PlanEntry, PrivacyAccount, PrivacyCharged
from fl.plan.schema import (
    Bounds,
    Commit,
    FedSvrg,
    Gaussian,
    Holdout,
    Laplace,
    NoCompression,
    Plan,
    Training,
    decode_plan,
)
from fl.privacy.charges import is_private, plan_budget, worst_case
from node.simulator.schedule import source

_CLIP: Final = Bounds(Number.of(1), Number.of(1))
_KEPT: Final = (Commit, Holdout)
"""Policies that stand beside noise."""
_LEAST_BUDGET: Final = 500_000
_MOST_BUDGET: Final = 5_000_000
"""Lifetime budgets, in micro-zCDP: for some no plan fits, others run dry."""
_MAX_RECORD: Final = 1 << 20


def add_noise_to(plan: Plan, random: Random) -> Plan:
    """Return a drawn plan as one whose updates carry noise; what can't stand beside that is left out."""
    policies = tuple([policy for policy in plan.verification.policies if isinstance(policy, _KEPT)])
    algorithm = plan.algorithm
    if isinstance(algorithm, FedSvrg):
        algorithm = replace(algorithm, scale_gradients=False, scale_aggregate=False)
    privacy: Gaussian | Laplace = Gaussian("record", Number.of(random.choice(("3", "5"))), 0)
    if random.random() < 1 / 4:
        privacy = Laplace("record", Number.of("0.25"), 0)
    return replace(
        plan,
        version=2,
        algorithm=algorithm,
        participation=replace(plan.participation, max_samples=100),
        verification=replace(plan.verification, policies=(_CLIP, *policies)),
        privacy=privacy,
        compression=NoCompression(),
        training=Training("full", 0),
    )


def draw_lifetime(seed: int, machine: int) -> int:
    """Return a device's lifetime budget in micro-zCDP: one in three has none."""
    random = source(seed, "lifetime", machine)
    return random.choice((0, random.randint(_LEAST_BUDGET, _MOST_BUDGET), random.randint(_LEAST_BUDGET, _MOST_BUDGET)))


class BudgetWatch:
    """What devices have really lost, and what is wrong with a state's word about it."""

    def __init__(self) -> None:
        self._known: set[Hash] = set()
        self._lost: Counter[bytes] = Counter()
        self.charges = 0
        """Charges on the chain of the state that was looked at last."""

    def note(self, release: Release, id: Hash) -> None:
        """Take note of a release that a device has journalled; the same one again changes nothing."""
        if id not in self._known:
            self._known.add(id)
            self._lost[release.device] += release.privacy.loss

    def find_faults(self, items: Iterable[tuple[bytes, bytes]], liars: Collection[bytes]) -> Iterator[str]:
        """Yield what is wrong with the privacy ledger of a whole state; ``liars`` may have lost more than they sign."""
        devices: dict[bytes, Device] = {}
        accounts: dict[bytes, PrivacyAccount] = {}
        carried: dict[bytes, list[int]] = defaultdict(list)
        plans: dict[bytes, Plan] = {}
        ended: set[bytes] = set()
        for key, value in items:
            if key.startswith(b"s/device/"):
                devices[key[9:]] = decode(value, Device)
            elif key.startswith(b"s/privacy/"):
                accounts[key[10:]] = decode(value, PrivacyAccount, _MAX_RECORD)
            elif key.startswith(b"s/charge/"):
                carried[key[9:41]].append(decode(value, PrivacyCharged).loss)
            elif key.startswith(b"s/document/"):
                plans[key[11:]] = decode_plan(value)
            elif key.startswith(b"s/plan/") and decode(value, PlanEntry).closed:
                ended.add(key[7:])
        self.charges = sum(map(len, carried.values()))
        for id, device in devices.items():
            account = accounts.get(id, PrivacyAccount(0, 0, 0, 0, 0, ()))  # type: ignore[arg-type]
            name, loss = f"device {id.hex()[:12]}", device.privacy_total + account.joined
            if device.lifetime_budget and loss > device.lifetime_budget:
                yield f"{name}: {loss} of {device.lifetime_budget} micro-zCDP"
            if sum(carried[id]) != account.charged + account.joined or len(carried[id]) != account.charges:
                yield f"{name}: charges of {sum(carried[id])}, and {account.charged} in its account"
            if device.privacy_total < account.charged:
                yield f"{name}: {device.privacy_total} recorded, {account.charged} carried by blocks"
            if id not in liars:
                yield from self._find_untruths(name, device, self._lost[id])
            for held in account.reservations:
                if held.plan not in ended and held.left + held.spent != worst_case(plans[held.plan]):
                    yield f"{name}: {held.left} left and {held.spent} spent under plan {held.plan.hex()[:12]}"
        yield from (f"plan {id.hex()[:12]} without a budget" for id, plan in plans.items() if _is_broken(plan))

    def _find_untruths(self, name: str, device: Device, lost: int) -> Iterator[str]:
        """Yield how an honest device's budget, and what the chain says of it, differ from what it really lost."""
        if device.lifetime_budget and lost > device.lifetime_budget:
            yield f"{name}: really lost {lost}, its budget is {device.lifetime_budget} micro-zCDP"
        if device.privacy_total > lost:
            yield f"{name}: {device.privacy_total} recorded, it released {lost}"


def _is_broken(plan: Plan) -> bool:
    return is_private(plan) and plan_budget(plan) < worst_case(plan)
