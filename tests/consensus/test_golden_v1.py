"""A chain of rules version 1, kept: every kind of transaction, learning, openings, ends; its roots are pinned.

The figures were written down before staking came into the ledger. A block that was valid then gives the same state,
bit for bit, with every later version of this program; what is new comes under new keys and a new rules version.
No figure here depends on floating point: what the devices send is written out, not learned.
"""

from hashlib import sha256

import numpy as np

from chain.codec import encode
from chain.ids import Amount, Hash
from chain.number import Number
from chain.transaction import CancelPlan, OpenHoldout, RegisterMiner, RetireMiner, Transfer
from chain.update import Attestation, AttestedUpdate
from consensus.queries import attestations_needed, eligible_miners, expected_opening, get_history, get_open_task
from fl.dataset import DenseData
from fl.holdout import commit_holdout
from fl.payload import write_payload
from fl.plan.schema import FedAvg, Holdout
from tests.consensus.harness import DEVICES, MINERS, OTHER, OWNER, Chain, make_plan

ROWS = DenseData(np.array([[0.5, -0.25], [-0.5, 0.75]] * 6), np.array([1.0, 0.0] * 6))
HOLDOUT = commit_holdout(ROWS, 3, b"golden")
ROOTS = [
    "38a57c0c0fb31f79",
    "1a823a32225940ae",
    "5cc05e3a909dd507",
    "6ffe351afce68d87",
    "2ab5f3ffa96f08c3",
    "dc11c353eac7f185",
    "e5013b35f80f039d",
    "85f0f21549b529bb",
    "41ceea4cd3af9d65",
    "e5332cce10c57ac2",
    "b64e2edefecefb8f",
    "79d19fd939af82d5",
    "cf888f8016f08180",
    "f1c8c56a000245d1",
    "760787e91123092f",
    "1146d4257868e39b",
    "33d50a15458179c9",
    "786112246547abc4",
    "30f809eaa8ef3131",
    "c814fa6c32879741",
    "20e7d9c10ff6ccd5",
    "e162287169c9c250",
]
GENESIS = "9ac067b269d1c49dacfc61457f4e2178e107cff5be25f4a995314aae89141298"
BODIES = "046f33288dda5781372e68b11c9246d5aba6a31a251441e901c6dea8f90ffc25"
EVENTS = "b60289a9e1409aa43fedd45a6d5eaca3ec387610bd795b06c92b4922c7b16b20"
STATE = "7a7d3839cee37f0a91e6ed7144421179f5c93beba5ffbce7dc9d5255a5c54b32"


def answer(chain: Chain, plan: Hash) -> None:
    """Every selected device sends the vector of its number, attested by whom the beacon names; a chunk is opened."""
    chunk = expected_opening(chain, plan, chain.context().beacon)
    if chunk is not None:
        number, payload = chain.task(plan).task.round, chain.keep(HOLDOUT.payloads[chunk])
        opening = OpenHoldout(plan, number, chunk, HOLDOUT.salts[chunk], HOLDOUT.proofs[chunk], payload)
        chain.send(OWNER, opening)
    task = get_open_task(chain, plan)
    if task is None or task.step != "reveal":
        return
    for device in chain.selected(plan):
        number = DEVICES.index(device) + 1
        vector = np.array([number << 20, -number << 19, number << 18], dtype=np.int64)
        payload = write_payload(vector, number << 22)
        if task.task.phase == 0 and plan_kind(chain, plan) == "fedsvrg":
            payload = write_payload(vector, number << 22, np.array([7, 20], dtype=np.int64))
        elif plan_kind(chain, plan) == "fedsvrg":
            payload = write_payload(vector)
        update = chain.release(plan, device, payload)
        rules, height = chain.context().rules, chain.height + 1
        eligible = eligible_miners(chain, rules, task, device.account, height)
        keys = [key for key in MINERS if key.account in eligible[: attestations_needed(chain, plan)]]
        chain.updates.append(AttestedUpdate(update, tuple(Attestation.of(update.id, key) for key in keys)))


def plan_kind(chain: Chain, plan: Hash) -> str:
    """The algorithm's name, as the plan's document says it."""
    return "fedsvrg" if b"fedsvrg" in chain.state[b"s/document/" + plan] else "fedavg"


def golden_chain() -> Chain:
    """The script: two plans run to their end, one is cancelled, miners come and go, coins move."""
    chain = Chain()
    policy = Holdout(HOLDOUT.root, 3, 4, Number.of("0.1"))
    first = chain.submit(make_plan(nonce=1, devices=(2, 3, 4), attestations=1))
    second = chain.submit(
        make_plan(nonce=2, devices=(2, 3, 3), rounds=1, algorithm=FedAvg(Number.of("0.1"), 1, 5), policies=(policy,))
    )
    third = chain.submit(make_plan(nonce=3), extra=77)
    for number, miner in enumerate(MINERS):
        chain.send(miner, RegisterMiner(Amount(700 + number)))
    chain.mine()
    chain.register(*DEVICES[:5])
    chain.join(first, *DEVICES[:4])
    chain.join(second, *DEVICES[2:5])
    chain.send(OTHER, Transfer(DEVICES[7].account, Amount(123_456)))
    chain.mine()
    chain.send(OWNER, CancelPlan(third))
    chain.send(DEVICES[7], Transfer(OWNER.account, Amount(456)))
    chain.mine()
    for _ in range(18):
        for plan in (first, second):
            answer(chain, plan)
        if chain.height == 9:
            chain.send(MINERS[2], RetireMiner())
        chain.mine()
    assert [chain.entry(plan).status for plan in (first, second, third)] == ["finished", "finished", "cancelled"]
    assert get_history(chain, first)
    assert get_history(chain, second)
    return chain


def test_a_chain_of_version_1_is_what_it_was() -> None:
    """Genesis, bodies, every state root, every event and the last state have the digests they had."""
    chain = golden_chain()
    assert chain.genesis.id.hex() == GENESIS
    kinds = {type(each.transaction.body).__name__ for block in chain.blocks for each in block.body.transactions}
    assert len(kinds) == 8
    assert any(block.body.updates for block in chain.blocks)
    assert sha256(b"".join(encode(block.body) for block in chain.blocks)).hexdigest() == BODIES
    assert [block.header.state_root.hex()[:16] for block in chain.blocks] == ROOTS
    assert sha256(b"".join(encode(execution.events) for execution in chain.executions)).hexdigest() == EVENTS
    assert sha256(encode(tuple(sorted(chain.state.items())))).hexdigest() == STATE
