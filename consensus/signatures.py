"""A memory of what was found good, so that gossip, mining and import check each signature and each payload only once.

Verifying is pure: remembering its result cannot change a verdict. Only what is good is kept.
"""

from collections import OrderedDict
from hashlib import sha256
from threading import Lock

from chain.keys import verify


class GoodContents:
    """A bounded memory of payloads that passed their plan's checks, the oldest first out; threads may share it.

    A key says everything that such a check depends on: the payload by its digest, the plan by its.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._good: dict[tuple[object, ...], None] = {}
        self._lock = Lock()

    def __contains__(self, key: tuple[object, ...]) -> bool:
        return key in self._good

    def add(self, key: tuple[object, ...]) -> None:
        """Remember that these contents are good."""
        with self._lock:
            self._good[key] = None
            if len(self._good) > self._size:
                del self._good[next(iter(self._good))]


class SignatureCache:
    """A bounded memory of good signatures, least recently used first out; threads may share it.

    ``contents`` remembers half as many payloads. With size 0 nothing is remembered.
    """

    def __init__(self, size: int = 65536) -> None:
        self._size = size
        self.contents = GoodContents(size // 2)
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def is_signed(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Is this a good signature? As ``chain.keys.verify``, which is asked once."""
        if len(public_key) != 32 or len(signature) != 64:  # else the key below could be cut into parts elsewhere
            return False
        if not self._size:
            return verify(public_key, signature, message)
        key = sha256(public_key + signature + message).digest()
        with self._lock:
            if key in self._good:
                self._good.move_to_end(key)
                return True
        if not verify(public_key, signature, message):
            return False
        with self._lock:
            self._good[key] = None
            if len(self._good) > self._size:
                self._good.popitem(last=False)
        return True
