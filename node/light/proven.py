"""The state after one block as far as it was proven: a view that says which key it is asked for and does not know.

Whoever reads it runs until a key is missing, has it fetched and proven, and runs again: reading must have no effects
(``rehearsal``). Values that did not change since the block looked at before are proven anew and not fetched anew.

Rules of this file: no peers and no time; what is in here has been proven against the block's state root.
"""

from dataclasses import dataclass
from hashlib import sha256

from chain.block import Header, block_id
from chain.ids import Hash
from consensus.tree import verify_digest_proof
from node.core.parts import ProvenValue
from node.errors import NodeError


class UnknownKeyError(NodeError):
    """The state under this key has not been proven to this node yet."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"the state under {self.key!r} is not known here yet"


@dataclass(frozen=True, slots=True)
class Point:
    """A block after which to look at the state."""

    id: Hash
    header: Header

    @classmethod
    def of(cls, header: Header) -> "Point":
        """Return the point after a block."""
        return cls(block_id(header), header)


class ProvenState:
    """What is proven of the state after ``point``; ``earlier`` is the state looked at before."""

    def __init__(self, point: Point, earlier: "ProvenState | None" = None) -> None:
        self.point = point
        self.read: set[bytes] = set()
        self._values: dict[bytes, bytes | None] = {}
        self._pending: dict[bytes, Hash] = {}  # large values: proven digests whose bytes are not here yet
        self._large: dict[Hash, bytes] = {} if earlier is None else earlier._large_in_use()

    def _large_in_use(self) -> dict[Hash, bytes]:
        return dict(self._large)

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a key, None if there is none. ``UnknownKeyError`` if neither is proven."""
        self.read.add(key)
        if key not in self._values:
            raise UnknownKeyError(key)
        return self._values[key]

    def known(self) -> dict[bytes, bytes | None]:
        """Return all values that are here."""
        return dict(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    @property
    def pending(self) -> dict[bytes, Hash]:
        """The large values whose digests are proven and whose bytes are missing."""
        return self._pending

    def is_proven(self, key: bytes) -> bool:
        """Is the value here, or at least its digest?"""
        return key in self._values or key in self._pending

    def take(self, key: bytes, answer: ProvenValue) -> str | None:
        """Take an answer; return what is wrong with it, if anything is."""
        if answer.value is not None and answer.digest is not None:
            return "a value and a digest at once"
        digest = answer.digest if answer.value is None else Hash(sha256(answer.value).digest())
        if not verify_digest_proof(self.point.header.state_root, key, digest, answer.proof):
            return "it does not prove itself against the block's state root"
        if answer.value is None and digest is not None and digest not in self._large:
            self._pending[key] = digest
        else:
            self._values[key] = answer.value if digest is None or answer.value is not None else self._large[digest]
        return None

    def take_large(self, key: bytes, content: bytes) -> None:
        """Take a large value whose bytes have the proven digest."""
        digest = self._pending.pop(key)
        self._values[key] = self._large[digest] = content

    def close(self) -> None:
        """Let go of large values that this state turned out not to have any more."""
        used = {id(value) for value in self._values.values()}
        self._large = {digest: value for digest, value in self._large.items() if id(value) in used}
