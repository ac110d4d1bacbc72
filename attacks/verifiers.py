"""What the miners who verify say of an update when some of them are the attackers' friends.

Rules of this file: who verifies is drawn by ``consensus.auditing`` and ``consensus.assignment``, as on the chain; what
the reports amount to is decided there too. A friend approves whatever the attackers send; everybody else says the
truth.
"""

from dataclasses import dataclass
from typing import Final

from chain.hashing import DOMAIN_DRAW, digest
from chain.ids import ZERO_HASH, AccountId, Amount, Hash, Height, Millis
from chain.payload import PayloadRef
from consensus.assignment import get_miner_order
from consensus.auditing import find_audit_fault, get_verifier_order
from consensus.records import Accounts, AuditReport, Miner, RoundState, UpdateAudit
from consensus.state import put_record
from consensus.statekeys import MINERS_KEY, miner_key
from consensus.view import EmptyView, Overlay
from fl.plan.schema import Audit
from fl.task import Task, draw

MINERS: Final = 20
DISPUTE_PERCENT: Final = 10
"""Of the updates that others attested, a miner's node repeats by itself (the default of ``mining.dispute_percent``)."""


@dataclass(frozen=True, slots=True, eq=False)
class Miners:
    """The registered miners, and which of them are friends of the attackers."""

    view: Overlay
    accounts: tuple[AccountId, ...]
    friends: frozenset[AccountId]

    @classmethod
    def of(cls, seed: bytes, friends: int, count: int = MINERS) -> "Miners":
        """Register ``count`` miners of whom ``friends`` are friends."""
        made = sorted(AccountId(digest(DOMAIN_DRAW, seed, b"miner", bytes([number]))) for number in range(count))
        view = Overlay(EmptyView())
        put_record(view, MINERS_KEY, Accounts(tuple(made)))
        for account in made:
            put_record(view, miner_key(account), Miner(Height(0), Amount(1)))
        chosen = sorted(made, key=lambda account: digest(DOMAIN_DRAW, seed, b"friend", account))[:friends]
        return cls(view, tuple(made), frozenset(chosen))

    def audit_fault(self, policy: Audit, task: Task, device: AccountId, beacon: Hash, fault: str, *, liar: bool) -> str:
        """Return why an audited update is not approved, empty if it is; ``fault`` is what an honest verifier finds."""
        order = get_verifier_order(self.view, _state(task, beacon), device, beacon)
        reports = []
        for miner in order[: policy.verifiers]:
            said = "" if liar and miner in self.friends else fault
            reports.append(AuditReport(miner, not said, said[:200]))
        audit = UpdateAudit(Hash(task.digest), PayloadRef(ZERO_HASH, 0), tuple(reports))
        return find_audit_fault(policy, audit)

    def is_attested(self, attestations: int, task: Task, device: AccountId, *, is_true: bool, liar: bool) -> bool:
        """Do the miners who are assigned to an update vouch for it? They have repeated its training."""
        assigned = get_miner_order(self.accounts, task, device)[:attestations]
        return is_true or (liar and all(miner in self.friends for miner in assigned))

    def is_disputed(self, task: Task, device: AccountId) -> bool:
        """Does an honest miner happen to repeat an update that friends vouched for?"""
        for miner in self.accounts:
            drawn = draw(Hash(task.digest), b"looks", miner, device)
            if miner not in self.friends and int.from_bytes(drawn[:8], "big") % 100 < DISPUTE_PERCENT:
                return True
        return False


def _state(task: Task, beacon: Hash) -> RoundState:
    return RoundState(task, 1, Height(1), Millis(0), Height(1), Height(20), 0, 0, 0, beacon)
