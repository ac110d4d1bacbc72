"""Plans whose sums alone carry noise: never is a sum of fewer devices decrypted than its noise was made for."""

from functools import partial

import numpy as np
import pytest
from msgspec.structs import replace

from chain.ids import Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import DecryptSum
from chain.update import LocalUpdate, PrivacyCharge
from consensus.errors import Invalid
from consensus.rules.plans import check_document
from consensus.state import get_privacy
from consensus.transition import check_transaction
from fl.envelope import protect_update
from fl.plan.schema import Bounds, Encryption, Plan, SummedGaussian, encode_plan
from fl.privacy.charges import phase_charge
from fl.privacy.noise import add_share
from fl.privacy.randomness import SeededRandom
from fl.secure.paillier.own import check_own_keys
from fl.secure.quantise import get_cohort_update, quantise
from tests.consensus.harness import DEVICES, MINERS, make_rules
from tests.consensus.secret import AVERAGE, SMALL_BITS, SecretChain, masked, paillier, paillier_own, secret_plan

SCHEMES = pytest.mark.parametrize("how", [paillier(), paillier_own(), masked()], ids=["paillier", "own", "masks"])
ALICE, BOB, CAROL, DAVE = ALL = DEVICES[:4]


@pytest.fixture(autouse=True)
def small_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let members have keys that take little time, and hide nothing."""
    monkeypatch.setattr("fl.secure.own_scheme.own.check_own_keys", partial(check_own_keys, min_bits=SMALL_BITS))


def summed_plan(how: Encryption, *, colluders: int = 0, **changes: object) -> Plan:
    """Four devices, three of which must reveal; noise that hides a row."""
    plan = secret_plan(how, **{"algorithm": AVERAGE, "rounds": 2} | changes)
    bounds = tuple([policy for policy in plan.verification.policies if isinstance(policy, Bounds)])
    noise = SummedGaussian("record", Number.of(10), colluders, 0)
    return replace(plan, privacy=noise, verification=replace(plan.verification, policies=bounds))


class SummedChain(SecretChain):
    """A chain on which honest devices add their parts of the noise, and sign what that costs."""

    def secret(self, device: KeyPair) -> LocalUpdate:
        phase = self.round.task.phase
        charge, spent = phase_charge(self.problem.plan, phase), get_privacy(self, device.account).charged
        body = self.body(device)
        said = PrivacyCharge(charge.mechanism, charge.loss, spent + charge.loss)
        return self.release(self.plan, device, body, lambda one: replace(one, privacy=said, computation_us=0))

    def body(self, device: KeyPair) -> bytes:
        """What a device encrypts, its noise from a seed: the same whenever it is asked."""
        plain, phase = self.train(self.plan, device), self.round.task.phase
        return protect_update(self.problem, phase, plain, 20, self.cohort(), device, self.noise_of(device))

    def noise_of(self, device: KeyPair) -> SeededRandom:
        return SeededRandom(device.account + self.round.task.digest)


@SCHEMES
def test_what_is_settled_carries_the_noise_of_all_and_is_charged(how: Encryption) -> None:
    """The model moves by the sum and the parts of all four, to the bit; each device pays for each release."""
    chain = SummedChain(summed_plan(how))
    while chain.entry(chain.plan).status == "running":
        problem, before, exact, noised = chain.problem, chain.model(), [], []
        for device in ALL:
            plain = problem.algorithm.read_payload(problem, 0, chain.train(chain.plan, device)).vector
            exact.append(quantise(problem, 0, 20, plain))
            noised.append(add_share(problem.plan, 0, exact[-1], chain.noise_of(device)))
        chain.pass_phase(*ALL)
        update = get_cohort_update(problem, 0, [20] * 4, np.sum(noised, axis=0).tolist())
        assert (chain.model() == problem.algorithm.settle(problem, 0, before, b"", [update]).model).all()
        assert np.abs(np.sum(noised, axis=0) - np.sum(exact, axis=0)).min() > 0
    assert chain.entry(chain.plan).status == "finished"
    assert [get_privacy(chain, device.account).charged for device in ALL] == [2 * 5001] * 4


@SCHEMES
def test_a_sum_of_too_few_is_never_decrypted(how: Encryption) -> None:
    """Two reveal and their noise is made for three: nobody can give a part, and the round begins anew."""
    chain = SummedChain(summed_plan(how, retries=3))
    chain.pass_shares(*ALL)
    task, steps = chain.round.task, set()
    chain.show(ALICE, BOB)
    chain.mine()
    assert chain.rejected == {}
    while chain.round.task == task:
        steps.add(chain.task(chain.plan).step)
        for helper in (*MINERS, ALICE, BOB):
            part = DecryptSum(chain.plan, Hash(task.digest), chain.keep(b"a part"))
            with pytest.raises(Invalid) as caught:
                check_transaction(chain, chain.context(), chain.sign(helper, part), chain)
            assert caught.value.rule == "plan.decrypt.step"
        chain.mine()
    assert steps == {"reveal"}
    assert chain.round.task.attempt == 1
    assert get_privacy(chain, ALICE.account).charged > 0


def test_those_who_take_masks_off_together_are_no_fewer_than_those_who_may_pool() -> None:
    """Two of three can open any update under 51 percent; two colluders would see it with a third of the noise."""
    plan = summed_plan(masked(threshold_percent=51), colluders=2)
    with pytest.raises(Invalid, match=r"privacy\.colluders"):
        check_document(encode_plan(plan), make_rules(version=3))
    for percent, colluders in ((51, 1), (100, 2)):
        check_document(
            encode_plan(summed_plan(masked(threshold_percent=percent), colluders=colluders)), make_rules(version=3)
        )
