"""What is fuzzed of data that stay with their owner: a data store's files, and what small devices send to gateways.

Rules of this file: those of ``tests.fuzz.targets``.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from chain.keys import KeyPair
from fl.sharing.delivery import Received, SharedReading, open_delivery, read_head
from fl.sharing.group import Field, Gateway, SharingGroup
from storage.datakey import Password
from storage.datastate import StoreLimits
from storage.datastore import DataStore
from storage.errors import StorageError

SECRET: Final = Password("secret", 16)
ROWS: Final = (b"one", b"two", b"three", b"four")
STORE_FILES: Final = ("tail", "state", "000000000000.seg", "000000000001.seg", "key.json")
DEVICE, GATEWAY = KeyPair(bytes([5]) * 32), KeyPair(bytes([6]) * 32)
GROUP: Final = SharingGroup(
    "town", "sealed", 1, 1, (DEVICE.account,), (Gateway(GATEWAY.account, ""),), (Field("PM2.5", 0, 1000, 0),)
)


@cache
def whole_store() -> Path:
    """Return a data store with a closed and an open segment; it lasts as long as the process."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-store-"))
    store = DataStore.create(place / "store", SECRET, b"schema", StoreLimits(10**6, "refuse", 0, 300))
    for number, row in enumerate(ROWS):
        store.append([row], [number])
    store.close()
    return place / "store"


def data_stores(data: bytes) -> None:
    """A file of a data store is damaged: it is refused by name, or every row is there and none is another.

    The first byte says which file; each four after it where (two), how and with what: a bit turned, cut off here, a
    byte put in, some taken out.
    """
    if not data:
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        path = Path(place) / "store"
        shutil.copytree(whole_store(), path)
        file = path / STORE_FILES[data[0] % len(STORE_FILES)]
        file.write_bytes(_damaged(file.read_bytes(), data[1:201]))
        try:
            store = DataStore(path, SECRET)
            rows = tuple(row for batch in store.read() for row in batch.rows)
            store.close()
        except StorageError:
            return
        assert rows == ROWS


def _damaged(content: bytes, edits: bytes) -> bytes:
    """Return a file's bytes after the edits."""
    for start in range(0, len(edits) - 3, 4):
        how, value = edits[start + 2] % 4, edits[start + 3]
        at = int.from_bytes(edits[start : start + 2], "big") % (len(content) + 1)
        if how == 0:
            content = content[:at] + bytes([byte ^ 1 << value % 8 for byte in content[at : at + 1]]) + content[at + 1 :]
        elif how == 1:
            content = content[:at]
        elif how == 2:
            content = content[:at] + bytes([value]) + content[at:]
        else:
            content = content[:at] + content[at + value :]
    return content


def deliveries(data: bytes) -> None:
    """What a small device sends to a gateway: refused in words, or the device's own."""
    head, received = read_head(data), open_delivery(GROUP, GATEWAY, data)
    if isinstance(received, Received):
        assert not isinstance(head, str)
        assert received.device == DEVICE.account
        assert not isinstance(received.content, SharedReading)


OWN_DATA: Final = (data_stores, deliveries)
