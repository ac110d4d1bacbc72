"""Censoring: nothing of its victims gets into its blocks, nor on to others through it."""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from node.effects import Effect, StartJob
from node.jobs.specs import BuildBlock
from node.simulator.byzantine.base import PRODUCER, Behaviour, Peer
from p2p.messages import Message, Transactions, Updates


class Censorship(Behaviour):
    """Leaves out what the plot's victims send."""

    name = "censor"
    role = PRODUCER

    def _is_welcome(self, item: SignedTransaction | AttestedUpdate) -> bool:
        if isinstance(item, SignedTransaction):
            return item.transaction.sender not in self.stage.plot.victims
        return item.update.release.device not in self.stage.plot.victims

    def wish(self, effect: Effect) -> Effect | None:
        """Build blocks without the victims."""
        if isinstance(effect, StartJob) and isinstance(effect.spec, BuildBlock):
            spec = effect.spec
            entries = tuple([entry for entry in spec.pool.entries if self._is_welcome(entry.signed)])
            updates = tuple(filter(self._is_welcome, spec.updates))
            if len(entries) + len(updates) < len(spec.pool.entries) + len(spec.updates):
                self.acts += 1
                return StartJob(effect.job, replace(spec, pool=replace(spec.pool, entries=entries), updates=updates))
        return effect

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Pass nothing of the victims on."""
        if isinstance(message, Transactions):
            rest = tuple(filter(self._is_welcome, message.transactions))
            return (message,) if len(rest) == len(message.transactions) else (Transactions(rest),) if rest else ()
        if isinstance(message, Updates):
            passed = tuple(filter(self._is_welcome, message.updates))
            return (message,) if len(passed) == len(message.updates) else (Updates(passed),) if passed else ()
        return (message,)
