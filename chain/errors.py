"""What can be wrong with an object of the chain.

    ChainError
    ├── CodecError        bytes that are not one canonical encoding of the expected record
    ├── AddressError      a key, an address or a signature text that cannot be read
    ├── FixedPointError   a number that does not fit the fixed-point range
    ├── ProofError        a Merkle proof that is not well formed
    └── GenesisError      a genesis file that contradicts itself

Each message says what was wrong, where, and what is allowed.
"""


class ChainError(Exception):
    """Base of every error this room raises."""


class CodecError(ChainError):
    """Bytes are not the canonical encoding of the record that was asked for."""


class AddressError(ChainError):
    """A key or an account text cannot be read."""


class FixedPointError(ChainError):
    """A number does not fit the fixed-point range."""


class ProofError(ChainError):
    """A Merkle proof is not well formed."""


class GenesisError(ChainError):
    """A genesis document is malformed or contradicts itself. Made of all its problems, one line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)
