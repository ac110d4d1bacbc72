"""The disputer: disputes what others attested falsely, so that attesters who agree among themselves are caught.

It repeats a random sample of the updates that others vouched for; which, its secret key draws, so that nobody knows
what will be looked at. What it knows to be false for any reason it disputes. Everything follows from the state at the
head: a verdict on an update holds for ever, and a dispute that a reorganisation takes back comes into the pool again.
"""

from collections.abc import Iterator
from typing import Final

from chain.hashing import digest
from chain.ids import AccountId, Amount, Hash
from chain.transaction import DisputeUpdate
from consensus.disputes import get_dispute_price, get_dispute_proof, takes_disputes
from consensus.fees import get_minimum_fee
from consensus.problems import get_problem
from consensus.records import RevealedUpdate, RoundState
from consensus.state import get_account, get_active, get_dispute, get_miner, get_plan, get_revealed, get_round
from fl.plan.dimensions import replay_policy
from node.core.config import MinerConfig
from node.core.messages import HeadChanged, OwnTransaction, UpdateRepeated
from node.core.turn import Turn
from node.events import Shutdown
from node.notices import RoleNotice
from node.roles.base import Surroundings
from node.roles.replayer import Claim, Replayer

_DOMAIN_SAMPLE: Final = b"fedchain/dispute-sample"
_DISPUTE_BYTES: Final = 600
"""More than a dispute has: it is sent only when its fee is there besides the amount."""


class Disputer:
    """The part of the miner role that disputes. ``disputes`` counts those since the start."""

    def __init__(self, around: Surroundings, config: MinerConfig, replayer: Replayer) -> None:
        self._around = around
        self._percent = config.dispute_percent
        self._replayer = replayer
        self._stopped = False
        self.disputes = 0

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Look at what the new state shows."""
        self._step(turn)

    def on_repeated(self, repeated: UpdateRepeated, turn: Turn) -> None:
        """Dispute what proved false."""
        if self._replayer.verdict(repeated.id) is False:
            self._step(turn)

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self._stopped = True

    def is_sampled(self, update: Hash) -> bool:
        """Does this miner look at an update? Nobody without its key knows."""
        drawn = digest(_DOMAIN_SAMPLE, self._around.world.key.seed, update)
        return int.from_bytes(drawn[:8], "big") % 100 < self._percent

    def _step(self, turn: Turn) -> None:
        view, account = self._around.chain.view, self._around.account
        if self._stopped or not self._around.may_act or get_miner(view, account) is None:
            return
        for plan in get_active(view):
            state = get_round(view, plan)
            if state is None or replay_policy(get_problem(view, plan).plan) is None:
                continue
            may_dispute = takes_disputes(view, state, self._around.chain.height + 1)
            for update in self._others(plan, state):
                verdict = self._replayer.verdict(Hash(update.update))
                if verdict is None and self.is_sampled(Hash(update.update)):
                    device, payload = AccountId(update.device), Hash(update.payload.id)
                    self._replayer.want(Claim(Hash(update.update), plan, Hash(update.task), device, payload), turn)
                elif verdict is False and may_dispute:
                    self._dispute(plan, update, turn)

    def _others(self, plan: Hash, state: RoundState) -> Iterator[RevealedUpdate]:
        """Yield the open task's updates that others vouched for and nobody disputes."""
        view, task = self._around.chain.view, Hash(state.task.digest)
        for position in range(state.selected):
            update = get_revealed(view, plan, position, task)
            if update is None or self._around.account in update.credited:
                continue
            if get_dispute(view, plan, position) is None:
                yield update

    def _dispute(self, plan: Hash, update: RevealedUpdate, turn: Turn) -> None:
        around, view = self._around, self._around.chain.view
        entry = get_plan(view, plan)
        if entry is None or self._is_waiting(update):
            return
        price = get_dispute_price(view, entry, update)
        needed = price + get_minimum_fee(around.chain.rules, _DISPUTE_BYTES)
        if get_account(view, around.account).balance < needed:
            told = f"can't dispute the false update of {update.device.hex()[:16]}: that takes {needed} coins"
            turn.publish(RoleNotice("miner", plan, told))
            return
        self.disputes += 1
        proof = get_dispute_proof(around.account, Hash(update.update), self._replayer.made(Hash(update.update)))
        turn.tell(OwnTransaction(DisputeUpdate(plan, update.task, update.device, update.update, proof, Amount(price))))
        turn.publish(RoleNotice("miner", plan, f"disputes the update of {update.device.hex()[:16]}"))

    def _is_waiting(self, update: RevealedUpdate) -> bool:
        """Does this node's dispute of the update wait for a block?"""
        bodies = [signed.transaction.body for signed in self._around.mempool.of(self._around.account)]
        return any(isinstance(body, DisputeUpdate) and body.update == update.update for body in bodies)
