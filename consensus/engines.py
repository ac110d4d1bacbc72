"""The engines a genesis can name."""

from chain.genesis import Genesis, PosParameters
from consensus.engine import Engine
from consensus.pos.engine import PosEngine
from consensus.pos.signer import Signer
from consensus.pos.votes import SignatureJudge
from consensus.pow.engine import PowEngine


def make_engine(genesis: Genesis, signer: Signer | None = None, signatures: SignatureJudge | None = None) -> Engine:
    """Return the engine of a network.

    ``signer`` seals for an engine with validators, and ``signatures`` remembers what it verified; work needs neither.
    """
    if isinstance(genesis.engine, PosParameters):
        return PosEngine(genesis, signer, signatures)
    return PowEngine(genesis)
