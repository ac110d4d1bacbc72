"""What a gateway keeps of one group: readings or shares, what it has answered, and the sums it learnt.

One SQLite file. What must hold, each by one transaction that is on disk before anybody is told:

1. A delivery is taken once: its number is above all of that device's before, or it is the very same one again.
2. A device has one reading for a label.
3. For a label one question is asked by the collector, and one answered by each gateway, for ever.

Readings, shares and sums are sealed under the gateway's key, each bound to its place: who has the file alone reads
labels, devices and commitments, and can exchange none.

Rules of this file: no network, no keys. Trouble with the file is a ``StorageError``.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chain.address import format_account
from chain.codec import Record, decode, decode_own, encode
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from fl.sharing.delivery import Received, Row, Rows
from fl.sharing.group import SharingGroup
from fl.sharing.sums import Held, Question, name_question
from storage.errors import DamagedError, DiskError, ForeignGenesisError
from storage.sealing import seal, unseal

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS about (version INTEGER NOT NULL, sharing BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (device BLOB PRIMARY KEY, number INTEGER NOT NULL, name BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS readings (label TEXT NOT NULL, device BLOB NOT NULL, commitment BLOB NOT NULL,
    sealed BLOB NOT NULL, PRIMARY KEY (label, device)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (label TEXT PRIMARY KEY, question BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (label TEXT PRIMARY KEY, question BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sums (label TEXT PRIMARY KEY, devices INTEGER NOT NULL, sealed BLOB NOT NULL) WITHOUT ROWID;
"""
_VERSION: Final = 2
_PURPOSE: Final = b"fedchain gateway store 2"


class _Share(Record):
    """A gateway's share of a reading, and of what hides it in its commitment."""

    value: bytes
    hiding: bytes


class GatewayStore:
    """A group's store, open; one process at a time writes."""

    def __init__(self, path: Path, group: SharingGroup, key: KeyPair) -> None:
        """Open the store of the gateway with this key, made if it is not there.

        ``ForeignGenesisError`` if it is of another group.
        """
        self.path, self.group = path, group
        self._secret = key.exchange_key
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        os.chmod(path, 0o600)
        with self._explained():
            self._base = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.executescript(_TABLES)
            with self._whole():
                found = self._base.execute("SELECT version, sharing FROM about").fetchone()
                if found is None:
                    self._base.execute("INSERT INTO about VALUES (?, ?)", (_VERSION, group.id))
        if found is not None and found != (_VERSION, group.id):
            self.close()
            told = "it is of another group, or of another version of this one: the group file has changed"
            raise ForeignGenesisError(f"{path}: {told}. Give a new directory, or the old file")

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def take(self, received: Received) -> str | None:
        """Keep a delivery that ``open_delivery`` found right; durable on return. Returns why it is refused, if so."""
        content, device = received.content, received.device
        if isinstance(content, Rows):
            said = [(row.label, b"", encode(row)) for row in content.rows]
        else:
            said = [(each.label, each.commitment, encode(_Share(each.value, each.hiding))) for each in content.readings]
        rows = [
            (label, device, commitment, self._seal(data, "reading", label, device, commitment))
            for label, commitment, data in said
        ]
        with self._explained(), self._whole():
            last = self._base.execute(
                "SELECT number, name FROM deliveries WHERE device = ?", (received.device,)
            ).fetchone()
            if last == (received.number, received.name):
                return None
            if last is not None and received.number <= last[0]:
                return f"delivery {received.number}: the last one had {last[0]}, and numbers rise"
            for label, *_ in rows:
                if self._has(label, received.device):
                    return f"time {label!r}: the device has sent its reading for it already"
            self._base.executemany("INSERT INTO readings VALUES (?, ?, ?, ?)", rows)
            self._base.execute(
                "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?)", (received.device, received.number, received.name)
            )
        return None

    def _has(self, label: str, device: AccountId) -> bool:
        found = self._base.execute("SELECT 1 FROM readings WHERE label = ? AND device = ?", (label, device))
        return found.fetchone() is not None

    def held(self, label: str) -> dict[AccountId, Held]:
        """Return this gateway's shares for a label."""
        with self._explained():
            query = "SELECT device, commitment, sealed FROM readings WHERE label = ?"
            found = self._base.execute(query, (label,)).fetchall()
        shares = dict[AccountId, Held]()
        for device, commitment, sealed in found:
            share = decode_own(self._unseal(sealed, "reading", label, device, commitment), _Share)
            opened = int.from_bytes(share.value, "little"), int.from_bytes(share.hiding, "little")
            shares[AccountId(device)] = Held(commitment, opened)
        return shares

    def labels(self, *, unsummed: bool = False) -> list[str]:
        """Return the labels there are readings for, ascending; ``unsummed``: those without a sum."""
        query = "SELECT DISTINCT label FROM readings"
        query += " WHERE label NOT IN (SELECT label FROM sums)" if unsummed else ""
        with self._explained():
            return [label for (label,) in self._base.execute(query + " ORDER BY label").fetchall()]

    def latest(self) -> dict[AccountId, str]:
        """Return each device's last label."""
        with self._explained():
            found = self._base.execute("SELECT device, MAX(label) FROM readings GROUP BY device").fetchall()
        return {AccountId(device): label for device, label in found}

    def rows(self) -> Iterator[tuple[AccountId, Row]]:
        """Yield the readings of a sealed group, by label and device."""
        with self._explained():
            query = "SELECT label, device, commitment, sealed FROM readings ORDER BY label, device"
            found = self._base.execute(query).fetchall()
        for label, device, commitment, sealed in found:
            yield AccountId(device), decode(self._unseal(sealed, "reading", label, device, commitment), Row)

    # --- questions --------------------------------------------------------------------------------

    def asked(self, label: str) -> Question | None:
        """Return what the collector asked for a label before."""
        with self._explained():
            found = self._base.execute("SELECT question FROM asked WHERE label = ?", (label,)).fetchone()
        return None if found is None else decode(found[0], Question)

    def keep_asked(self, questions: Mapping[str, Question]) -> None:
        """Keep what the collector is about to ask."""
        with self._explained(), self._whole():
            rows = [(label, encode(question)) for label, question in questions.items()]
            self._base.executemany("INSERT INTO asked VALUES (?, ?)", rows)

    def answered(self, label: str) -> Hash | None:
        """Return the name of the question that was answered for a label."""
        with self._explained():
            found = self._base.execute("SELECT question FROM answered WHERE label = ?", (label,)).fetchone()
        return None if found is None else Hash(found[0])

    def keep_answered(self, questions: list[Question]) -> None:
        """Keep which questions are about to be answered; none of their labels may have been answered otherwise."""
        with self._explained(), self._whole():
            rows = [(question.label, name_question(question)) for question in questions]
            self._base.executemany("INSERT OR IGNORE INTO answered VALUES (?, ?)", rows)

    def sums(self) -> list[tuple[str, int, tuple[int, ...]]]:
        """Return label, number of devices and each field's sum of all that was learnt, by label."""
        with self._explained():
            found = self._base.execute("SELECT label, devices, sealed FROM sums ORDER BY label").fetchall()
        return [
            (label, devices, tuple(map(int, self._unseal(sealed, "sum", label).split())))
            for label, devices, sealed in found
        ]

    def keep_sums(self, sums: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
        """Keep sums: number of devices and each field's sum by label."""
        rows = [
            (label, devices, self._seal(" ".join(map(str, totals)).encode(), "sum", label))
            for label, (devices, totals) in sums.items()
        ]
        with self._explained(), self._whole():
            self._base.executemany("INSERT OR REPLACE INTO sums VALUES (?, ?, ?)", rows)

    def counts(self) -> dict[str, int]:
        """Return how many readings each device of the group has sent, by its address."""
        with self._explained():
            found = dict(self._base.execute("SELECT device, COUNT(*) FROM readings GROUP BY device").fetchall())
        return {format_account(device): found.get(bytes(device), 0) for device in self.group.devices}

    def _seal(self, data: bytes, kind: str, label: str, *place: bytes) -> bytes:
        return seal(self._secret, _PURPOSE, data, self._bound(kind, label, *place))

    def _unseal(self, sealed: bytes, kind: str, label: str, *place: bytes) -> bytes:
        """Return what was sealed for this place. ``DamagedError``."""
        data = unseal(self._secret, _PURPOSE, sealed, self._bound(kind, label, *place))
        if data is None:
            raise DamagedError(
                f"{self.path}: the {kind} of {label!r} is not what was sealed under this gateway's key: give its key, "
                "or restore the file from a backup"
            )
        return data

    def _bound(self, kind: str, label: str, *place: bytes) -> bytes:
        return encode((bytes(self.group.id), kind, label, place))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Make what is done within one transaction: all of it, or nothing."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            told = "make room on the disk, or see who else has the file open, and start again"
            raise DiskError(f"{self.path}: {error}; {told}") from error
