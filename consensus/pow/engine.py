"""The proof-of-work engine. The rules and why they are so: docs/consensus-pow.md."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from chain.block import Header, block_id, seal_digest
from chain.codec import encode
from chain.errors import CodecError
from chain.genesis import Genesis, PowParameters
from chain.hashing import digest
from chain.ids import Hash, Height, Millis
from chain.upgrades import find_unknown
from consensus.engine import (
    UNLIMITED,
    VALID_HEADER,
    HeaderVerdict,
    HeaderView,
    Prepared,
    SealLimits,
    Verdict,
)
from consensus.header_form import find_form_fault, find_link_fault
from consensus.otherrules import judge_other_rules
from consensus.pow.fields import (
    MAX_TARGET,
    MEDIAN_SPAN,
    PRESSURE_VERSION,
    SEAL_BYTES,
    STALE_WINDOW,
    PowFields,
    PressedFields,
    encode_target,
    read_fields,
)
from consensus.pow.lineage import Lineage, Lineages
from consensus.pow.schedule import compute_due, compute_interval, compute_pressed_interval, compute_pressure
from consensus.pow.siblings import Kin
from consensus.pow.target import compute_target, compute_weight

DOMAIN_BEACON: Final = b"fedchain/pow-beacon"
CHUNK: Final = 1 << 12
"""Nonces between two questions whether to stop: 2 ms of the compiled search; 20 µs of it go into asking."""

OTHER_RULES_SLACK: Final = 16
"""How many times easier than the last target it could judge a block under other rules may be and still be heard."""


class PowEngine:
    """SHA-256d proof of work with the parameters of one genesis. Stateless but for caches of pure functions."""

    name: Final = "pow"

    def __init__(self, genesis: Genesis) -> None:
        if not isinstance(genesis.engine, PowParameters):
            raise TypeError(f"a genesis with the engine {type(genesis.engine).__name__} is no network of proof of work")
        self._genesis = genesis
        self._parameters = genesis.engine
        # Where one set of rules holds for ever, a header of its version needs no look at the schedule.
        has_one = len(genesis.all_rules) == 1 and find_unknown(genesis) is None
        self._only_version = genesis.all_rules[0].version if has_one else None
        # Consecutive headers share all but one of what these look at.
        self._fields = lru_cache(maxsize=1024)(self._read)
        self._lineages = Lineages(self._fields)

    def _read(self, header: Header) -> PowFields:
        return read_fields(header, self._parameters)

    def check_header(self, chain: HeaderView, header: Header, now: Millis) -> HeaderVerdict:
        """Judge a header: its form and work first, for they need no other header and cost a stranger the most."""
        if header.version != self._only_version:
            other = judge_other_rules(self._genesis, chain, header, self._weigh_other)
            if other is not None:
                return other
        fault = find_form_fault(self._genesis, header)
        if fault is not None:
            return _invalid(fault)
        try:
            fields = self._fields(header)
        except CodecError as error:
            return _invalid(f"engine fields: {error}")
        if len(header.seal) != SEAL_BYTES:
            return _invalid(f"a seal of {len(header.seal)} bytes; it has {SEAL_BYTES}")
        if int.from_bytes(block_id(header), "big") > fields.target_number:
            return _invalid("the block id is above the target it claims")
        parent = chain.header(header.parent)
        if parent is None:
            return HeaderVerdict(Verdict.ORPHAN, f"parent {header.parent.hex()} is unknown", (header.parent,))
        return self._check_rules(chain, header, parent, fields, now)

    def _check_rules(
        self, chain: HeaderView, header: Header, parent: Header, fields: PowFields, now: Millis
    ) -> HeaderVerdict:
        """Judge a header whose form and work are right by the chain before it."""
        fault = find_link_fault(header, parent)
        if fault is not None:
            return _invalid(fault)
        lineage = self._lineages.of(chain, parent, header.parent)
        earliest = _earliest_time(lineage)
        if header.time_ms < earliest:
            return _invalid(f"time {header.time_ms} is not after the median of the last {MEDIAN_SPAN}, {earliest - 1}")
        sibling_fault = Kin(chain, lineage, self._fields).find_fault(fields.siblings) if fields.siblings else None
        if sibling_fault is not None:
            reason, missing = sibling_fault
            return HeaderVerdict(Verdict.ORPHAN, reason, missing) if missing else _invalid(reason)
        expected = self._next_fields(chain, parent, header.parent, header.time_ms, fields.siblings)
        if fields != expected:
            return _invalid(f"engine fields {_show(fields)}; the rules give {_show(expected)}")
        latest = now + self._parameters.max_future_ms
        if header.time_ms > latest:
            retry = Millis(header.time_ms - self._parameters.max_future_ms)
            return HeaderVerdict(Verdict.FUTURE, f"time {header.time_ms} is after {latest}", (), retry)
        return VALID_HEADER

    def _weigh_other(self, base: Header, header: Header) -> int:
        """Return the work that a header under other rules proves whatever its fields mean, 0 for next to none."""
        target, number = self._fields(base).target_number, int.from_bytes(block_id(header), "big")
        for bound in (target, min(MAX_TARGET, OTHER_RULES_SLACK * target)):
            if number <= bound:
                return compute_weight(bound)
        return 0

    def _next_fields(
        self, chain: HeaderView, parent: Header, parent_id: Hash, time_ms: int, siblings: tuple[Hash, ...]
    ) -> PowFields:
        """Return the fields the rules give a child of ``parent`` with this time and these siblings."""
        before = self._fields(parent)
        lateness = parent.time_ms - self._genesis.time_ms - before.due_ms
        target = encode_target(
            compute_target(
                int.from_bytes(self._parameters.initial_target, "big"), lateness, self._parameters.half_life_ms
            )
        )
        gap, stale = time_ms - parent.time_ms, before.stale + len(siblings)
        version = self._only_version
        if version is None:
            version = self._genesis.rules_at(parent.height + 1).version
        if version >= PRESSURE_VERSION:
            pressure = compute_pressure(before.pressure if isinstance(before, PressedFields) else 0, len(siblings))
            interval = compute_pressed_interval(self._parameters.block_ms, pressure)
            due = compute_due(self._parameters, before.due_ms, interval, gap)
            if parent.height == 0:
                due = max(due, gap)  # a network's clock starts with its first block, not when its genesis was written
            return PressedFields(target, due, stale, siblings, pressure)
        recent = before.stale
        if recent:  # else no header from genesis on refers to any, nor does one in the window
            window_start = chain.ancestor(parent_id, Height(max(0, parent.height - STALE_WINDOW)))
            assert window_start is not None  # the view holds every ancestor of a header it holds
            recent -= self._fields(window_start).stale
        interval = compute_interval(self._parameters.block_ms, recent)
        return PowFields(target, compute_due(self._parameters, before.due_ms, interval, gap), stale, siblings)

    def prepare(self, chain: HeaderView, parent: Hash, now: Millis) -> Prepared:
        """Return the fields and time of a candidate on ``parent``: now, or just after the median time past."""
        header = chain.header(parent)
        if header is None:
            raise KeyError(f"no header {parent.hex()} to build on")
        lineage = self._lineages.of(chain, header, parent)
        time_ms = max(now, _earliest_time(lineage))
        siblings = Kin(chain, lineage, self._fields).choose()
        return Prepared(encode(self._next_fields(chain, header, parent, time_ms, siblings)), time_ms)

    def seal(self, header: Header, cancel: Callable[[], bool], limits: SealLimits = UNLIMITED) -> bytes | None:
        """Search nonces from ``limits.start`` on; return the first whose block id meets the header's target."""
        from consensus.pow.search import MAX_NONCE, search_chunk  # who only judges does without the compiler's memory

        target = self._fields(header).target_number
        work = seal_digest(header)
        start = limits.start
        end = MAX_NONCE + 1 if limits.count is None else min(MAX_NONCE + 1, start + limits.count)
        chunk = limits.chunk or CHUNK
        while start < end and not cancel():
            nonce = search_chunk(work, target, start, min(chunk, end - start))
            if nonce is not None:
                return nonce.to_bytes(SEAL_BYTES, "big")
            start += chunk
        return None

    def fork_weight(self, header: Header) -> int:
        """Return the hashes this header's target takes on average."""
        return 0 if header.height == 0 else compute_weight(self._fields(header).target_number)

    def finalized(self, chain: HeaderView, tip: Hash) -> Height:
        """Return the height ``max_reorg`` below the tip: no node reorganises deeper by itself."""
        header = chain.header(tip)
        if header is None:
            raise KeyError(f"no header {tip.hex()}")
        return Height(max(0, header.height - self._parameters.max_reorg))

    def references(self, header: Header) -> tuple[Hash, ...]:
        """Return the siblings a header names; nothing for one whose fields can't be read."""
        try:
            return self._fields(header).siblings
        except CodecError:
            return ()

    def beacon(self, header: Header) -> Hash:
        """Return a digest of the block's id: a miner who dislikes it can draw again at the price of a block."""
        return digest(DOMAIN_BEACON, block_id(header))


def _earliest_time(lineage: Lineage) -> Millis:
    """Return the first millisecond after the median time of the last headers."""
    return Millis(lineage.median_time() + 1)


def _invalid(reason: str) -> HeaderVerdict:
    return HeaderVerdict(Verdict.INVALID, reason)


def _show(fields: PowFields) -> str:
    return f"(target {fields.target.hex()}, due {fields.due_ms}, stale {fields.stale})"
