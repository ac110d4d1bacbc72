"""Rules of local updates: what a block may carry, who must attest, and the words of every refusal."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from chain.block import Body
from chain.ids import INT_MAX, ZERO_HASH, Amount, Hash
from chain.keys import KeyPair
from chain.payload import PayloadRef
from chain.transaction import CancelPlan, RegisterMiner, Transfer
from chain.update import Attestation, AttestedUpdate, LocalUpdate, PrivacyCharge, Release
from consensus.assignment import get_miner_order
from consensus.context import BlockContext
from consensus.errors import Invalid, MissingPayload
from consensus.queries import attestations_needed, eligible_miners, get_device, get_miners, get_plan_document
from consensus.signatures import SignatureCache
from consensus.transition import check_local_update, execute, fill
from consensus.view import PayloadView
from fl.payload import write_payload
from fl.plan.schema import Timing
from tests.consensus.harness import DEVICES, MINERS, OTHER, OWNER, Chain, make_plan

FIRST, SECOND = DEVICES[:2]


def started(**options: object) -> tuple[Chain, Hash]:
    """A chain with a plan whose first task is open to four devices; the fifth has not joined."""
    chain = Chain()
    return chain, chain.start(make_plan(devices=(2, 4, 4), **options), DEVICES[:4])


def attested(update: LocalUpdate, *miners: KeyPair) -> AttestedUpdate:
    return AttestedUpdate(update, tuple(Attestation.of(update.id, key) for key in miners))


def refusal(chain: Chain, update: AttestedUpdate) -> Invalid:
    """The verdict of a block."""
    chain.updates.append(update)
    chain.mine()
    return chain.rejected[update.id]


def changed(chain: Chain, name: Hash, **changes: object) -> LocalUpdate:
    return chain.release(name, FIRST, change=lambda release: replace(release, **changes))


def vector(value: int, loss: int = 5) -> bytes:
    """A gradient payload of the test plan with one large coordinate."""
    return write_payload(np.array([value, 0, 0], dtype=np.int64), loss, np.array([1, 1], dtype=np.int64))


def resized(release: Release) -> Release:
    return replace(release, payload=PayloadRef(release.payload.id, release.payload.size + 1))


SPOILT: dict[str, tuple[str, Callable[[Chain, Hash], LocalUpdate]]] = {
    "another chain": ("update.chain", lambda c, p: changed(c, p, chain_id="another")),
    "an unknown plan": ("update.plan", lambda c, p: changed(c, p, plan=ZERO_HASH)),
    "a foreign task": ("update.task", lambda c, p: changed(c, p, task=ZERO_HASH)),
    "another phase": ("update.task", lambda c, p: changed(c, p, phase=1)),
    "another round": ("update.task", lambda c, p: changed(c, p, round=1)),
    "a device that was not selected": ("update.device", lambda c, p: c.release(p, DEVICES[4], vector(1))),
    "more samples than enrolled": ("update.samples", lambda c, p: changed(c, p, samples=21)),
    "a mechanism the plan has not": ("update.privacy", lambda c, p: changed(c, p, privacy=PrivacyCharge("dp", 0, 0))),
    "a loss without noise": ("update.privacy", lambda c, p: changed(c, p, privacy=PrivacyCharge("none", 1, 1))),
    "a size that is not the payload's": ("update.payload", lambda c, p: c.release(p, FIRST, change=resized)),
    "the wrong shape": ("update.payload", lambda c, p: c.release(p, FIRST, b"x" * 17)),
    "a norm over the clip": ("update.policy", lambda c, p: c.release(p, FIRST, vector(201 << 24))),
    "another's signature": ("update.signature", lambda c, p: LocalUpdate(c.release(p, FIRST).release, bytes(64))),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_update_is_refused_by_name(case):
    """Block and pool refuse it by the same rule, and nothing of it stays."""
    chain, plan = started()
    rule, spoil = SPOILT[case]
    update = spoil(chain, plan)
    with pytest.raises(Invalid) as pooled:
        check_local_update(chain, chain.context(), update, chain.store[update.release.payload.id])
    verdict = None
    if update.release.plan == plan:
        chain.updates.append(AttestedUpdate(update, ()))
        chain.mine()
        verdict = chain.rejected[update.id]
        assert chain.task(plan).revealed == ()
        assert verdict.detail == pooled.value.detail
    assert pooled.value.rule == rule


def test_an_honest_update_is_revealed_once():
    """A second release of the same device for the same task is refused."""
    chain, plan = started()
    chain.reveal(plan, FIRST)
    chain.mine()
    assert chain.task(plan).revealed == (FIRST.account,)
    again = chain.release(plan, FIRST)
    assert refusal_rule(chain, again) == "update.known"


def known_payloads(chain: Chain, plan: Hash) -> tuple[SignatureCache, AttestedUpdate]:
    """What a node remembers that has checked an update for its pool, and the update."""
    memory = SignatureCache()
    update = chain.release(plan, FIRST)
    check_local_update(chain, chain.context(), update, chain.store[update.release.payload.id], signatures=memory)
    return memory, AttestedUpdate(update, ())


def test_a_payload_that_was_checked_is_not_read_again_but_must_be_here():
    """A block with it is as good as before without a byte read, and incomplete, not invalid, if it is gone."""
    chain, plan = started()
    memory, update = known_payloads(chain, plan)
    here, body = Present({update.update.release.payload.id}), Body((), (update,))
    remembered = execute(chain, chain.context(), body, here, signatures=memory)
    assert here.read == []
    assert remembered == execute(chain, chain.context(), body, chain)
    with pytest.raises(MissingPayload) as missing:
        execute(chain, chain.context(), body, Present(set()), signatures=memory)
    assert [ref.id for ref in missing.value.refs] == [update.update.release.payload.id]


def test_what_was_checked_of_a_payload_says_nothing_of_another_update():
    """The same bytes under another size: looked at anew."""
    chain, plan = started()
    memory, update = known_payloads(chain, plan)
    here = Present({update.update.release.payload.id}, chain)
    other = AttestedUpdate(chain.release(plan, FIRST, change=resized), ())
    with pytest.raises(Invalid, match="the release says"):
        execute(chain, chain.context(), Body((), (other,)), here, signatures=memory)
    assert here.read == [update.update.release.payload.id]


@pytest.mark.parametrize("time_ms", [0, 200_000])
def test_what_was_checked_of_a_payload_says_nothing_of_the_time(time_ms):
    """Where time is judged a block's own counts: its verdict is the one without a memory, and no byte is read."""
    chain, plan = started(policies=[Timing(10**6)])
    slow, memory = changed(chain, plan, computation_us=180_000_000), SignatureCache()
    late = chain.context(time_ms=chain.context().time_ms + 200_000)
    check_local_update(chain, late, slow, chain.store[slow.release.payload.id], signatures=memory)
    here, body = Present({slow.release.payload.id}), Body((), (AttestedUpdate(slow, ()),))
    context = chain.context(time_ms=chain.context().time_ms + time_ms)
    found = [verdict_of(chain, context, body, *sides) for sides in ((here, memory), (chain, SignatureCache()))]
    assert found[0] == found[1]
    assert (found[0] is None) == bool(time_ms)
    assert here.read == []


def verdict_of(
    chain: Chain, context: BlockContext, body: Body, payloads: PayloadView, memory: SignatureCache
) -> object:
    """Why a block with this body is not valid, all of it; None if it is."""
    try:
        execute(chain, context, body, payloads, signatures=memory)
    except Invalid as verdict:
        return verdict.rule, verdict.detail, verdict.later
    return None


class Present:
    """Payloads of which it is known that they are here; they can be read if there is somewhere to read them."""

    def __init__(self, ids: set[Hash], chain: Chain | None = None) -> None:
        self.ids = ids
        self.chain = chain
        self.read: list[Hash] = []

    def has(self, id: Hash) -> bool:
        return id in self.ids

    def payload(self, id: Hash, /) -> bytes | None:
        self.read.append(id)
        return None if self.chain is None or id not in self.ids else self.chain.payload(id)


def refusal_rule(chain: Chain, update: LocalUpdate) -> str:
    chain.updates.append(AttestedUpdate(update, ()))
    chain.mine()
    return chain.rejected[update.id].rule


def test_a_plan_without_a_task_takes_no_update():
    """While devices still join, or when all is over: a verdict, no fault of this machine."""
    chain, plan = started()
    document = get_plan_document(chain, plan)
    assert document is not None
    enrolling = chain.submit(replace(document, nonce=1))
    chain.mine()
    early = refusal(chain, AttestedUpdate(changed(chain, plan, plan=enrolling), ()))
    assert (early.rule, early.later) == ("update.plan", True)
    chain.send(OWNER, CancelPlan(enrolling))
    chain.mine()
    late = refusal(chain, AttestedUpdate(changed(chain, plan, plan=enrolling), ()))
    assert (late.rule, late.later) == ("update.plan", False)


def test_bytes_that_are_not_the_payload_are_refused_in_the_pool():
    """A sender's bytes must be those that the release names."""
    chain, plan = started()
    update = chain.release(plan, FIRST)
    with pytest.raises(Invalid, match=r"update\.payload"):
        check_local_update(chain, chain.context(), update, chain.train(plan, SECOND))


def test_a_missing_payload_is_asked_for_and_no_verdict():
    """A block with it is incomplete; a new block leaves it out and does not reject it."""
    chain, plan = started()
    chain.reveal(plan, FIRST)
    ref = chain.updates[0].update.release.payload
    payload = chain.store.pop(ref.id)
    context = chain.context()
    filling = fill(chain, context, [], chain.updates, chain)
    assert (filling.body.updates, dict(filling.rejected)) == ((), {})
    body = replace(filling.body, updates=tuple(chain.updates))
    with pytest.raises(MissingPayload) as caught:
        execute(chain, context, body, chain)
    assert caught.value.refs == (ref,)
    chain.store[ref.id] = payload
    execute(chain, context, body, chain)


def test_a_payload_beyond_the_rules_is_never_asked_for():
    """Whatever a device signs: its size alone is the verdict."""
    chain, plan = started()
    size = chain.context().rules.max_payload_bytes + 1
    update = changed(chain, plan, payload=PayloadRef(chain.release(plan, FIRST).release.payload.id, size))
    chain.store.clear()
    verdict = refusal(chain, AttestedUpdate(update, ()))
    assert (verdict.rule, verdict.detail.split("; ")[0]) == ("update.payload", f"payload of {size} bytes")


def test_a_stranger_cannot_make_a_node_fetch():
    """Without the device's signature the verdict comes before any payload is asked for."""
    chain, plan = started()
    update = LocalUpdate(chain.release(plan, FIRST).release, bytes(64))
    chain.store.clear()
    filling = fill(chain, chain.context(), [], [AttestedUpdate(update, ())], chain)
    assert filling.rejected[update.id].rule == "update.signature"


def test_the_chain_keeps_the_largest_privacy_total():
    """A total may grow or stay, on whatever plan; a smaller one is refused."""
    chain, plan = started()
    chain.updates.append(AttestedUpdate(changed(chain, plan, privacy=PrivacyCharge("none", 0, 7)), ()))
    chain.reveal(plan, *DEVICES[1:4])
    chain.mine()
    device = get_device(chain, FIRST.account)
    assert device is not None
    assert device.privacy_total == 7
    assert chain.task(plan).task.phase == 1
    update = chain.release(plan, FIRST)
    verdict = refusal(chain, AttestedUpdate(update, ()))
    assert str(verdict) == "update.privacy: cumulative loss 0; the chain has recorded 7 already"


def test_a_time_that_has_not_passed_may_be_true_later():
    """A reported time over what the chain saw is refused for now, and said to be so."""
    chain, plan = started(policies=[Timing(10**6)], blocks=(4, 9, 2))
    slow = changed(chain, plan, computation_us=180_000_000)
    first = refusal(chain, AttestedUpdate(slow, ()))
    assert (first.rule, first.later) == ("update.policy", True)
    chain.mine(1)
    chain.updates.append(AttestedUpdate(slow, ()))
    chain.mine()
    assert chain.task(plan).revealed == (FIRST.account,)


def test_an_absurd_time_is_refused_and_harms_nobody():
    """Without the timing policy any reported time is taken, and sums of them do not break the ledger."""
    chain, plan = started(rounds=1)
    for _ in range(2):
        for device in DEVICES[:4]:
            update = chain.release(plan, device, change=lambda release: replace(release, computation_us=INT_MAX))
            chain.updates.append(AttestedUpdate(update, ()))
        chain.mine()
    assert chain.entry(plan).status == "finished"


# --- attestations ---------------------------------------------------------------------------------


def with_miners(attestations: int) -> tuple[Chain, Hash]:
    chain = Chain()
    for key in MINERS:
        chain.send(key, RegisterMiner(Amount(500)))
    chain.mine()
    plan = make_plan(devices=(2, 4, 4), attestations=attestations, blocks=(4, 9, 2))
    return chain, chain.start(plan, DEVICES[:4])


def in_order(chain: Chain, plan: Hash, height: int) -> list[KeyPair]:
    """The eligible miners' keys in beacon order."""
    eligible = eligible_miners(chain, chain.context().rules, chain.task(plan), FIRST.account, height)
    return [next(key for key in MINERS if key.account == miner) for miner in eligible]


def test_assigned_miners_attest_and_later_others_may():
    """At first as many miners as are needed may attest; one more for every two blocks of silence."""
    chain, plan = with_miners(1)
    opened = chain.task(plan).opened
    assert attestations_needed(chain, plan) == 1
    counts = [len(in_order(chain, plan, opened + blocks)) for blocks in range(1, 7)]
    assert counts == [1, 1, 2, 2, 3, 3]
    assigned, substitute = in_order(chain, plan, opened + 9)[:2]
    update = chain.release(plan, FIRST)
    early = refusal(chain, attested(update, substitute))
    assert (early.rule, early.later) == ("update.attestations", True)
    chain.updates.append(attested(update, assigned))
    chain.mine()
    assert chain.task(plan).revealed == (FIRST.account,)
    chain.updates.append(attested(chain.release(plan, SECOND), *MINERS[:0]))
    chain.mine(4)
    chain.updates.append(attested(chain.release(plan, SECOND), substitute))
    chain.mine()
    assert SECOND.account in chain.task(plan).revealed


@pytest.mark.parametrize(
    "choose",
    [
        lambda update, keys: AttestedUpdate(update, ()),
        lambda update, keys: attested(update, keys[0]),
        lambda update, keys: attested(update, keys[1], keys[0]),
        lambda update, keys: attested(update, keys[0], keys[0]),
        lambda update, keys: attested(update, *keys),
        lambda update, keys: attested(update, *sorted([OTHER, keys[0]], key=lambda key: key.account)),
        lambda update, keys: replace(
            attested(update, *keys[:2]),
            attestations=tuple(replace(a, signature=bytes(64)) for a in attested(update, *keys[:2]).attestations),
        ),
    ],
    ids=["none", "too few", "out of order", "twice the same", "too many", "a stranger", "bad signatures"],
)
def test_attestations_must_be_exactly_those_asked_for(choose):
    """Two were asked for: two eligible miners, in the order of their ids, each with its signature."""
    chain, plan = with_miners(2)
    chain.mine(5)
    update = chain.release(plan, FIRST)
    keys = sorted(in_order(chain, plan, chain.height + 1), key=lambda key: key.account)
    assert len(keys) == 3
    assert refusal(chain, choose(update, keys)).rule == "update.attestations"


def test_a_miner_who_registers_after_the_draw_changes_nothing():
    """With the beacon known, a key that comes first is easily made: it neither attests nor pushes others back."""
    chain, plan = with_miners(1)
    task, honest = chain.task(plan).task, in_order(chain, plan, chain.height + 1)[0]
    keys = (KeyPair(number.to_bytes(32, "big")) for number in range(1000, 2000))
    late = next(
        key for key in keys if get_miner_order((honest.account, key.account), task, FIRST.account)[1] == honest.account
    )
    chain.send(OWNER, Transfer(late.account, Amount(10_000)))
    chain.mine()
    chain.send(late, RegisterMiner(Amount(500)))
    chain.mine()
    assert late.account in get_miners(chain)
    update = chain.release(plan, FIRST)
    assert refusal(chain, attested(update, late)).rule == "update.attestations"
    assert in_order(chain, plan, chain.height)[0] == honest
    chain.updates.append(attested(update, honest))
    chain.mine()
    assert chain.rejected == {}


def test_without_enough_miners_an_update_waits():
    """With attestations asked for and no registered miner nobody can vouch for an update; a miner may still come."""
    chain, plan = started(attestations=1, blocks=(4, 9, 2))
    update = chain.release(plan, FIRST)
    assert refusal(chain, AttestedUpdate(update, ())).later
    chain.send(MINERS[0], RegisterMiner(Amount(500)))
    chain.mine()
    chain.updates.append(attested(update, MINERS[0]))
    chain.mine()
    assert chain.task(plan).revealed == (FIRST.account,)
