"""Transactions on their way: refusals say why, nothing of one's own is lost or blocked, peers are judged fairly."""

from msgspec.structs import replace

from chain.block import Block
from chain.codec import encode
from chain.ids import Amount, Hash
from chain.transaction import Body, CancelPlan, JoinPlan, RegisterDevice, SignedTransaction, Transaction, Transfer
from node.core.config import CoreConfig, DeviceConfig, PoolLimits
from node.core.waitingroom import WaitingRoom
from node.effects import Accepted, Refused
from node.events import SubmitBody, SubmitTransaction
from node.mempool import replacement_fee
from p2p.events import TransactionArrived, Verdict
from tests.consensus.harness import make_data
from tests.node.core.lonely import PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_device import GENESIS, NAME, founding, joining
from tests.node.core.town import Rows, key_of, make_world

ALICE, BOB, ONE = key_of(1), key_of(2), key_of(11)


def pay(amount: int, nonce: int, fee: int = 5000, sender: int = 1) -> SignedTransaction:
    body: Body = Transfer(BOB.account, Amount(amount))
    key = key_of(sender)
    return Transaction(1, GENESIS.chain_id, key.account, nonce, Amount(fee), body).sign(key)


def outcomes(lonely: Lonely) -> list[object]:
    return [reply.outcome for reply in lonely.replies()]


def test_a_good_transaction_is_accepted_announced_and_waits() -> None:
    """The one who sent it hears its id; peers hear of it; the next nonce counts it."""
    lonely = Lonely(GENESIS)
    signed = pay(5, 0)
    lonely.send(SubmitTransaction(1, signed))
    assert [Accepted(signed.id)] == outcomes(lonely)
    assert [signed.id] == lonely.network.transactions
    assert (signed,) == lonely.core.pending_transactions()
    assert lonely.core.next_nonce(ALICE.account) == 1


def test_a_transaction_that_waits_is_replaced() -> None:
    """The new one has its nonce and the least fee that pushes it out; peers hear of it; what is in no pool can't be."""
    lonely = Lonely(GENESIS, make_world(GENESIS, ALICE))
    for request in (1, 2):
        lonely.send(SubmitBody(request, Transfer(BOB.account, Amount(7))))
    first, second = lonely.core.pending_transactions()
    lonely.send(SubmitBody(3, Transfer(ALICE.account, Amount(1)), first.id))
    replacing = next(one for one in lonely.core.pending_transactions() if one.id not in (first.id, second.id))
    assert set(lonely.core.pending_transactions()) == {replacing, second}
    assert replacing.transaction.nonce == first.transaction.nonce
    size = len(encode(replacing))
    assert replacing.transaction.fee >= replacement_fee(first.transaction.fee, size)
    assert replacing.transaction.fee <= replacement_fee(first.transaction.fee, size) + 4
    assert lonely.network.transactions[-1] == replacing.id
    lonely.send(SubmitBody(4, Transfer(ALICE.account, Amount(1)), first.id))
    refused = outcomes(lonely)[-1]
    assert isinstance(refused, Refused)
    assert refused.rule == "transaction.replaces"


def test_a_refusal_names_the_rule() -> None:
    """Poverty, a used nonce, a missing fee and a forged signature are each told by name, and nothing is announced."""
    mint = Mint(GENESIS)
    block = mint.block(mint.root, [pay(5, 0)], producer=ALICE)
    lonely = Lonely(GENESIS)
    lonely.give(block)
    forged = SignedTransaction(pay(5, 1).transaction, pay(6, 1).signature)
    for request, signed in enumerate([pay(5, 0, sender=3), pay(5, 0), pay(5, 1, fee=0), forged]):
        lonely.send(SubmitTransaction(request, signed))
    refused = [outcome for outcome in outcomes(lonely) if isinstance(outcome, Refused)]
    assert len(refused) == 4
    assert all(outcome.rule and outcome.reason for outcome in refused)
    assert len({outcome.rule for outcome in refused}) == 4
    assert lonely.network.transactions == []
    assert lonely.core.pending_transactions() == ()


def plan_after_devices() -> tuple[Block, Block]:
    """A block that registers the devices, and one with the plan they may then join."""
    mint = Mint(GENESIS)
    plan, *registrations = founding()
    devices = mint.block(mint.root, registrations, producer=ALICE)
    return devices, mint.block(devices.id, [plan], producer=ALICE)


def test_a_users_no_stays_a_no() -> None:
    """What was refused to a user as too early does not slip in with a later block."""
    devices, plan = plan_after_devices()
    lonely = Lonely(GENESIS)
    lonely.give(devices)
    lonely.send(SubmitTransaction(1, joining()[0]))
    (refused,) = outcomes(lonely)
    assert isinstance(refused, Refused)
    assert "plan" in refused.reason
    lonely.give(plan)
    assert lonely.core.pending_transactions() == ()


def test_a_peers_transaction_waits_for_the_block_that_makes_it_right() -> None:
    """A join that comes before the plan's block is no fault, and is taken and passed on when the block is there."""
    devices, plan = plan_after_devices()
    lonely = Lonely(GENESIS)
    lonely.give(devices)
    join = joining()[0]
    lonely.hear(TransactionArrived(PEER, join))
    assert [verdict for _, verdict, _ in lonely.network.verdicts] == [Verdict.IGNORE]
    assert lonely.core.pending_transactions() == ()
    lonely.give(plan)
    assert (join,) == lonely.core.pending_transactions()
    assert [join.id] == lonely.network.transactions


def test_only_a_bad_signature_condemns_a_peer() -> None:
    """A transaction the state refuses is ignored; one that its sender did not sign is the peer's fault."""
    lonely = Lonely(GENESIS)
    lonely.hear(TransactionArrived(PEER, pay(5, 0, sender=3)))
    lonely.hear(TransactionArrived(PEER, SignedTransaction(pay(5, 1).transaction, pay(6, 1).signature)))
    lonely.hear(TransactionArrived(PEER, pay(5, 0)))
    verdicts = [verdict for _, verdict, _ in lonely.network.verdicts]
    assert verdicts == [Verdict.IGNORE, Verdict.REJECT, Verdict.ACCEPT]


def test_the_node_signs_at_the_next_nonce_for_the_least_fee() -> None:
    """Two requests in a row get following nonces; their fee is what their bytes owe, no more than a few units over."""
    lonely = Lonely(GENESIS, make_world(GENESIS, ALICE))
    for request in (1, 2):
        lonely.send(SubmitBody(request, Transfer(BOB.account, Amount(7))))
    first, second = lonely.core.pending_transactions()
    assert (first.transaction.nonce, second.transaction.nonce) == (0, 1)
    for signed in (first, second):
        owed = GENESIS.rules_at(1).min_fee_per_byte * len(encode(signed))
        assert owed <= signed.transaction.fee <= owed + 4


def test_own_transactions_survive_a_reorganisation_and_are_not_signed_twice() -> None:
    """A transaction whose block is taken back waits again as it was, and is included again at the same nonce."""
    mint = Mint(GENESIS)
    lonely = Lonely(GENESIS, make_world(GENESIS, ALICE))
    lonely.send(SubmitBody(1, Transfer(BOB.account, Amount(7))))
    (signed,) = lonely.core.pending_transactions()
    lonely.give(mint.block(mint.root, [signed], producer=ALICE))
    assert lonely.core.pending_transactions() == ()
    assert lonely.core.next_nonce(ALICE.account) == 1
    rivals = [mint.block(mint.root, producer=BOB)]
    rivals.append(mint.block(rivals[0].id, producer=BOB))
    lonely.give(*rivals)
    assert rivals[1].id == lonely.head
    assert (signed,) == lonely.core.pending_transactions()
    lonely.give(mint.block(rivals[1].id, [signed], producer=BOB))
    assert lonely.core.pending_transactions() == ()


def extend(mint: Mint, parent: Block, count: int) -> list[Block]:
    blocks = []
    for _ in range(count):
        parent = mint.block(parent.id, producer=BOB)
        blocks.append(parent)
    return blocks


def test_an_own_transaction_that_became_hopeless_does_not_block_the_next() -> None:
    """A join of a plan that has closed is dropped, and what was signed after it moves up to its nonce."""
    mint = Mint(GENESIS)
    coins = Transaction(1, GENESIS.chain_id, ALICE.account, 1, Amount(5000), Transfer(ONE.account, Amount(10**6)))
    first = mint.block(mint.root, [*founding(), coins.sign(ALICE)], producer=ALICE)
    config = CoreConfig(device=DeviceConfig(consent=False))
    lonely = Lonely(GENESIS, make_world(GENESIS, ONE, data=Rows(make_data(ONE))), config)
    lonely.give(first)
    lonely.send(SubmitBody(1, JoinPlan(NAME, "clinic", 20, Hash(bytes(32)))))
    lonely.send(SubmitBody(2, CancelPlan(NAME)))  # as good as any: it will be judged at its own nonce
    assert [signed.transaction.nonce for signed in lonely.core.pending_transactions()] == [1, 2]
    assert all(isinstance(outcome, Accepted) for outcome in outcomes(lonely))
    lonely.give(*extend(mint, first, 9))  # the enrolment's deadline passes
    kinds = [type(signed.transaction.body) for signed in lonely.core.pending_transactions()]
    assert JoinPlan not in kinds
    nonces = [signed.transaction.nonce for signed in lonely.core.pending_transactions()]
    assert nonces == list(range(1, 1 + len(nonces)))


def test_a_transfer_is_never_signed_twice() -> None:
    """Before a waiting transfer a gap is closed with a coin to oneself; the transfer keeps its nonce."""
    mint = Mint(GENESIS)
    first = mint.block(mint.root, founding(), producer=ALICE)
    lonely = Lonely(GENESIS, make_world(GENESIS, ALICE))
    lonely.give(first)
    lonely.send(SubmitBody(1, RegisterDevice(0, 0)))
    lonely.send(SubmitBody(2, Transfer(BOB.account, Amount(7))))
    hopeless, transfer = lonely.core.pending_transactions()
    lonely.core.mempool.remove([hopeless.id])
    lonely.give(*extend(mint, first, 1))
    filler = next(one for one in lonely.core.pending_transactions() if one.id != transfer.id)
    body = filler.transaction.body
    assert isinstance(body, Transfer)
    assert (ALICE.account, 1) == (body.to, body.amount)
    assert hopeless.transaction.nonce == filler.transaction.nonce
    assert transfer in lonely.core.pending_transactions()


def test_what_an_account_sends_is_paid_for_together() -> None:
    """Each of these is payable alone, both are not: the second is refused by name, and a peer is not to blame for it.

    When a block brings the coins, what the peer sent waits too.
    """
    mint = Mint(GENESIS)
    poor, rest = key_of(3).account, 20_000
    coins = Transaction(1, GENESIS.chain_id, ALICE.account, 0, Amount(5000), Transfer(poor, Amount(rest)))
    more = Transaction(1, GENESIS.chain_id, ALICE.account, 1, Amount(5000), Transfer(poor, Amount(rest)))
    first = mint.block(mint.root, [coins.sign(ALICE)], producer=ALICE)
    second = mint.block(first.id, [more.sign(ALICE)], producer=ALICE)
    lonely = Lonely(GENESIS)
    lonely.give(first)
    both = [pay(8_000, nonce, sender=3) for nonce in (0, 1)]
    assert all(one.transaction.fee + 8_000 <= rest for one in both)
    lonely.send(SubmitTransaction(1, both[0]))
    lonely.send(SubmitTransaction(2, both[1]))
    accepted, refused = outcomes(lonely)
    assert isinstance(accepted, Accepted)
    assert isinstance(refused, Refused)
    assert (refused.rule, "13000" in refused.reason, "20000" in refused.reason) == ("mempool.balance", True, True)
    lonely.hear(TransactionArrived(PEER, both[1]))
    assert [verdict for _, verdict, _ in lonely.network.verdicts] == [Verdict.IGNORE]
    lonely.give(second)
    assert set(both) == set(lonely.core.pending_transactions())


def test_a_full_pool_tells_the_user() -> None:
    """A transaction the pool has no room for is refused by the pool's name."""
    lonely = Lonely(GENESIS, config=CoreConfig(pools=PoolLimits(transactions=1)))
    lonely.send(SubmitTransaction(1, pay(5, 0)))
    lonely.send(SubmitTransaction(2, pay(5, 1, fee=4000)))
    refused = outcomes(lonely)[1]
    assert isinstance(refused, Refused)
    assert refused.rule == "mempool.full"


def test_what_was_accepted_outlives_the_process() -> None:
    """Killed right after it said yes, before any peer heard: it waits again, its nonce taken, and goes into a block."""
    lonely = Lonely(GENESIS)
    lonely.send(SubmitTransaction(1, pay(6, 1)))
    lonely.send(SubmitTransaction(2, pay(5, 0)))
    again = Lonely(GENESIS, lonely.world)
    assert {pay(5, 0), pay(6, 1)} == set(again.core.pending_transactions())
    assert again.core.next_nonce(ALICE.account) == 2
    assert {pay(5, 0).id, pay(6, 1).id} == set(again.network.transactions)


def test_what_is_final_or_given_up_is_kept_no_longer() -> None:
    """The store keeps a transaction while a reorganisation could take it back, not for ever; nor a replaced one."""
    shallow = replace(GENESIS, engine=replace(GENESIS.engine, max_reorg=3))
    lonely, mint = Lonely(shallow), Mint(shallow)
    cheap, better = pay(5, 0), pay(5, 0, fee=50_000)
    for request, signed in enumerate((cheap, better)):
        lonely.send(SubmitTransaction(request, signed))
    blocks = [mint.block(mint.root, [better], producer=BOB)]
    lonely.give(blocks[0])
    assert (better,) == lonely.world.store.kept_transactions()
    while lonely.core.finalized() < 1:
        blocks.append(mint.block(blocks[-1].id, producer=BOB))
        lonely.give(blocks[-1])
    assert len(blocks) == 4
    assert lonely.world.store.kept_transactions() == ()
    assert Lonely(shallow, lonely.world).core.pending_transactions() == ()


def test_a_full_waiting_room_is_judged_in_turns() -> None:
    """So many at a head, those first that have waited longest; who has to wait on stands behind the others."""
    room = WaitingRoom()
    all_ = [pay(amount, 9) for amount in range(1, 101)]
    for signed in all_:
        room.put(signed)
    first = room.take(64)
    assert list(first) == all_[:64]
    for signed in first:
        room.put(signed)
    assert list(room.take(64)) == all_[64:] + all_[:28]
    assert len(room) == 36
