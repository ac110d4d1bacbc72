"""What a light node has to tell: its device's commitments do not stand in each other's way."""

from chain.ids import AccountId, Hash, Millis
from chain.keys import KeyPair
from chain.transaction import CommitUpdate
from consensus.queries import get_account
from node.core.messages import OwnTransaction
from node.core.turn import JobTable, Turn
from node.light.core import LIGHT_POOLS
from node.light.outbox import Outbox
from node.light.statedesk import StateGained
from node.mempool import Mempool
from node.updatepool import UpdatePool
from tests.consensus.harness import DEVICES
from tests.consensus.test_commitments import ALICE, CommittingChain
from tests.node.core.quiet import QuietNetwork
from tests.node.core.town import make_world


class ProvenChain:
    """A light node's view of a chain, every key of it proven."""

    def __init__(self, chain: CommittingChain) -> None:
        self.view = chain

    @property
    def height(self) -> int:
        return self.view.height

    @property
    def rules(self) -> object:
        return self.view.genesis.rules_at(self.view.height + 1)

    def nonce(self, account: AccountId) -> int:
        return get_account(self.view, account).nonce


def make_outbox(chain: CommittingChain, key: KeyPair) -> tuple[Outbox, Mempool]:
    mempool = Mempool(LIGHT_POOLS)
    parts = make_world(chain.genesis, key), ProvenChain(chain), mempool, UpdatePool(LIGHT_POOLS), QuietNetwork()
    return Outbox(*parts), mempool  # type: ignore[arg-type]


def test_a_commitment_that_came_too_late_makes_room_for_the_next() -> None:
    """No block takes it any more, and peers have forgotten it: what is signed next has its nonce."""
    chain = CommittingChain()
    outbox, mempool = make_outbox(chain, ALICE)
    turn = Turn(Millis(0), JobTable())
    first = chain.commitment(chain.honest(ALICE)[0])
    outbox.on_own(OwnTransaction(first), turn)
    [waiting] = mempool.of(ALICE.account)
    outbox.on_gained(StateGained(), turn)
    assert mempool.of(ALICE.account) == (waiting,), "the step is open still"
    chain.commit(*chain.honest(*DEVICES[1:3]))
    chain.mine(3)
    outbox.on_gained(StateGained(), turn)
    assert mempool.of(ALICE.account) == ()
    later = CommitUpdate(chain.plan, 0, 0, 1, Hash(bytes(32)), first.commitment)
    outbox.on_own(OwnTransaction(later), turn)
    [signed] = mempool.of(ALICE.account)
    assert signed.transaction.nonce == waiting.transaction.nonce
