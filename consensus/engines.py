"""The engines a genesis can name."""

from chain.genesis import Genesis, PosParameters
from chain.ids import AccountId
from consensus.engine import Engine
from consensus.pos.agreement import Agreement
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


def make_agreement(
    genesis: Genesis, account: AccountId | None = None, signatures: SignatureJudge | None = None
) -> Agreement | None:
    """Return the agreement of a network whose blocks become final by votes, None for one on proof of work.

    ``account`` is the validator's whose key this node holds, if any.
    """
    return Agreement(genesis, account, signatures) if isinstance(genesis.engine, PosParameters) else None
