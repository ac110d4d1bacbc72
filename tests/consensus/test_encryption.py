"""Plans whose updates are encrypted: the chain learns the sum, exactly, and nothing but the sum."""

from functools import lru_cache, partial

import numpy as np
import pytest
from gmpy2 import next_prime
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.fixedpoint import from_bytes
from chain.hashing import content_id
from chain.ids import Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import DecryptSum, ShareMask
from chain.update import AttestedUpdate
from consensus.errors import Invalid
from consensus.events import MaskShared, PlanCancelled, SumDecrypted
from consensus.queries import get_history, needed_payloads
from consensus.rules.plans import check_document
from consensus.transition import check_local_update, check_transaction
from fl.plan.schema import (
    Encryption,
    FedAvg,
    FedSvrg,
    Holdout,
    Laplace,
    Masked,
    NoCompression,
    Plan,
    TopK,
    VectorFeature,
    encode_plan,
)
from fl.privacy.randomness import SeededRandom
from fl.secure.base import get_context, sharing_of
from fl.secure.moduli import find_clash, get_moduli
from fl.secure.paillier import Packing, PublicKey, encrypt
from fl.secure.paillier.member import Factors, MemberKeys, derive_factors, show_key
from fl.secure.paillier.own import check_own_keys
from tests.consensus.harness import DEVICES, MINERS, OTHER, Chain, make_plan, make_rules
from tests.consensus.secret import (
    AVERAGE,
    SMALL_BITS,
    SVRG,
    SecretChain,
    dealt_key,
    masked,
    own_keys,
    paillier,
    paillier_own,
    secret_plan,
)

SCHEMES = pytest.mark.parametrize("how", [paillier(), masked()], ids=["paillier", "masks"])
ALL_SCHEMES = pytest.mark.parametrize("how", [paillier(), paillier_own(), masked()], ids=["paillier", "own", "masks"])
ALICE, BOB, CAROL, DAVE = DEVICES[:4]
ALL = (ALICE, BOB, CAROL, DAVE)


@pytest.mark.parametrize(
    ("how", "algorithm"),
    [(paillier(), SVRG), (paillier(), AVERAGE), (masked(), SVRG), (masked(), AVERAGE), (paillier_own(), SVRG)],
)
def test_a_plan_learns_from_sums_alone(how: Encryption, algorithm: FedSvrg | FedAvg) -> None:
    """Every phase settles just what the sum in the clear would give, to the bit; all are paid, nothing stays behind."""
    chain = SecretChain(secret_plan(how, algorithm=algorithm))
    while chain.entry(chain.plan).status == "running":
        state, expected, problem = chain.round, chain.expected(*ALL), chain.problem
        model, carry = from_bytes(chain.task(chain.plan).model, problem.dimension), chain.task(chain.plan).carry
        chain.pass_phase(*ALL)
        wanted = problem.algorithm.settle(problem, state.task.phase, model, carry, [expected])
        if wanted.model is not None:
            assert (chain.model() == wanted.model).all()
        else:
            assert chain.task(chain.plan).carry == wanted.carry
        assert chain.audit().is_conserved
    assert chain.entry(chain.plan).status == "finished"
    assert [len(record.devices) for record in get_history(chain, chain.plan)] == [4, 4]
    assert all(report.reward > 0 for record in get_history(chain, chain.plan) for report in record.devices)
    left = {key.split(b"/")[1] for key in chain.state if chain.plan in key and key.startswith(b"s/")}
    assert left == {b"plan", b"document", b"model", b"enrolment", b"enrolled", b"history"}


@SCHEMES
def test_it_learns_what_the_plan_in_the_clear_learns(how: Encryption) -> None:
    """After two rounds the model is near that of the same plan without encryption, whose rows come in another order."""
    chain, plain = SecretChain(secret_plan(how)), Chain(make_rules(version=3))
    while chain.entry(chain.plan).status == "running":
        chain.pass_phase(*ALL)
    other = plain.start(replace(secret_plan(how), aggregation=make_plan().aggregation), ALL)
    while plain.entry(other).status == "running":
        plain.reveal(other, *ALL)
        plain.mine()
    model = from_bytes(plain.state[b"s/model/" + other], 3)
    assert abs(chain.model() - model).max() < abs(model).max() / 100
    assert abs(model).max() > 2**18


@ALL_SCHEMES
def test_a_device_that_drops_out_is_not_missed(how: Encryption) -> None:
    """One has shared, or might have, and never reveals: the sum is that of the others, and it is not paid."""
    chain = SecretChain(secret_plan(how))
    chain.pass_shares(*ALL)
    expected = chain.expected(ALICE, BOB, CAROL)
    problem, carry = chain.problem, chain.task(chain.plan).carry
    chain.show(ALICE, BOB, CAROL)
    chain.mine()
    while chain.task(chain.plan).step == "reveal":
        chain.mine()
    chain.decrypt(*chain.helpers(ALICE, BOB, CAROL))
    chain.mine()
    assert chain.round.task.phase == 1
    assert chain.task(chain.plan).carry == problem.algorithm.settle(problem, 0, chain.model(), carry, [expected]).carry
    assert set(chain.task(chain.plan).selected) == {key.account for key in (ALICE, BOB, CAROL)}


def test_any_two_of_three_members_decrypt_the_same() -> None:
    """Which of them answer changes nothing, and an absent one is replaced by another."""
    carries = set()
    for absent in MINERS:
        chain = SecretChain(secret_plan(paillier()))
        chain.show(*ALL)
        chain.mine()
        chain.decrypt(*[miner for miner in MINERS if miner != absent])
        chain.mine()
        carries.add(chain.task(chain.plan).carry)
    assert len(carries) == 1


@SCHEMES
def test_without_enough_helpers_the_plan_ends_and_names_who_was_silent(how: Encryption) -> None:
    """No retry: parts that came late could open a second sum of the same round."""
    chain = SecretChain(secret_plan(how, retries=5))
    chain.pass_shares(*ALL)
    chain.show(*ALL)
    chain.mine()
    chain.decrypt(chain.helpers(*ALL)[0])
    chain.mine(4)
    entry = chain.entry(chain.plan)
    assert entry.status == "cancelled"
    assert "parts of the decryption came in time" in entry.reason
    assert chain.helpers(*ALL)[1].account.hex()[:16] in entry.reason or isinstance(how, Masked)
    assert chain.audit().is_conserved
    assert [event for each in chain.executions for event in each.events if isinstance(event, PlanCancelled)]


def test_too_few_that_share_try_again_with_other_masks() -> None:
    """Nothing was decrypted yet, so the round is tried again."""
    chain = SecretChain(secret_plan(masked()))
    chain.share(ALICE, BOB)
    chain.mine(4)
    assert chain.round.task.attempt == 1
    chain.pass_phase(*ALL)


def test_too_few_to_take_masks_off_try_again() -> None:
    """All four must reveal under 100 percent, whatever min_devices says: three could never open the sum."""
    chain = SecretChain(secret_plan(masked(threshold_percent=100)))
    chain.pass_shares(*ALL)
    chain.show(ALICE, BOB, CAROL)
    chain.mine(5)
    assert chain.round.task.attempt == 1


def test_the_last_member_shows_what_is_in_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its part: nobody else makes the opening, everybody checks it, and it is what would have been made."""
    monkeypatch.setattr("fl.secure.paillier_scheme._MANY", 1)
    chain = SecretChain(secret_plan(paillier()))
    expected, problem, model = chain.expected(*ALL), chain.problem, chain.model()
    carry = chain.task(chain.plan).carry
    chain.show(*ALL)
    chain.mine()
    first, second, third = MINERS
    short = chain.part(first)
    chain.decrypt(first)
    chain.mine()
    whole = chain.part(second)
    width, size = 256, len(short)
    assert len(whole) == size + 2 * width, "a ciphertext's M and r"
    task = Hash(chain.round.task.digest)
    for spoilt in (
        whole[:size] + bytes(2 * width),
        whole[: size + width - 1] + bytes([whole[size + width - 1] ^ 1]) + whole[size + width :],
        whole[:-1],
        whole + b"\0",
        short + whole[size:],
        whole[size:],
    ):
        said = refusal(chain, second, DecryptSum(chain.plan, task, chain.keep(spoilt)))
        assert said.rule in ("plan.decrypt.part", "plan.decrypt.payload")
    assert refusal(chain, third, DecryptSum(chain.plan, task, chain.keep(whole))).rule == "plan.decrypt.part"
    monkeypatch.setattr("fl.secure.paillier.combine", lambda *_: pytest.fail("a node made the opening itself"))
    chain.send(second, DecryptSum(chain.plan, task, chain.keep(whole)))
    chain.mine()
    assert chain.rejected == {}
    assert chain.task(chain.plan).carry == problem.algorithm.settle(problem, 0, model, carry, [expected]).carry


def test_parts_that_do_not_fit_a_payload_are_told_with_the_plan() -> None:
    """Or helpers could not answer: an update may fit where a part with its opening does not."""
    plan = secret_plan(paillier())
    features = (VectorFeature("x", 400, Number.of(-1), Number.of(1)),)
    plan = replace(plan, roles=(replace(plan.roles[0], features=features),))
    check_document(encode_plan(plan), replace(make_rules(version=3), max_payload_bytes=5000))
    with pytest.raises(Invalid, match="a helper's part may have"):
        check_document(encode_plan(plan), replace(make_rules(version=3), max_payload_bytes=4500))


# --- what is refused ------------------------------------------------------------------------------


def refusal(chain: SecretChain, key: KeyPair, body: ShareMask | DecryptSum) -> Invalid:
    with pytest.raises(Invalid) as caught:
        check_transaction(chain, chain.context(), chain.sign(key, body), chain)
    return caught.value


@ALL_SCHEMES
def test_an_update_is_its_devices_own(how: Encryption) -> None:
    """Another device's bytes, those of another task, and noise are refused, at both doors."""
    chain = SecretChain(secret_plan(how))
    chain.pass_shares(*ALL)
    bodies = {device: chain.store[chain.secret(device).release.payload.id] for device in (ALICE, BOB)}
    stolen = chain.release(chain.plan, BOB, bodies[ALICE])
    if not isinstance(how, Masked):
        with pytest.raises(Invalid) as caught:
            check_local_update(chain, chain.context(), stolen, bodies[ALICE])
        assert caught.value.rule == "update.payload"
    for spoilt in (bodies[BOB][:-1], bodies[BOB] + b"\0", b"", b"\xff" * len(bodies[BOB])):
        update = chain.release(chain.plan, BOB, spoilt)
        with pytest.raises(Invalid) as caught:
            check_local_update(chain, chain.context(), update, spoilt)
        assert caught.value.rule == "update.payload"
    chain.show(*ALL)
    chain.mine()
    chain.decrypt(*chain.helpers(*ALL)[: chain.scheme.threshold(chain.problem, 4)])
    chain.mine()
    chain.pass_shares(*ALL)
    late = chain.release(chain.plan, BOB, bodies[BOB])
    with pytest.raises(Invalid) as caught:
        check_local_update(chain, chain.context(), late, bodies[BOB])
    assert caught.value.rule == "update.payload"


def test_what_is_shared_is_its_senders_own_and_said_once() -> None:
    """Not another's, not in another step, not twice, not by a device that was not drawn, not of any other bytes."""
    chain = SecretChain(secret_plan(masked()))
    task, cohort = chain.round.task, chain.cohort()
    place = chain.plan, task.round, task.attempt, task.phase, Hash(task.digest)
    alices = sharing_of(chain.scheme).share(chain.problem, cohort, ALICE)
    body = ShareMask(*place, chain.keep(alices))
    assert refusal(chain, BOB, body).rule == "update.share.payload"
    assert refusal(chain, DEVICES[5], body).rule == "update.share.device"
    for spoilt in (alices[:-1], bytes(len(alices)), alices + b"\0"):
        assert refusal(chain, ALICE, ShareMask(*place, chain.keep(spoilt))).rule == "update.share.payload"
    assert refusal(chain, ALICE, ShareMask(*place[:-1], Hash(bytes(32)), body.payload)).rule == "update.share.step"
    assert refusal(chain, ALICE, ShareMask(Hash(bytes(32)), *place[1:], body.payload)).rule == "update.share.plan"
    chain.send(ALICE, body)
    chain.mine()
    assert refusal(chain, ALICE, body).rule == "update.share.known"
    assert body.payload in needed_payloads(chain, chain.plan)


def test_who_did_not_share_does_not_reveal() -> None:
    """Nobody could take its masks off."""
    chain = SecretChain(secret_plan(masked()))
    chain.pass_shares(ALICE, BOB, CAROL)
    update = chain.release(chain.plan, DAVE, bytes(chain.scheme.most_bytes(chain.problem)))
    with pytest.raises(Invalid) as caught:
        check_local_update(chain, chain.context(), update, chain.store[update.release.payload.id])
    assert caught.value.rule == "update.mask"
    chain.show(ALICE, BOB, CAROL)
    chain.mine()
    assert chain.task(chain.plan).step == "decrypt", "nobody waits for one that can't come"


def test_an_update_masked_on_another_fork_is_refused() -> None:
    """There Dave had shared, here he had not: the same task, other masks. Its sum would be noise."""
    chain = SecretChain(secret_plan(masked()))
    chain.pass_shares(*ALL)
    elsewhere = chain.secret(ALICE)
    chain.undo()
    chain.pass_shares(ALICE, BOB, CAROL)
    assert elsewhere.release.task == chain.round.task.digest
    with pytest.raises(Invalid) as caught:
        check_local_update(chain, chain.context(), elsewhere, chain.store[elsewhere.release.payload.id])
    assert "another fork" in caught.value.detail


@ALL_SCHEMES
def test_a_wrong_part_is_refused_and_names_its_sender(how: Encryption) -> None:
    """Not another helper's, not with a bit turned, not twice, not by a stranger, not before the step."""
    chain = SecretChain(secret_plan(how))
    chain.pass_shares(*ALL)
    chain.show(ALICE, BOB, CAROL)
    early = DecryptSum(chain.plan, Hash(chain.round.task.digest), chain.keep(b"x"))
    assert refusal(chain, chain.helpers(*ALL)[0], early).rule == "plan.decrypt.step"
    chain.mine()
    while chain.task(chain.plan).step == "reveal":
        chain.mine()
    first, second = chain.helpers(ALICE, BOB, CAROL)[:2]
    part, task = chain.part(first), Hash(chain.round.task.digest)
    good = DecryptSum(chain.plan, task, chain.keep(part))
    assert refusal(chain, second, good).rule == "plan.decrypt.part"
    assert refusal(chain, OTHER, good).rule == "plan.decrypt.helper"
    assert refusal(chain, DAVE, good).rule == "plan.decrypt.helper", "it has not revealed, and is no member"
    for place in (0, len(part) // 2, len(part) - 1):
        spoilt = part[:place] + bytes([part[place] ^ 1]) + part[place + 1 :]
        assert refusal(chain, first, DecryptSum(chain.plan, task, chain.keep(spoilt))).rule == "plan.decrypt.part"
    for spoilt in (part[:-1], b"", bytes(len(part))):
        assert refusal(chain, first, DecryptSum(chain.plan, task, chain.keep(spoilt))).rule == "plan.decrypt.part"
    chain.send(first, good)
    chain.mine()
    assert refusal(chain, first, good).rule == "plan.decrypt.known"
    assert good.payload in needed_payloads(chain, chain.plan)
    events = [event for each in chain.executions for event in each.events]
    assert [event.helper for event in events if isinstance(event, SumDecrypted)] == [first.account]
    assert len([event for event in events if isinstance(event, MaskShared)]) == (4 if isinstance(how, Masked) else 0)


# --- plans that make no sense ---------------------------------------------------------------------


def faults(plan: Plan) -> str:
    with pytest.raises(Invalid) as caught:
        check_document(encode_plan(plan), make_rules(version=3))
    assert caught.value.rule == "plan.submit.plan"
    return caught.value.detail


@ALL_SCHEMES
def test_what_would_have_to_read_single_updates_is_refused_by_name(how: Encryption) -> None:
    """Each names its field and says why."""
    plan = secret_plan(how)
    check_document(encode_plan(plan), make_rules(version=3))
    scaled = replace(plan, algorithm=FedSvrg(Number.of("0.5"), scale_gradients=True, scale_aggregate=True))
    assert "algorithm.scale_gradients" in faults(scaled)
    assert "algorithm.scale_aggregate" in faults(scaled)
    holdout = Holdout(content_id(b"root"), 2, 10, Number.of("0.1"))
    judged = replace(plan, verification=replace(plan.verification, policies=(*plan.verification.policies, holdout)))
    assert "verification.holdout" in faults(judged)
    assert isinstance(plan.compression, NoCompression)
    compressed = replace(plan, algorithm=AVERAGE, compression=TopK(Number.of(1), Number.of(0), 0, Number.of(0), 6))
    assert "compression.type" in faults(compressed)
    assert "verification.bounds.update_clip" in faults(replace(plan, fraction_bits=48))


@ALL_SCHEMES
def test_a_crowd_that_could_be_one_needs_noise(how: Encryption) -> None:
    """Anybody may join under many keys; and of two devices each knows the other's update."""
    plan = secret_plan(replace(how, cohort="open"))
    assert "privacy.type" in faults(plan)
    check_document(encode_plan(replace(plan, privacy=Laplace("record", Number.of(1), 0))), make_rules(version=3))
    few = replace(plan.participation, min_devices=2)
    assert "participation.min_devices" in faults(replace(plan, aggregation=how, participation=few))


def test_a_committee_that_keeps_no_secret_is_refused() -> None:
    """A single member, a threshold that is not the key's, no key, a key of other bytes, another modulus."""
    assert "aggregation.threshold" in faults(secret_plan(paillier(threshold=1)))
    assert "aggregation.threshold" in faults(secret_plan(paillier(threshold=3)))
    assert "fedchain plan deal" in faults(secret_plan(paillier(key=b"")))
    assert "aggregation.key" in faults(secret_plan(paillier(key=dealt_key()[:-1])))
    spoilt = bytearray(dealt_key())
    spoilt[40] ^= 2
    assert "aggregation.key" in faults(secret_plan(paillier(key=bytes(spoilt))))


@pytest.fixture(autouse=True)
def small_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let members have keys that take little time, and hide nothing."""
    monkeypatch.setattr("fl.secure.own_scheme.own.check_own_keys", partial(check_own_keys, min_bits=SMALL_BITS))


def test_a_members_key_that_is_not_its_own_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold of one, no keys, other bytes, another's signature, two of one account, a copied or small modulus."""
    assert "aggregation.threshold" in faults(secret_plan(paillier_own(threshold=1)))
    assert "threshold 4 of 3 members" in faults(secret_plan(paillier_own(threshold=4)))
    assert "fedchain keys committee" in faults(secret_plan(paillier_own(key=b"")))
    assert "no members' keys" in faults(secret_plan(paillier_own(key=own_keys()[:-1])))
    assert "no members' keys" in faults(secret_plan(paillier_own(key=dealt_key())))
    first, second, third = decode(own_keys(), MemberKeys).members
    spoilt = {
        "member 1: another account signed the key": replace(second, account=OTHER.account),
        "an account is a member twice": first,
        "a factor in common": show_key(derive_factors(MINERS[0], first.label, SMALL_BITS), MINERS[1], first.label),
        "a factor below 65536": show_key(Factors(SMALL_PRIME, wide_prime()), MINERS[1], first.label),
    }
    for said, key in spoilt.items():
        assert said in faults(secret_plan(paillier_own(key=encode(MemberKeys((first, key, third))))))
    check_document(encode_plan(secret_plan(paillier_own())), make_rules(version=3))
    monkeypatch.undo()
    said = faults(secret_plan(paillier_own(key=own_keys(b"others"))))
    assert "member 0: a modulus of 512 bits: 2048 … 3072 are allowed" in said


SMALL_PRIME = 65521


@lru_cache(maxsize=1)
def wide_prime() -> int:
    """One that makes a modulus of as many bits of the small one."""
    return int(next_prime((1 << (SMALL_BITS - 1)) // SMALL_PRIME + (1 << (SMALL_BITS - 28))))


def test_a_members_key_may_serve_two_plans_but_nobody_elses() -> None:
    """The same three members, with the same keys; not under another member's name, and not beside a dealt one."""
    chain = SecretChain(secret_plan(paillier_own()))
    other = chain.submit(secret_plan(paillier_own(), nonce=1))
    chain.mine()
    assert chain.rejected == {}
    assert chain.entry(other).status == "enrolling"
    first, second, third = decode(own_keys(), MemberKeys).members
    copied = show_key(derive_factors(MINERS[0], first.label, SMALL_BITS), OTHER, first.label)
    chain.submit(secret_plan(paillier_own(key=encode(MemberKeys((copied, second, third)))), nonce=2))
    chain.mine()
    [refused] = chain.rejected.values()
    assert refused.rule == "plan.submit.key"
    dealt = secret_plan(paillier(key=encode(replace(decode(dealt_key(), PublicKey), modulus=second.modulus))))
    assert find_clash(get_moduli(dealt), get_moduli(secret_plan(paillier_own()))) == second.modulus
    assert find_clash(get_moduli(secret_plan(paillier_own())), get_moduli(dealt)) == second.modulus
    assert find_clash(get_moduli(dealt), get_moduli(secret_plan(masked()))) is None


@SCHEMES
def test_deadlines_leave_time_to_answer(how: Encryption) -> None:
    """Who waits for confirmations can't answer a step that ends before."""
    plan = secret_plan(replace(how, decrypt_blocks=1))
    assert "aggregation.decrypt_blocks" in faults(plan)


def test_masks_are_for_as_many_as_can_share_with_each_other() -> None:
    """Each shares with each: more than the scheme takes are refused, and so are sums that do not fit its slots."""
    plan = secret_plan(masked(), devices=(3, 200, 200))
    assert "participation.goal_devices" in faults(replace(plan, fraction_bits=16))


def test_two_plans_have_two_keys() -> None:
    """Who deals one key twice, or draws a prime twice, is told so when the second plan is submitted."""
    chain = SecretChain(secret_plan(paillier()))
    second = chain.submit(secret_plan(paillier(), nonce=1))
    chain.mine()
    [refused] = chain.rejected.values()
    assert refused.rule == "plan.submit.key"
    assert chain.plan.hex()[:16] in refused.detail
    other = chain.submit(secret_plan(paillier(key=dealt_key(label=b"another")), nonce=2))
    chain.mine()
    assert chain.rejected == {}
    assert chain.entry(other).status == "enrolling"
    assert second != other


def test_members_are_paid_for_what_they_open() -> None:
    """Those whose parts opened the sums share the miners' pool with the producers who brought the updates."""
    chain = SecretChain(secret_plan(paillier()))
    for _ in range(2):
        chain.pass_phase(*ALL)
    [record] = get_history(chain, chain.plan)
    paid = {report.miner: report.reward for report in record.miners}
    assert all(paid[miner.account] > 0 for miner in MINERS[:2])
    assert MINERS[2].account not in paid


@SCHEMES
def test_one_liar_moves_the_model_no_further_than_the_bounds(how: Encryption) -> None:
    """What it encrypts can't be seen, so the sum is cut to what honest devices can have sent together."""
    chain = SecretChain(secret_plan(how, algorithm=AVERAGE))
    chain.pass_shares(*ALL)
    most = (1 << 23) - 1
    lie = chain.scheme.protect(chain.problem, chain.cohort(), DAVE, np.full(3, most, dtype=np.int64))
    chain.show(ALICE, BOB, CAROL)
    chain.updates.append(AttestedUpdate(chain.release(chain.plan, DAVE, lie), ()))
    chain.mine()
    assert chain.rejected == {}
    chain.decrypt(*chain.helpers(*ALL)[: chain.scheme.threshold(chain.problem, 4)])
    before = chain.model()
    chain.mine()
    assert (abs(chain.model() - before) <= 4 << 24).all()
    assert (chain.model() - before > 3 << 24).all(), "it lied as much as it could: 100 rows for the 20 it has"


def test_who_encrypts_what_is_out_of_range_stops_nobody() -> None:
    """Its numbers run over into other slots: the sum is spoilt within the bounds, as by any liar; the plan goes on."""
    chain = SecretChain(secret_plan(paillier(), algorithm=AVERAGE))
    wide = Packing(26, 1, 3, 2048)  # slots of 26 bits, as four devices' sums of 24 have
    context = get_context(Hash(chain.round.task.digest), DAVE.account)
    values = np.array([-(2**25), 2**25 - 1, 2**25 - 1], dtype=np.int64)
    lie = encrypt(decode(dealt_key(), PublicKey), wide, values, context, SeededRandom(b"liar"))
    chain.show(ALICE, BOB, CAROL)
    chain.updates.append(AttestedUpdate(chain.release(chain.plan, DAVE, lie), ()))
    chain.mine()
    assert chain.rejected == {}
    before, rounds = chain.model(), chain.entry(chain.plan).rounds
    chain.decrypt(*MINERS[:2])
    chain.mine()
    assert chain.entry(chain.plan).rounds == rounds + 1
    assert (abs(chain.model() - before) <= 4 << 24).all()
