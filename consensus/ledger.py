"""The ledger a block is executed on: an overlay over the state, the coins in motion, the events so far.

All money moves through here, so that the supply is one invariant in one place: what leaves a balance enters
another, a plan's funds, somebody's bond or the producer's income, and at the block's end nothing is in motion. Coins
are made by the subsidy and destroyed by slashing alone.

Rules of this file: it knows no transaction and no round. Reads go to ``ledger.view``; writes of accounts, plan
entries, miners, disputes, validators and what is unbonding go through the methods here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from chain.ids import INT_MAX, AccountId, Amount, Hash
from consensus.context import BlockContext
from consensus.errors import Invalid
from consensus.events import LedgerEvent
from consensus.records import Account, Dispute, Funds, Miner, PlanEntry, Supply
from consensus.signatures import SignatureCache
from consensus.staking.records import Unbonding, Validator
from consensus.staking.state import BURNED_KEY, get_burned, get_unbonding, get_validator, unbonding_key, validator_key
from consensus.state import get_account, get_dispute, get_miner, get_plan, get_supply, put_record
from consensus.statekeys import SUPPLY_KEY, account_key, dispute_key, miner_key, plan_key
from consensus.view import Overlay, PayloadView, StateView, has_payload


class Ledger:
    """One block's working state. Nothing reaches the view below; ``overlay`` has what changed.

    before     the state before the block
    view       where to read and write: the overlay, or a nested one while something is tried
    context    the block's
    payloads   payload bytes by id
    events     what happened, in order
    stirred    plans that something happened to in this block: their clock ticks at its end
    """

    def __init__(
        self, view: StateView, context: BlockContext, payloads: PayloadView, signatures: SignatureCache | None
    ) -> None:
        self.before = view
        self.overlay = Overlay(view)
        self.view = self.overlay
        self.context = context
        self.payloads = payloads
        self.signatures = signatures or SignatureCache(0)
        self.events: list[LedgerEvent] = []
        self.stirred: frozenset[Hash] = frozenset()
        self._income = 0
        self._circulating = 0
        self._escrowed = 0
        self._bonded = 0
        self._burnt = 0

    def tell(self, event: LedgerEvent) -> None:
        """Note what happened."""
        self.events.append(event)

    def has_payload(self, id: Hash) -> bool:
        """Is a payload here? Its bytes are not looked at where the view can tell without."""
        return has_payload(self.payloads, id)

    def stir(self, plan: Hash) -> None:
        """Note that a plan's step may be over now."""
        self.stirred |= {plan}

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Keep what happens inside if it succeeds; on any exception forget it all and let the exception through."""
        outer, told, stirred = self.view, len(self.events), self.stirred
        flows = self._income, self._circulating, self._escrowed, self._bonded, self._burnt
        self.view = Overlay(outer)
        try:
            yield
        except BaseException:
            del self.events[told:]
            self.stirred = stirred
            self._income, self._circulating, self._escrowed, self._bonded, self._burnt = flows
            raise
        else:
            self.view.fold()
        finally:
            self.view = outer

    # --- money ------------------------------------------------------------------------------------

    def credit(self, account: AccountId, amount: int) -> None:
        """Add coins to a balance."""
        if amount:
            before = get_account(self.view, account)
            self._put_account(account, before, Account(Amount(before.balance + amount), before.nonce))

    def charge(self, account: AccountId, before: Account, amount: int, purpose: str, fee: int, rule: str) -> None:
        """Take ``amount`` and a fee for the producer out of a balance, and move the account on to its next nonce.

        ``before`` is the account as it stands. ``Invalid`` if it has not got them.
        """
        if before.balance < amount + fee:
            what = f"{purpose} {amount} + fee {fee}" if purpose else f"fee {fee}"
            raise Invalid(rule, f"balance {before.balance} cannot pay {what}", later=True)
        self._put_account(account, before, Account(Amount(before.balance - amount - fee), before.nonce + 1))
        self._income += fee

    def earn(self, amount: int) -> None:
        """Add to what the block's producer is paid at its end, out of a plan's funds."""
        self._income += amount

    def _put_account(self, account: AccountId, before: Account, after: Account) -> None:
        self._circulating += after.balance - before.balance
        put_record(self.view, account_key(account), after)

    def put_plan(self, entry: PlanEntry) -> None:
        """Write a plan's standing; the change of its funds is the change of the escrow."""
        before = get_plan(self.view, entry.plan)
        self._escrowed += entry.funds.total - (0 if before is None else before.funds.total)
        put_record(self.view, plan_key(entry.plan), entry)

    def put_miner(self, account: AccountId, miner: Miner | None) -> None:
        """Write a miner's entry, ``None`` to remove it; the change of its bond is the change of what is bonded."""
        before = get_miner(self.view, account)
        self._bonded += (0 if miner is None else miner.bond) - (0 if before is None else before.bond)
        if miner is None:
            self.view.put(miner_key(account), None)
        else:
            put_record(self.view, miner_key(account), miner)

    def put_validator(self, account: AccountId, validator: Validator | None) -> None:
        """Write a validator's entry, ``None`` to remove it; the change of its stake is the change of what is bonded."""
        before = get_validator(self.view, account)
        self._bonded += (0 if validator is None else validator.stake) - (0 if before is None else before.stake)
        if validator is None:
            self.view.put(validator_key(account), None)
        else:
            put_record(self.view, validator_key(account), validator)

    def put_unbonding(self, account: AccountId, unbonding: Unbonding | None) -> None:
        """Write what leaves an account's bonds, ``None`` if nothing does any more; it is bonded until it is paid."""
        before = get_unbonding(self.view, account)
        self._bonded += (0 if unbonding is None else unbonding.total) - before.total
        if unbonding is None:
            self.view.put(unbonding_key(account), None)
        else:
            put_record(self.view, unbonding_key(account), unbonding)

    def put_dispute(self, plan: Hash, position: int, dispute: Dispute | None) -> None:
        """Write a dispute, ``None`` to remove it; its deposit is bonded until it is decided."""
        before = get_dispute(self.view, plan, position)
        self._bonded += (0 if dispute is None else dispute.deposit) - (0 if before is None else before.deposit)
        if dispute is None:
            self.view.put(dispute_key(plan, position), None)
        else:
            put_record(self.view, dispute_key(plan, position), dispute)

    def burn(self, amount: int) -> None:
        """Destroy coins that were taken out of a bond."""
        self._burnt += amount

    def close(self) -> None:
        """Pay the producer its subsidy and its income, and write the supply.

        No coin is in motion after this, which the supply is checked for: a difference is a fault of this program.
        """
        supply = get_supply(self.view)
        subsidy = min(self.context.rules.subsidy_at(self.context.height), INT_MAX - supply.minted)
        income, self._income = self._income, 0
        self.credit(self.context.producer, subsidy + income)
        after = Supply(
            minted=Amount(supply.minted + subsidy - self._burnt),
            circulating=Amount(supply.circulating + self._circulating),
            escrowed=Amount(supply.escrowed + self._escrowed),
            bonded=Amount(supply.bonded + self._bonded),
        )
        if after.circulating + after.escrowed + after.bonded != after.minted:
            raise RuntimeError(f"block {self.context.height} would make or lose coins: {after}")
        put_record(self.view, SUPPLY_KEY, after)
        if self._burnt:
            self.view.put(BURNED_KEY, (get_burned(self.view) + self._burnt).to_bytes(8, "big"))


def take_funds(entry: PlanEntry, *, devices: int = 0, miners: int = 0, fees: int = 0, work: int = 0) -> PlanEntry:
    """Return the entry with these amounts taken from its funds; ``RuntimeError`` if a fund has not got its amount."""
    have = entry.funds
    left = Funds(
        Amount(have.devices - devices),
        Amount(have.miners - miners),
        Amount(have.fees - fees),
        Amount(have.work - work),
        have.spare,
    )
    if min(left.devices, left.miners, left.fees, left.work) < 0:
        raise RuntimeError(f"plan {entry.plan.hex()} has not reserved what it is to pay: {have}, then {left}")
    return replace(entry, funds=left)
