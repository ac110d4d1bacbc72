"""What the engine asks of whoever holds the validator's key. The key itself, and the journal, are the node's."""

from typing import Protocol

from chain.block import Header
from chain.ids import AccountId


class Signer(Protocol):
    """A validator's key behind its journal."""

    @property
    def account(self) -> AccountId:
        """The validator."""
        ...

    def sign_proposal(self, header: Header, message: bytes) -> bytes | None:
        """Journal that this header is this view's proposal, then sign ``message``, which commits to it.

        None if the journal refuses: the key proposed something else in this view, or must not sign.
        """
        ...

    def prove(self, alpha: bytes) -> bytes:
        """Return the key's VRF proof for ``alpha`` (``consensus.pos.vrf.prove``). Contradicts nothing: no journal."""
        ...
