"""The story of the golden chain of stake: validators join, leave, sleep, lie; several epochs end.

Real nodes tell it in a town of virtual time, so its headers are sealed, its blocks voted on and its epochs proven. The
node whose data directory is kept is one of the validators. ``tests.golden.make`` writes what comes of it to files,
once; the tests read the files and never tell the story again.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from msgspec.structs import replace as with_fields

from chain.codec import encode
from chain.genesis import Genesis
from chain.genesis_default import default_rules
from chain.genesis_default_stake import default_stake_genesis
from chain.hashing import digest
from chain.ids import Amount, Hash
from chain.keys import KeyPair
from chain.transaction import Body, Bond, SubmitEvidence, Transfer, Unbond, Unjail
from consensus.engines import make_engine
from consensus.pos.engine import PosEngine
from consensus.pos.evidence import Evidence, make_evidence
from consensus.pos.votes import Vote, VoteKind, vote_message
from consensus.staking.state import get_validator
from node.core.config import CoreConfig, MinerConfig
from node.events import SubmitBody
from node.signer import ValidatorSigner
from node.simulator.population import genesis_data
from node.world import World
from storage.directory import DataDirectory
from storage.export import export_chain
from storage.memorystores import MemoryReleaseJournal, MemorySigningJournal
from storage.own import SigningJournal
from tests.node.core.town import START, Town, key_of, make_world

EPOCH = 6
LENGTH = 10 * EPOCH + 3
STAKE = 10**9
VALIDATORS = [key_of(21 + number) for number in range(4)]
LATE, FOLLOWER = key_of(25), key_of(26)
SLEEPER, LIAR = 2, 3
"""Which of the houses sleeps until it is jailed, and whose key signs twice."""


def make_stake_genesis() -> Genesis:
    """Rules version 2; six blocks an epoch, two missed turns are too many, ten blocks and two epochs to leave."""
    accounts = [key.account for key in VALIDATORS]
    return default_stake_genesis(
        "golden", dict.fromkeys([*accounts, LATE.account], 10**12), dict.fromkeys(accounts, STAKE),
        time_ms=START, block_ms=1000, epoch_blocks=EPOCH, unbonding_blocks=10, jail_blocks=7, absent_slots=2,
        min_stake=STAKE // 10,
        rules=with_fields(default_rules(), version=2, subsidy=Amount(1_000_003), subsidy_halving=20),
    )  # fmt: skip


def make_signer(genesis: Genesis, key: KeyPair, journal: SigningJournal | None = None) -> World:
    """A validator's world in memory."""
    signer = ValidatorSigner(key, journal or MemorySigningJournal())
    return replace(make_world(genesis, key), engine=make_engine(genesis, signer), signer=signer)


class StakeStory:
    """Four validators, one of whom keeps its data in ``home``, one that comes later, and a node that follows."""

    def __init__(self, home: Path) -> None:
        self.genesis = genesis = make_stake_genesis()
        self.directory = DataDirectory.create(home, genesis)
        self.lock = self.directory.lock()
        self.store = self.directory.open_chain(self.lock, genesis_data(genesis))
        self.payloads = self.directory.open_payloads(self.lock)
        self.journal = self.directory.open_signing_journal(VALIDATORS[0].account)
        signer = ValidatorSigner(VALIDATORS[0], self.journal)
        first = World(
            genesis, make_engine(genesis, signer), self.store, self.payloads, MemoryReleaseJournal(), VALIDATORS[0],
            Random(1), signer=signer,
        )  # fmt: skip
        self.town = Town(genesis)
        config = CoreConfig(miner=MinerConfig())
        for number, key in enumerate((*VALIDATORS, LATE)):
            world = first if number == 0 else make_signer(genesis, key)
            self.town.add(world, config, connect=range(number))
        self.town.add(make_world(genesis, FOLLOWER), CoreConfig(), connect=range(5))

    @property
    def height(self) -> int:
        return self.town.houses[0].core.chain.height

    def until(self, is_so: Callable[[], bool]) -> None:
        assert self.town.run(is_so, 300)

    def submit(self, house: int, body: Body) -> None:
        self.town.send(house, SubmitBody(1, body))

    def lie(self) -> Evidence:
        """Two votes of the liar's key in one view, for blocks that nobody made."""
        engine, key = self.town.houses[0].core.world.engine, VALIDATORS[LIAR]
        assert isinstance(engine, PosEngine)
        set, votes = engine.sets.newest, []
        for name in (b"one", b"two"):
            block = Hash(digest(b"golden", name))
            message = vote_message(set.seed, set.epoch, 1, VoteKind.NOTARIZE, block)
            votes.append(Vote(set.epoch, 1, VoteKind.NOTARIZE, block, key.account, key.sign(message)))
        return make_evidence(*votes)

    def standing(self, key: KeyPair) -> str:
        found = get_validator(self.town.houses[0].core.chain.view, key.account)
        return "" if found is None else found.standing

    def tell(self) -> None:
        """Let it happen."""
        sleeper = self.town.houses[SLEEPER]
        self.until(lambda: self.height >= 2)
        self.submit(0, Transfer(FOLLOWER.account, Amount(12_345)))
        self.submit(4, Bond(Amount(STAKE // 2)))
        self.submit(1, Unbond(Amount(STAKE // 4)))
        self.until(lambda: self.height >= 4)
        self.town.stop(SLEEPER)
        self.until(lambda: self.standing(VALIDATORS[SLEEPER]) == "jailed")
        old = sleeper.core.world
        sleeper.core.world = replace(old, engine=make_engine(self.genesis, old.signer))
        self.town.restart(SLEEPER, sleeper.core.config)
        free = get_validator(self.town.houses[0].core.chain.view, VALIDATORS[SLEEPER].account)
        assert free is not None
        self.until(lambda: self.height >= free.free_from and sleeper.core.chain.height >= free.free_from)
        self.submit(SLEEPER, Unjail())
        self.until(lambda: self.standing(VALIDATORS[SLEEPER]) == "good")
        self.until(lambda: self.height >= 5 * EPOCH + 1)
        self.submit(1, SubmitEvidence(encode(self.lie())))
        self.until(lambda: self.standing(VALIDATORS[LIAR]) == "tombstoned")
        self.submit(LIAR, Unbond(Amount(STAKE // 2)))
        self.submit(4, Bond(Amount(STAKE // 10)))
        self.until(lambda: self.town.houses[0].core.finalized() >= LENGTH)
        assert self.height == LENGTH

    def end(self, export: Path) -> None:
        """Export what the node with the data directory has, and close it."""
        export_chain(self.store, self.payloads, export)
        self.store.close()
        self.journal.close()
        self.lock.release()
