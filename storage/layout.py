"""The keys of the chain database, its schema version, and how older ones become this one.

One byte says what a key is; heights and sequence numbers are 8 bytes big-endian, so that LevelDB's order is theirs.

    m schema          schema version, 4 bytes big-endian
    m genesis         id of the genesis document
    m tip             id of the last block of the main chain
    m final           the highest final block that a certificate names: a ``FinalBlock``, canonical
    m commits         number of commits so far, 8 bytes big-endian (``storage.witness``)
    n ‖ sequence      a header, canonical; sequence numbers count up in the order of arrival
    h ‖ block id      the header's sequence number
    b ‖ block id      a body, canonical
    k ‖ block id      empty; there where a body is (bodies are large, this index is quick to read)
    i ‖ block id      why the block is invalid, UTF-8
    c ‖ height        id of the main chain's block at this height
    u ‖ block id      undo bytes; for blocks of the main chain alone, genesis aside
    e ‖ block id      events bytes; for blocks of the main chain alone
    x ‖ transaction   where on the main chain it is: a ``TransactionPlace``, canonical
    o ‖ transaction   a transaction that this node accepted itself, until it is final
    f ‖ epoch         what proves how an epoch ended
    l ‖ epoch ‖ view ‖ digest    a message of the epoch under way
    s ‖ state key     a value of the state after the tip, or a node of its tree
    d ‖ digest        the state key that has this SHA-256, for every value of the state (its tree's nodes aside)
    p ‖ payload id    height of the last main-chain block that referred to the payload, 8 bytes big-endian
    m area            which of two areas holds the state: none or 0: ``s`` and ``d``, 1: ``S`` and ``D``. The other one
                      is empty, or holds a state that is being gathered, or what is left to be swept
    m staging         id of the block whose state is being gathered in the other area
    y ‖ mark          says that a part of that state is there, with what must be remembered of it
    m base            height at which the node took the state from others: blocks up to there were not executed here
    m floor-…         ``undo``, ``bodies``, ``payloads``: height up to which they were pruned
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from chain.block import Body
from chain.codec import decode
from chain.errors import CodecError
from storage.errors import DamagedError, SchemaError
from storage.references import payload_refs

SCHEMA_VERSION: Final = 2

META_SCHEMA: Final = b"mschema"
META_GENESIS: Final = b"mgenesis"
META_TIP: Final = b"mtip"
META_COMMITS: Final = b"mcommits"
META_FINAL: Final = b"mfinal"
HEADER: Final = b"n"
SEQUENCE: Final = b"h"
BODY: Final = b"b"
HAS_BODY: Final = b"k"
INVALID: Final = b"i"
CHAIN: Final = b"c"
UNDO: Final = b"u"
EVENTS: Final = b"e"
PLACE: Final = b"x"
KEPT: Final = b"o"
EPOCH: Final = b"f"
LIVE: Final = b"l"
STATE: Final = b"s"
STATE_ORDER: Final = b"d"
REFERRED: Final = b"p"
MARK: Final = b"y"
META_AREA: Final = b"marea"
META_STAGING: Final = b"mstaging"
META_BASE: Final = b"mbase"
META_FLOOR: Final = b"mfloor-"
VALUE: Final = b"s/"
"""What the state keys of values begin with; the others are nodes of the tree over them."""


@dataclass(frozen=True, slots=True)
class Area:
    """The prefixes of an area: of the state itself, and of its keys by their digests."""

    name: bytes
    state: bytes
    order: bytes


AREAS: Final = (Area(b"0", STATE, STATE_ORDER), Area(b"1", b"S", b"D"))


class Writer(Protocol):
    """What a migration may do: put and delete keys. All of it is written at once, or nothing."""

    def put(self, key: bytes, value: bytes) -> None:
        """Write a key."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove a key."""
        ...


class Reader(Protocol):
    """What a migration may read."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key."""
        ...

    def scan(self, prefix: bytes, start: bytes = b"") -> "ScanResult":
        """Iterate over the keys that begin with ``prefix``, in order, from ``prefix + start`` on."""
        ...


class ScanResult(Protocol):
    """An iteration over keys (without the prefix) and values."""

    def __iter__(self) -> "ScanResult": ...
    def __next__(self) -> tuple[bytes, bytes]: ...


Migration = Callable[[Reader, Writer], None]
"""Writes what takes a database from one version to the next; the version itself is written with it."""
Preparation = Callable[[Reader], Iterator[tuple[bytes, bytes]]]
"""Gives the keys and values that the older version does not look at: they may be many, so they are written before the
migration and portion by portion. A preparation that was interrupted is done again from its start."""


def _make_room_for_certificates(reader: Reader, writer: Writer) -> None:
    """Version 2 keeps certificates under keys that version 1 never wrote, so there is nothing to rewrite.

    The version is raised all the same: a program of version 1 would run a chain with certificates as if it had none.
    """
    if next(reader.scan(EPOCH), None) is not None or reader.get(META_FINAL) is not None:
        raise SchemaError("a database of schema 1 holds certificates, which that schema does not know")


def _order_state(reader: Reader) -> Iterator[tuple[bytes, bytes]]:
    """Version 2 knows the state's values by the digests of their keys."""
    for key, _ in reader.scan(STATE, VALUE):
        if not key.startswith(VALUE):
            break
        yield STATE_ORDER + sha256(key).digest(), key


def _refer_payloads(reader: Reader) -> Iterator[tuple[bytes, bytes]]:
    """Version 2 knows the last block of the main chain that refers to a payload: heights ascend, so the last stands."""
    for height, id in reader.scan(CHAIN):
        encoded = reader.get(BODY + id)
        if encoded is None:
            raise DamagedError(f"the body of the main chain's block {id.hex()} is missing: see `fedchain db check`")
        for ref in payload_refs(_read_body(encoded, id)):
            yield REFERRED + ref.id, height


def _read_body(encoded: bytes, id: bytes) -> Body:
    try:
        return decode(encoded, Body, len(encoded))
    except CodecError as error:
        raise DamagedError(f"the body of {id.hex()} is {error}: see `fedchain db check`") from None


def _prepare_2(reader: Reader) -> Iterator[tuple[bytes, bytes]]:
    yield from _order_state(reader)
    yield from _refer_payloads(reader)


MIGRATIONS: Final[Mapping[int, Migration]] = {1: _make_room_for_certificates}
"""From which version each migration leads, one step up."""
PREPARATIONS: Final[Mapping[int, Preparation]] = {1: _prepare_2}
"""What goes before some of them."""


def write_state(
    writer: Writer,
    area: Area,
    changes: Iterable[tuple[bytes, bytes | None]],
    has_value: Callable[[bytes], bool] = lambda key: False,
) -> None:
    """Put the new values of changed state keys.

    ``has_value``: is a key known to have one? Then its place in the order of digests is written already.
    """
    put, delete, state = writer.put, writer.delete, area.state
    for key, new in changes:
        if new is None:
            delete(state + key)
        else:
            put(state + key, new)
        if not key.startswith(VALUE) or (new is not None and has_value(key)):
            continue
        place = area.order + sha256(key).digest()
        if new is None:
            delete(place)
        else:
            put(place, key)


def number_key(prefix: bytes, number: int) -> bytes:
    """Return the key of a height or a sequence number."""
    return prefix + number.to_bytes(8, "big")


def live_key(epoch: int, view: int) -> bytes:
    """Return what a message of this view is kept under, its digest aside."""
    return number_key(b"", epoch) + number_key(b"", view)


def encode_version(version: int) -> bytes:
    """Return the value of ``META_SCHEMA``."""
    return version.to_bytes(4, "big")


def plan_migrations(found: int, migrations: Mapping[int, Migration], version: int, where: str) -> list[Migration]:
    """Return the steps from schema ``found`` to ``version``. ``SchemaError`` if there is no way."""
    if found > version:
        raise SchemaError(
            f"{where} was written by a newer fedchain (schema {found}; this one knows {version}): "
            "upgrade fedchain, or move the directory away and sync again"
        )
    missing = [step for step in range(found, version) if step not in migrations]
    if missing:
        raise SchemaError(
            f"{where} has schema {found}, which this fedchain can't read any more (it knows {version}): "
            "open it once with a version in between, or move the directory away and sync again"
        )
    return [migrations[step] for step in range(found, version)]
