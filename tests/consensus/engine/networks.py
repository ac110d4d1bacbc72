"""Small networks for the engine tests: an engine, its genesis, and honest blocks made with it."""

from dataclasses import dataclass

from msgspec.structs import replace

from chain.block import Header, block_id, transactions_root, updates_root
from chain.genesis import Genesis, PowParameters
from chain.genesis_default import default_rules, target_of
from chain.hashing import digest
from chain.ids import ZERO_HASH, AccountId, Hash, Height, Millis
from consensus.engine import Engine, SealLimits
from consensus.engines import make_engine
from consensus.headertree import HeaderTree, Offered, Outcome
from consensus.pos.signer import Signer
from tests.consensus.pos import people

START = 1_700_000_000_000
BLOCK_MS = 10_000
NOBODY = AccountId(bytes(32))


def pow_genesis(hashes_per_block: int = 1, max_reorg: int = 100, half_life_ms: int = 100 * BLOCK_MS) -> Genesis:
    """A proof-of-work network whose blocks take ``hashes_per_block`` hashes on schedule."""
    parameters = PowParameters(
        block_ms=Millis(BLOCK_MS),
        initial_target=target_of(hashes_per_block),
        half_life_ms=Millis(half_life_ms),
        max_future_ms=Millis(60_000),
        max_reorg=max_reorg,
    )
    return Genesis("test", "fct", Millis(START), (), (default_rules(),), parameters)


def pos_genesis() -> Genesis:
    """A network of three validators in one long epoch; the networks below hold the first one's key."""
    genesis = people.pos_genesis((3, 2, 1), epoch_blocks=1000)
    return replace(genesis, engine=replace(genesis.engine, block_ms=Millis(BLOCK_MS)))


def pos_network() -> "Network":
    """That network, with a signer: it makes a block in each view that it leads and skips the others."""
    return Network.of(pos_genesis(), people.KeySigner(people.KEYS[0]))


def pow_network(hashes_per_block: int = 1) -> "Network":
    """A network of work."""
    return Network.of(pow_genesis(hashes_per_block))


def genesis_header(genesis: Genesis) -> Header:
    """The header that a network begins with, as far as an engine looks at it."""
    return Header(
        version=genesis.rules_at(0).version,
        chain_id=genesis.chain_id,
        height=Height(0),
        parent=ZERO_HASH,
        time_ms=genesis.time_ms,
        producer=NOBODY,
        tx_root=transactions_root(()),
        update_root=updates_root(()),
        state_root=genesis.id,
        engine=b"",
        extension=ZERO_HASH,
        seal=b"",
    )


def never() -> bool:
    """A search that nobody cancels."""
    return False


@dataclass
class Network:
    """An engine with a tree that starts at its genesis."""

    genesis: Genesis
    engine: Engine
    tree: HeaderTree
    signer: Signer | None = None

    @classmethod
    def of(cls, genesis: Genesis, signer: Signer | None = None) -> "Network":
        engine = make_engine(genesis, signer)
        return cls(genesis, engine, HeaderTree(engine, genesis_header(genesis)), signer)

    def twin(self) -> "Network":
        """The same network with nothing but its genesis in the tree."""
        return Network.of(self.genesis, self.signer)

    def header(self, id: Hash) -> Header:
        header = self.tree.header(id)
        assert header is not None
        return header

    def draft(self, parent: Hash, now: int, salt: int = 0) -> Header:
        """An unsealed candidate on ``parent``; blocks of different salt differ."""
        prepared = self.engine.prepare(self.tree, parent, Millis(now))
        return replace(
            genesis_header(self.genesis),
            height=Height(self.header(parent).height + 1),
            parent=parent,
            time_ms=prepared.time_ms,
            producer=NOBODY if self.signer is None else self.signer.account,
            state_root=digest(b"test", salt.to_bytes(8, "big")),
            engine=prepared.engine,
        )

    def sealed(self, header: Header) -> Header:
        seal = self.engine.seal(header, never, SealLimits())
        assert seal is not None
        return replace(header, seal=seal)

    def mine(self, parent: Hash, now: int, salt: int = 0) -> Header:
        """A sealed block on ``parent``, not yet in the tree."""
        return self.sealed(self.draft(parent, now, salt))

    def add(self, header: Header, now: int | None = None) -> Offered:
        return self.tree.accept(header, Millis(header.time_ms if now is None else now))[0]

    def extend(self, parent: Hash, length: int, salt: int = 0, interval: int = BLOCK_MS) -> list[Hash]:
        """Blocks on ``parent``, one every ``interval``, added to the tree."""
        ids: list[Hash] = []
        for number in range(length):
            header = self.mine(parent, self.header(parent).time_ms + interval, salt * 1_000_000 + number)
            offered = self.add(header)
            assert offered.outcome is Outcome.ADDED, offered
            parent = offered.id
            ids.append(parent)
        return ids

    @property
    def root(self) -> Hash:
        return block_id(genesis_header(self.genesis))
