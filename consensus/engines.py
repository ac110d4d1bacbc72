"""The engines a genesis can name."""

from chain.genesis import Genesis
from consensus.engine import Engine
from consensus.pow.engine import PowEngine


def make_engine(genesis: Genesis) -> Engine:
    """Return the engine of a network."""
    return PowEngine(genesis)
