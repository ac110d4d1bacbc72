"""The proven state as a snapshot that questions of the RPC can be put to: what is not proven ends them."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from chain.ids import Hash
from node.light.proven import ProvenState, UnknownKeyError


class ProvenSnapshot:
    """What is proven of one state (a ``storage.base.StateSnapshot``). Reading through it leaves no trace."""

    def __init__(self, state: ProvenState) -> None:
        self._values = state.known()
        self._tip = state.point.id

    @property
    def tip(self) -> Hash:
        """The block after which this is the state."""
        return self._tip

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a key, or None. ``UnknownKeyError``."""
        if key not in self._values:
            raise UnknownKeyError(key)
        return self._values[key]

    def values_from(self, digest: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Raise ``UnknownKeyError``: nobody here knows all keys."""
        raise UnknownKeyError(b"all")

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Do nothing."""
