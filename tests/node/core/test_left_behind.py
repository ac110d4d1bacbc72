"""What a peer kept back until nobody could use it any more harms nobody when it comes."""

from msgspec.structs import replace

from chain.block import Block, Body, transactions_root, updates_root
from chain.genesis_default import default_genesis
from chain.ids import Amount, Hash
from chain.payload import PayloadRef
from chain.transaction import OpenHoldout, Transaction
from node.core.config import CoreConfig
from node.events import Tick
from p2p.events import PayloadArrived
from tests.consensus.harness import make_rules
from tests.node.core.lonely import PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import START, key_of

ALICE, BOB = key_of(1), key_of(2)
GENESIS = default_genesis(
    "late", {ALICE.account: 10**12}, time_ms=START, block_ms=1000, hashes_per_block=1, max_reorg=5, rules=make_rules()
)


def test_the_payload_of_a_block_that_was_let_go_comes_late() -> None:
    """A stale block's payload is withheld until the block is far below what is final; the node takes it calmly."""
    mint = Mint(GENESIS)
    main: list[Block] = []
    parent = mint.root
    for _ in range(100):
        main.append(mint.block(parent, producer=ALICE))
        parent = main[-1].id
    payload = b"withheld"
    ref = PayloadRef.of(payload)
    opening = OpenHoldout(Hash(bytes(32)), 1, 0, bytes(16), (), ref)
    signed = Transaction(1, GENESIS.chain_id, ALICE.account, 0, Amount(5000), opening).sign(ALICE)
    body = Body((signed,), ())
    roots = {"tx_root": transactions_root(body.transactions), "update_root": updates_root(body.updates)}
    draft = replace(main[1].header, producer=BOB.account, seal=b"", **roots)
    stale = Block(replace(draft, seal=mint._seal(draft)), body)
    lonely = Lonely(GENESIS)
    lonely.give(main[0])
    lonely.headers(main[1], stale)
    lonely.body(stale)
    lonely.body(main[1])
    lonely.settle()
    lonely.give(*main[2:])
    assert lonely.head == main[-1].id
    assert stale.id not in lonely.core.chain.tree
    assert ref.id not in lonely.network.wanted, "nobody needs it any more"
    lonely.hear(PayloadArrived(PEER, ref, payload))
    lonely.body(stale)
    assert not lonely.halts()


def test_a_node_without_a_limit_forgets_nothing_that_a_deep_reorganisation_needs() -> None:
    """While the operator has lifted the limit, undo of what would be final else is kept: the way back stays open."""
    mint = Mint(GENESIS)
    found: list[list[Block]] = []
    for producer, length in ((ALICE, 60), (BOB, 65)):
        parent, blocks = mint.root, []
        for _ in range(length):
            blocks.append(mint.block(parent, producer=producer))
            parent = blocks[-1].id
        found.append(blocks)
    short, long = found
    free = Lonely(GENESIS, config=CoreConfig(has_reorg_limit=False, snapshot_blocks=4))
    free.give(*short)
    for _ in range(10):
        free.send(Tick())
    free.give(*long)
    assert not free.halts()
    assert free.head == long[-1].id
