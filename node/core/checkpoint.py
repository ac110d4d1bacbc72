"""A checkpoint: a block that the operator trusts to be on the chain, whatever peers say."""

from dataclasses import dataclass

from chain.block import Header, block_id
from chain.ids import Hash, Height


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A height, and the id of the block that stands there."""

    height: Height
    block: Hash

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Return what ``HEIGHT:HASH`` says (the hash in 64 hexadecimal digits). ``ValueError`` says what is wrong."""
        height, colon, id = text.partition(":")
        is_number = height.isascii() and height.isdecimal() and 0 < len(height) <= 15
        try:
            block = bytes.fromhex(id)
        except ValueError:
            block = b""
        if not colon or not is_number or len(block) != 32 or len(id) != 64:
            raise ValueError(f"{text!r} is not HEIGHT:HASH, a height and the 64 hexadecimal digits of a block's id")
        return cls(Height(int(height)), Hash(block))

    def __str__(self) -> str:
        return f"{self.height}:{self.block.hex()}"

    def find_contradiction(self, header: Header) -> str | None:
        """Say how a header contradicts this checkpoint; None if it does not."""
        if header.height != self.height or block_id(header) == self.block:
            return None
        return f"it contradicts the trusted checkpoint {self}: another block stands at that height"
