"""Long random histories of what a node writes, one write at a time, and what can be seen of a node's stores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from chain.block import Block
from chain.ids import Hash, Height
from storage.base import ChainStore, PayloadStore
from storage.own import ReleaseJournal, SigningIntent, SigningJournal
from tests.storage.chains import batch, make_block, make_release, make_transaction


@dataclass(frozen=True, slots=True)
class Stores:
    """All that a node keeps."""

    chain: ChainStore
    payloads: PayloadStore
    releases: ReleaseJournal
    signing: SigningJournal


@dataclass(frozen=True, slots=True)
class Write:
    """One write: it is one step for a store, it happens whole or not at all."""

    name: str
    do: Callable[[Stores], object]


class Historian:
    """Draws writes that fit the stores as they are. ``stores`` are those of a node that never crashes."""

    KINDS = ("extend", "reorganise", "note", "release", "sign", "prune", "gather")

    def __init__(self, stores: Stores, seed: int) -> None:
        self.stores = stores
        self._draw = Random(seed)
        self._number = 1000
        self._loss = 0
        self._view = 0

    def writes(self, count: int) -> Iterator[Write]:
        """Yield at least ``count`` writes; each must be done to ``stores`` before the next is taken."""
        done = 0
        while done < count:
            for write in self.writes_of(self._draw.choices(self.KINDS, (8, 2, 2, 2, 2, 2, 1))[0]):
                done += 1
                yield write

    def writes_of(self, kind: str) -> Iterator[Write]:
        """Yield the writes of one thing that a node does; there may be nothing to do."""
        kinds = (self._extend, self._reorganise, self._note, self._release, self._sign, self._prune, self._gather)
        return kinds[self.KINDS.index(kind)]()

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _block_on(self, parent: Hash, *, payload: bytes = b"") -> Block:
        header = self.stores.chain.header(parent)
        assert header is not None
        number = self._next()
        return make_block(header, number, (2 * number, 2 * number + 1), (payload,) if payload else ())

    def _changes(self) -> tuple[tuple[bytes, bytes | None], ...]:
        keys = self._draw.sample(range(40), 4)
        return tuple([(b"s/%d" % key, self._value()) for key in keys] + [(b"t/%d" % keys[0], self._draw.randbytes(40))])

    def _value(self) -> bytes | None:
        return None if self._draw.random() < 0.2 else self._draw.randbytes(self._draw.choice((5, 50, 3000)))

    def _hand_in(self, block: Block) -> Iterator[Write]:
        yield Write("header", lambda stores: stores.chain.put_headers([block.header]))
        yield Write("body", lambda stores: stores.chain.put_body(block.id, block.body))

    def _extend(self) -> Iterator[Write]:
        payload = self._draw.randbytes(200)
        block = self._block_on(self.stores.chain.tip(), payload=payload)
        yield Write("payload", lambda stores: stores.payloads.put(payload, True))
        yield from self._hand_in(block)
        step = batch([block], self._changes())
        yield Write("commit", lambda stores: stores.chain.commit(step))
        if self._draw.random() < 0.4:
            spent = self._draw.choice(list(self.stores.payloads.ids()))
            yield Write("spend", lambda stores: stores.payloads.delete(spent))

    def _reorganise(self) -> Iterator[Write]:
        chain = self.stores.chain
        floor = max(chain.base(), chain.floor("undo"), chain.floor("bodies"))
        depth = min(self._draw.randint(1, 3), chain.height() - floor)
        if depth <= 0:
            return
        undone = [chain.block_id_at(Height(chain.height() - number)) for number in range(depth)]
        parent = chain.block_id_at(Height(chain.height() - depth))
        assert parent is not None
        blocks: list[Block] = []
        for _ in range(depth + 1):
            blocks.append(self._block_on(parent))
            parent = blocks[-1].id
            yield from self._hand_in(blocks[-1])
        step = batch(blocks, self._changes(), [id for id in undone if id is not None])
        yield Write("reorganise", lambda stores: stores.chain.commit(step))
        bad = self._block_on(blocks[0].id)
        yield from self._hand_in(bad)
        yield Write("condemn", lambda stores: stores.chain.mark_invalid(bad.id, "a rule"))

    def _note(self) -> Iterator[Write]:
        signed = make_transaction(self._next())
        yield Write("keep", lambda stores: stores.chain.keep_transaction(signed))
        if self._draw.random() < 0.7:
            yield Write("forget", lambda stores: stores.chain.forget_transactions([signed.id]))

    def _release(self) -> Iterator[Write]:
        self._loss += 1
        entry = make_release(b"%d" % self._next(), payload=self._draw.randbytes(300), loss=1, total=self._loss)
        yield Write("release", lambda stores: stores.releases.record(entry))

    def _sign(self) -> Iterator[Write]:
        self._view += 1
        intent = SigningIntent(1, self._view, "notarize", Hash(self._draw.randbytes(32)))
        yield Write("sign", lambda stores: stores.signing.record(intent))

    def _prune(self) -> Iterator[Write]:
        chain = self.stores.chain
        for kind in ("undo", "bodies"):
            end = chain.height() - (2 if kind == "undo" else 3)
            to = Height(min(end, chain.floor(kind) + 3))
            if to > chain.floor(kind):
                yield Write(f"prune {kind}", lambda stores, kind=kind, to=to: stores.chain.prune(kind, to))

    def _gather(self) -> Iterator[Write]:
        blocks, parent = [], self.stores.chain.tip()
        for _ in range(3):
            blocks.append(self._block_on(parent))
            parent = blocks[-1].id
            header = blocks[-1].header
            yield Write("header", lambda stores, header=header: stores.chain.put_headers([header]))
        yield Write("begin", lambda stores: stores.chain.staging.begin(parent))
        for number in range(4):
            piece = [change for change in self._changes() if change[1] is not None]
            mark = (b"%d" % number, self._draw.randbytes(65))
            yield Write("piece", lambda stores, piece=piece, mark=mark: stores.chain.staging.put(piece, mark))
        if self._draw.random() < 0.5:
            path, last = [block.id for block in blocks], ((b"t/top", self._draw.randbytes(65)),)
            yield Write("adopt", lambda stores: stores.chain.adopt(path, last))
        else:
            yield Write("drop", lambda stores: stores.chain.staging.drop())
        yield Write("sweep", lambda stores: stores.chain.staging.sweep(100_000))


def look(stores: Stores) -> bytes:
    """Return a digest of everything that can be seen of the stores."""
    chain, digest = stores.chain, sha256()
    seen: list[object] = [chain.tip(), chain.height(), chain.base(), chain.floor("undo"), chain.floor("bodies")]
    seen += sorted(chain.state_items())
    with chain.view() as view:
        seen += [*view.values_from(bytes(32))]
    for stored in chain.headers():
        body = chain.body(stored.id)
        seen += [stored, chain.undo(stored.id), chain.events(stored.id), body]
        seen += [] if body is None else [chain.transaction_place(signed.id) for signed in body.transactions]
    seen += [chain.block_id_at(Height(height)) for height in range(chain.height() + 2)]
    seen += [*chain.kept_transactions(), chain.staging.target()]
    if chain.staging.target() is not None:
        seen += [*chain.staging.marks(), *[chain.staging.get(b"s/%d" % key) for key in range(40)]]
    seen += [*stores.payloads.ids(), *stores.releases.entries(), *stores.signing.entries()]
    for each in seen:
        digest.update(repr(each).encode())
    return digest.digest()
