"""Encrypted sums by whole nodes: devices share and unmask, members decrypt, through crashes and partitions."""

from dataclasses import replace as replace_field
from functools import partial

import pytest
from msgspec.structs import replace

from chain.codec import encode
from chain.number import Number
from consensus.queries import list_plans
from fl.plan.schema import BySamples, Encryption, FedSvrg, Masked, NoCompression, Paillier, PaillierOwn
from fl.privacy.randomness import SeededRandom
from fl.secure.paillier import deal
from fl.secure.paillier.member import MemberKeys, derive_factors, make_member_key, show_key
from fl.secure.paillier.own import check_own_keys
from node.simulator.population import Commission, Population
from node.simulator.settings import SimulationSettings
from node.simulator.simulation import Simulation


def encrypt_always(monkeypatch: pytest.MonkeyPatch, how: Encryption) -> None:
    """Let every plan be one of encrypted updates."""
    draw = Population.commission

    def commission(self: Population, number: int) -> Commission:
        plan = draw(self, number).plan
        least = replace(plan.participation, min_devices=3, goal_devices=4, max_devices=4, max_samples=64)
        plan = replace(
            plan,
            version=2,
            algorithm=FedSvrg(Number.of("0.5"), scale_gradients=False, scale_aggregate=False),
            aggregation=how,
            participation=least,
            verification=replace(plan.verification, policies=plan.verification.policies[:1]),
            compression=NoCompression(),
            contribution=BySamples(),
        )
        return replace_field(draw(self, number), plan=plan, holdout=None)

    monkeypatch.setattr(Population, "commission", commission)


def world_of(engine: str, faults: tuple[str, ...], seed: int) -> Simulation:
    settings = SimulationSettings(
        seed=seed,
        nodes=4,
        miners=4 if engine == "pos" else 3,
        devices=4,
        engine=engine,  # type: ignore[arg-type]
        faults=faults,
        duration_ms=60_000,
        block_ms=1_000,
        plans=1,
    )
    return Simulation(settings)


@pytest.mark.parametrize("engine", ["pow", "pos"])
@pytest.mark.parametrize("faults", [(), ("crash", "loss", "restart")], ids=["calm", "faulty"])
def test_a_masked_plan_is_learned(engine: str, faults: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails, as long as enough devices come back in time."""
    encrypt_always(monkeypatch, Masked(67, 24, 15, 30, "known"))
    world = world_of(engine, faults, 3)
    report = world.run()
    assert report.is_good, report.violations
    core = world.machines[0].core
    assert core is not None
    assert [entry.status for entry in list_plans(core.chain.view)] == ["finished"]


def test_a_committee_without_a_dealer_opens_what_devices_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member makes its key again from its account's; through crashes and restarts, with one that never answers.

    Under keys of 512 bits, which hide nothing.
    """
    monkeypatch.setattr("fl.secure.own_scheme.own.check_own_keys", partial(check_own_keys, min_bits=512))
    world = world_of("pow", ("crash", "restart"), 6)
    members = [machine.character.key for machine in world.machines[:3]]
    keys = tuple(make_member_key(member, bytes([place]) * 32, 512) for place, member in enumerate(members))
    lost = show_key(derive_factors(members[0], bytes(32), 512), members[0], bytes([9]) * 32)  # of another label
    encrypt_always(monkeypatch, PaillierOwn(2, 24, 40, "known", encode(MemberKeys((lost, *keys[1:])))))
    report = world.run()
    assert report.is_good, report.violations
    core = next(machine.core for machine in world.machines if machine.core is not None)
    assert [entry.status for entry in list_plans(core.chain.view)] == ["finished"]


@pytest.mark.parametrize(("engine", "silent"), [("pow", 0), ("pos", 1)])
def test_a_committee_decrypts_what_devices_encrypt(engine: str, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any two of three members will do; one that never answers holds nothing up, not even where it is to go first."""
    monkeypatch.setattr("fl.secure.paillier_scheme._MANY", 8 if engine == "pow" else 1)
    world = world_of(engine, ("crash", "restart"), 5)
    members = [machine.character.key.account for machine in world.machines[:3]]
    key = deal(members, 2, random=SeededRandom(b"simulated committee"))
    if silent:
        key = replace(key, shares=(key.shares[1], *key.shares[1:]))  # the first can't open its share
    encrypt_always(monkeypatch, Paillier(2, 24, 40, "known", encode(key)))
    report = world.run()
    assert report.is_good, report.violations
    core = next(machine.core for machine in world.machines if machine.core is not None)
    assert [entry.status for entry in list_plans(core.chain.view)] == ["finished"]
