"""The staking ledger again, as simply as it can be said: dicts and lists, no keys, no overlays, no undo.

``Model.block`` takes what a block carries and does what docs/ledger.md says; the machine compares it with the real
state after every block. Money is followed to the coin: balances, stakes, what is leaving, what is burnt.
"""

from dataclasses import dataclass, field, replace

from chain.genesis import PosParameters
from chain.transaction import Body, Bond, RegisterMiner, RetireMiner, Transfer, Unbond, Unjail
from consensus.pos.validators import Member, ValidatorSet


@dataclass(frozen=True)
class Claim:
    """Evidence as the model sees it: what it would prove, and whether it does."""

    kind: str
    epoch: int
    view: int
    validator: bytes
    is_genuine: bool


@dataclass
class Staker:
    """Stake, standing, turns missed in a row, first block out of jail."""

    stake: int
    standing: str = "good"
    missed: int = 0
    free_from: int = 0


@dataclass
class Exit:
    """Coins leaving; ``is_miner``: they cannot be slashed."""

    due: int
    account: bytes
    amount: int
    is_miner: bool = False


@dataclass
class Model:
    """Everything the ledger knows of coins and validators."""

    parameters: PosParameters
    balances: dict[bytes, int]
    stakers: dict[bytes, Staker]
    sets: dict[int, ValidatorSet]
    chosen: tuple[Member, ...]
    exits: list[Exit] = field(default_factory=list)
    miners: dict[bytes, int] = field(default_factory=dict)
    punished: dict[tuple[str, int, int, bytes], int] = field(default_factory=dict)
    burnt: int = 0
    minted: int = 0
    standing: dict[bytes, tuple[str, int]] = field(default_factory=dict)

    def copy(self) -> "Model":
        """What to come back to when a block is taken back."""
        return replace(
            self,
            balances=dict(self.balances),
            stakers={account: replace(staker) for account, staker in self.stakers.items()},
            sets=dict(self.sets),
            exits=[replace(exit) for exit in self.exits],
            miners=dict(self.miners),
            punished=dict(self.punished),
        )

    def begin(self) -> None:
        """A block begins: whoever stands well now is in the next set, whatever the block says."""
        self.standing = {account: (staker.standing, staker.free_from) for account, staker in self.stakers.items()}

    def takes(self, height: int, sender: bytes, fee: int, body: Body | Claim) -> bool:
        """Do what one transaction asks, fee included; False, and nothing done, if it may not."""
        spent = body.amount if isinstance(body, Transfer | Bond) else 0
        spent += body.bond if isinstance(body, RegisterMiner) else 0
        if self.balances[sender] < spent + fee:
            return False
        self.balances[sender] -= spent + fee
        if self._do(height, sender, body):
            return True
        self.balances[sender] += spent + fee
        return False

    def _do(self, height: int, sender: bytes, body: Body | Claim) -> bool:
        least, mine = self.parameters.min_stake, self.stakers.get(sender)
        match body:
            case Transfer(to, amount):
                self.balances[to] += amount
                return amount > 0
            case Bond(amount):
                total = amount + (mine.stake if mine else 0)
                if amount == 0 or total < least or (mine and mine.standing == "tombstoned"):
                    return False
                self.stakers.setdefault(sender, Staker(0)).stake = total
                return True
            case Unbond(amount):
                if mine is None or not 0 < amount <= mine.stake or 0 < mine.stake - amount < least:
                    return False
                mine.stake -= amount
                self._leave(height, sender, amount)
                return True
            case Unjail():
                if mine is None or mine.standing != "jailed" or height < mine.free_from or mine.stake < least:
                    return False
                mine.standing, mine.missed, mine.free_from = "good", 0, height
                return True
            case RegisterMiner(bond):
                if sender in self.miners or bond < 500:
                    return False
                self.miners[sender] = bond
                return True
            case RetireMiner():
                if sender not in self.miners:
                    return False
                self._leave(height, sender, self.miners.pop(sender), is_miner=True)
                return True
            case Claim():
                return self._punish(height, sender, body)
        raise AssertionError(body)

    def _leave(self, height: int, account: bytes, amount: int, *, is_miner: bool = False) -> None:
        due = height + 2 * self.parameters.epoch_blocks + self.parameters.unbonding_blocks
        self.exits.append(Exit(due, account, amount, is_miner))

    def deadline(self, epoch: int) -> int:
        """The last block that can carry evidence about an epoch."""
        return (epoch + 1) * self.parameters.epoch_blocks + self.parameters.unbonding_blocks

    def _punish(self, height: int, reporter: bytes, claim: Claim) -> bool:
        offence = (claim.kind, claim.epoch, claim.view, claim.validator)
        now = (height - 1) // self.parameters.epoch_blocks
        if not claim.is_genuine or claim.epoch > now or height > self.deadline(claim.epoch) or offence in self.punished:
            return False
        guilty, share = self.stakers.get(claim.validator), self.parameters.slash_ppm
        lost = 0
        for exit in self.exits:
            if exit.account == claim.validator and not exit.is_miner:
                cut = exit.amount * share // 10**6
                exit.amount -= cut
                lost += cut
        if guilty is not None:
            cut = guilty.stake * share // 10**6
            guilty.stake -= cut
            lost += cut
        if lost == 0 and (guilty is None or guilty.standing == "tombstoned"):
            return False
        if guilty is not None:
            guilty.standing, guilty.free_from = "tombstoned", 0
        reward = lost * self.parameters.evidence_reward_ppm // 10**6
        self.balances[reporter] += reward
        self.burnt += lost - reward
        self.punished[offence] = lost
        return True

    def close(self, height: int, producer: bytes, income: int, views: range, seed: bytes) -> None:
        """What happens after the transactions. ``views``: those without a block since the parent."""
        for exit in [exit for exit in self.exits if exit.due == height]:
            self.balances[exit.account] += exit.amount
            self.exits.remove(exit)
        for account in [a for a, s in self.stakers.items() if s.stake == 0 and s.standing != "tombstoned"]:
            if not any(exit.account == account and not exit.is_miner for exit in self.exits):
                del self.stakers[account]
        epoch = (height - 1) // self.parameters.epoch_blocks
        self._count(height, producer, [self.sets[epoch].leader(view) for view in views])
        if height % self.parameters.epoch_blocks == 0:
            named = tuple(member for member in self.chosen if self._stood_well(member.account, height))
            members = named or self.sets[epoch].members
            self.sets[epoch + 1] = ValidatorSet(epoch + 1, seed, members)  # type: ignore[arg-type]
            fit = [(a, s.stake) for a, s in self.stakers.items() if s.standing == "good"]
            fit = [(a, stake) for a, stake in fit if stake >= self.parameters.min_stake]
            best = sorted(fit, key=lambda pair: (-pair[1], pair[0]))[: self.parameters.max_validators]
            self.chosen = tuple(Member(account, stake) for account, stake in sorted(best))  # type: ignore[arg-type]
        subsidy = 1000
        self.balances[producer] += income + subsidy
        self.minted += subsidy

    def _stood_well(self, account: bytes, height: int) -> bool:
        standing, free_from = self.standing.get(account, ("gone", 0))
        return standing == "good" and free_from <= height - self.parameters.epoch_blocks

    def _count(self, height: int, producer: bytes, missed: list[bytes]) -> None:
        for account in {leader for leader in missed if leader != producer}:
            staker = self.stakers.get(account)
            if staker is not None and staker.standing == "good":
                staker.missed += missed.count(account)
                if staker.missed >= self.parameters.absent_slots:
                    staker.standing, staker.free_from = "jailed", height + self.parameters.jail_blocks
        if producer in self.stakers and self.stakers[producer].standing == "good":
            self.stakers[producer].missed = 0

    @property
    def bonded(self) -> int:
        """All coins in bonds or on their way out of one."""
        stakes = sum(staker.stake for staker in self.stakers.values())
        return stakes + sum(exit.amount for exit in self.exits) + sum(self.miners.values())
