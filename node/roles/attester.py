"""The attester: bonds as a miner, checks local updates and vouches for those that are its to attest.

It serves every engine: who makes the blocks is another role's work.
"""

from typing import Final

from chain.ids import Amount, Height
from chain.transaction import RegisterMiner
from chain.update import Attestation
from consensus.fees import get_minimum_fee
from consensus.problems import get_problem
from consensus.queries import attestations_needed
from consensus.state import get_account, get_miner
from fl.plan.dimensions import replay_policy
from node.core.config import MinerConfig
from node.core.messages import AttestationMade, HeadChanged, OwnTransaction, UpdateReady, UpdateRepeated
from node.core.turn import Turn
from node.events import Started
from node.roles.attesting import get_attesters
from node.roles.base import Surroundings
from node.roles.replayer import Claim, Replayer
from node.updatepool import PooledUpdate, Stage

_REGISTRATION_BYTES: Final = 400
"""More than a registration has: it is asked for only when the fee is there besides the bond."""


class Attester:
    """The part of the miner role that vouches. ``attestations`` counts those since the start."""

    def __init__(self, around: Surroundings, config: MinerConfig, replayer: Replayer) -> None:
        self._around = around
        self._replayer = replayer
        self._config = config
        self.attestations = 0

    @property
    def is_registered(self) -> bool:
        """Is this node's account a miner?"""
        return get_miner(self._around.chain.view, self._around.account) is not None

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._register(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Register if it can be paid now; attest what others were silent on."""
        self._register(turn)
        for entry in self._around.updates.entries():
            if entry.stage is Stage.VERIFIED:
                self._attest(entry, turn)

    def on_update_ready(self, ready: UpdateReady, turn: Turn) -> None:
        """Attest an update that was verified, if it is this miner's to attest."""
        entry = self._around.updates.get(ready.id)
        if entry is not None:
            self._attest(entry, turn)

    def on_repeated(self, repeated: UpdateRepeated, turn: Turn) -> None:
        """Attest an update whose training was repeated, if it proved true and is this miner's to attest."""
        entry = self._around.updates.get(repeated.id)
        if entry is not None and entry.stage is Stage.VERIFIED:
            self._attest(entry, turn)

    def _register(self, turn: Turn) -> None:
        """Register as a miner once the bond and the fee can be paid."""
        around, view, rules = self._around, self._around.chain.view, self._around.chain.rules
        if not self._config.register or self.is_registered:
            return
        bond = max(self._config.bond, rules.min_bond)
        price = bond + get_minimum_fee(rules, _REGISTRATION_BYTES)
        if get_account(view, around.account).balance >= price and not around.is_waiting(RegisterMiner):
            turn.tell(OwnTransaction(RegisterMiner(Amount(bond))))

    def _attest(self, entry: PooledUpdate, turn: Turn) -> None:
        chain, account = self._around.chain, self._around.account
        if account in entry.attestations:
            return
        needed = attestations_needed(chain.view, entry.update.release.plan)
        if not needed:
            return
        height = Height(chain.height + 1)
        attesters = get_attesters(chain.view, chain.rules, entry.update.release, height)
        present = [miner for miner in attesters if miner in entry.attestations]
        if account not in attesters or len(present) >= needed:
            return
        if not self._is_repeated(entry, turn):
            return
        self.attestations += 1
        turn.tell(AttestationMade(entry.id, Attestation.of(entry.id, self._around.world.key)))

    def _is_repeated(self, entry: PooledUpdate, turn: Turn) -> bool:
        """Is the update what its training gives? True where the plan asks nobody to repeat it; else it is looked at."""
        release = entry.update.release
        if replay_policy(get_problem(self._around.chain.view, release.plan).plan) is None:
            return True
        verdict = self._replayer.verdict(entry.id)
        if verdict is None:
            self._replayer.want(Claim(entry.id, release.plan, release.task, release.device, release.payload.id), turn)
        return verdict is True
