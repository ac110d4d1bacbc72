"""Every limit of the protocol between peers, with its unit: what a stranger can make a node hold, do or wait for.

Rules of this file: constants only. What a peer must respect to be understood (frame and list sizes) is part of the
protocol version; the rest (rates, spans, queues) each node chooses for itself. docs/wire.md explains them.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from chain.codec import MAX_OBJECT_BYTES

KIB: Final = 1024
MIB: Final = 1024 * KIB


class MessageClass(IntEnum):
    """The classes of messages, as the byte in a frame's head and in order of urgency: a lower one is sent first."""

    HANDSHAKE = 0
    CONTROL = 1
    CONSENSUS = 2
    UPDATES = 3
    TRANSACTIONS = 4
    PAYLOADS = 5
    ADDRESSES = 6
    SNAPSHOTS = 7
    BUNDLES = 8

    __hash__ = int.__hash__  # every message looks itself up by its class; enum's own hash is Python code


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """The limits of one message class.

    frame_bytes    longest message at any time
    answer_bytes   longest message while an answer of this class is owed to us
    queue_frames   frames waiting to be sent to one peer; what comes on top is dropped
    queue_bytes    bytes they may have together, but one frame is always taken
    """

    frame_bytes: int
    answer_bytes: int
    queue_frames: int
    queue_bytes: int


CLASSES: Final = {
    MessageClass.HANDSHAKE: ClassLimits(4 * KIB, 4 * KIB, 4, 16 * KIB),
    MessageClass.CONTROL: ClassLimits(4 * KIB, 4 * KIB, 256, 256 * KIB),
    MessageClass.CONSENSUS: ClassLimits(32 * KIB, MAX_OBJECT_BYTES + KIB, 256, 8 * MIB),
    MessageClass.UPDATES: ClassLimits(32 * KIB, 512 * KIB, 256, 2 * MIB),
    MessageClass.TRANSACTIONS: ClassLimits(16 * KIB, 2 * MIB, 256, 2 * MIB),
    MessageClass.PAYLOADS: ClassLimits(KIB, 257 * KIB, 64, 4 * MIB),
    MessageClass.ADDRESSES: ClassLimits(KIB, 8 * KIB, 8, 64 * KIB),
    MessageClass.SNAPSHOTS: ClassLimits(KIB, 257 * KIB, 32, 2 * MIB),
    MessageClass.BUNDLES: ClassLimits(16 * KIB, 257 * KIB, 32, 2 * MIB),
}

# ── protocol: list and field sizes ────────────────────────────────────────────────────────────────────────────────
PROTOCOL_VERSIONS: Final = (1, 2, 3, 4)
"""Versions this program speaks, ascending."""
BUNDLES_VERSION: Final = 2
"""From this version on small payloads travel in bundles."""
RELAY_VERSION: Final = 3
"""From this version on a head brings its body, if that is small, and who is told of a block often may ask for quiet."""
MAX_SMALL_BODY: Final = KIB
"""Bytes of a body that comes with its head."""
PROPOSAL_VERSION: Final = 4
"""From this version on a proposal may bring its body along."""
MAX_PROPOSED_BODY: Final = 31 * KIB
"""Bytes of a body that comes with its proposal: with its frame no more than a peer may send unasked anyway."""
MAX_LOCATOR: Final = 64
"""Block ids in a locator."""
MAX_HEADERS: Final = 2000
"""Headers in one answer."""
MAX_HEADERS_BYTES: Final = 2 * MIB
"""Bytes of the headers in one answer."""
MAX_BODIES: Final = 16
"""Block bodies in one request; each is answered in its own frame."""
MAX_ENGINE_BYTES: Final = 24 * KIB
"""Bytes of a consensus engine's message."""
MAX_EPOCHS: Final = 64
"""Epoch proofs in one answer."""
MAX_EPOCHS_BYTES: Final = MIB
"""Bytes of the epoch proofs in one answer."""
MAX_IDS: Final = 256
"""Ids in one announcement or request."""
MAX_ANSWER_BYTES: Final = 256 * KIB
"""Bytes of transactions or updates gathered in one answer; a single larger one still goes alone."""
CHUNK_BYTES: Final = 256 * KIB
"""Bytes of a payload chunk; the last one of a payload is shorter."""
MAX_BUNDLED_BYTES: Final = 64 * KIB
"""Bytes of the largest payload that is asked for in a bundle."""
MAX_BUNDLE_BYTES: Final = 256 * KIB
"""Bytes of the payloads in one bundle."""
MAX_WEIGHT_BYTES: Final = 64
"""Bytes of an accumulated weight, big-endian."""
MAX_REASON: Final = 200
"""Characters of the reason in a Bye."""
MAX_AGENT: Final = 64
"""Characters of a node's name for itself."""
MAX_ADDRESSES: Final = 128
"""Addresses in one answer."""
MAX_SERVED: Final = 4
"""States that a node serves at a time."""
MAX_QUESTION_BYTES: Final = 512
"""Bytes of a question for a part of a state."""
MAX_PART_BYTES: Final = 256 * KIB
"""Bytes of a part of a state."""

# ── spans, in milliseconds ────────────────────────────────────────────────────────────────────────────────────────
TICK_MS: Final = 250
HANDSHAKE_MS: Final = 10_000
"""From the connection to the last frame of the handshake."""
PING_MS: Final = 20_000
"""Without a byte from the peer: it is pinged."""
TALKER_PING_MS: Final = 120_000
"""Between two pings to a peer that talks: what it says does not show that it hears us."""
IDLE_MS: Final = 60_000
"""Without a byte from the peer, or with a ping unanswered."""
STALL_MS: Final = 30_000
"""With bytes handed to the transport and none of them gone."""
HEAD_MS: Final = 20
"""Between two heads announced to one peer; only the latest is sent."""
SILENCE_MS: Final = 2_000
"""Without a byte from a peer that owes an answer: others who can give it are asked, and asked first."""
HEADERS_ANSWER_MS: Final = 15_000
EPOCHS_ANSWER_MS: Final = 10_000
EPOCHS_RETRY_MS: Final = 5_000
"""Before a peer that had no proof of an epoch is asked for it again."""
ENGINE_REPEAT_MS: Final = 1_000
"""So long an engine message that was heard is not heard again."""
PART_ANSWER_MS: Final = 15_000
"""For a part of a state."""
FETCH_ANSWER_MS: Final = 10_000
"""For a transaction or update; for a body or chunk of a payload, since the last one from the same peer."""
QUICK_ANSWER_MS: Final = 500
"""A body or chunk that comes within that widens the peer's window by one."""
SLOW_ANSWER_MS: Final = 2_000
"""One that takes longer narrows it by one; and what is that late is asked of others who have nothing else to do."""
LONGEST_FETCH_MS: Final = 75_000
"""For a body or payload however well others arrive: 4 MiB ahead of it in the queue at 64 KiB/s, and some."""
MIN_PAYLOAD_RATE: Final = 64 * KIB
"""Bytes per second that a payload may take on top of that."""
RETRY_MS: Final = 2_000
"""Before a wanted item that no peer had is asked for again."""
CLAIM_RETRY_MS: Final = 30_000
"""Before a peer whose headers did not bear out its claimed weight is asked for headers again."""
VERDICT_MS: Final = 60_000
"""For the core's verdict, in which time other sources of an item are remembered; and how long an ignored item is."""
DIAL_MS: Final = 20_000
"""For the transport to answer a dial."""
DIAL_BACKOFF_MS: Final = 1_000
"""After the first failure to reach an address; doubles with each further one."""
DIAL_BACKOFF_MAX_MS: Final = 300_000
LASTING_MS: Final = 5_000
"""A connection that lasts less counts as a failure of its address."""
ADDRESSES_MS: Final = 120_000
"""Between two questions for addresses."""

# ── how much at once, for one peer unless stated otherwise ────────────────────────────────────────────────────────
SEND_WINDOW: Final = 512 * KIB
"""Bytes handed to the transport and not yet gone; one frame may reach beyond."""
BODIES_IN_FLIGHT: Final = 8
"""Bodies asked for at first; how well the peer delivers widens or narrows that. Who owes as many late gets none."""
BODIES_OWED: Final = 64
"""Bodies at most; late ones count."""
CHUNKS_IN_FLIGHT: Final = 12
"""Payload chunks asked for at first."""
CHUNKS_OWED: Final = 16
"""Payload chunks at most, of all payloads; late ones count."""
LEAST_IN_FLIGHT: Final = 2
"""Bodies, and payload chunks, asked for at least of a peer that is slow."""
BUNDLED_BYTES_IN_FLIGHT: Final = MIB
"""Bytes of the payloads asked for in bundles: half of what the other side's queue takes."""
LEAST_BUNDLED_BYTES: Final = 4 * KIB
"""What a payload of a bundle counts for among them at least: so a peer owes 256 of them at most."""
PARTS_IN_FLIGHT: Final = 8
"""Parts of a state."""
UPDATES_IN_FLIGHT: Final = 512
TRANSACTIONS_IN_FLIGHT: Final = 512
PAYLOAD_BYTES_IN_FLIGHT: Final = 64 * MIB
"""Of all payloads being fetched from all peers, but one of any size is always fetched."""
MAX_OFFERS: Final = 8192
"""Announced transactions that wait to be fetched, and as many updates."""
MAX_OFFERS_TOGETHER: Final = 98_304
"""Of a kind over all peers, in equal shares: the more peers, the less each has waiting."""
MAX_PENDING_ANNOUNCEMENTS: Final = 4096
"""Transactions to be announced with the next ticks, ``MAX_IDS`` each."""
MAX_SIZES: Final = 4
"""Other sizes remembered that a payload was named with: all but one are lies, and nobody knows which."""
MAX_MISFIT_DOUBLINGS: Final = 8
"""So often ``RETRY_MS`` doubles for a payload that nobody has in the size it was named with."""
MAX_DELIVERED: Final = 8192
"""Announced items with the core for its verdict, over all peers."""
MAX_KNOWN: Final = 8192
"""Items that the peer is known to have."""
MAX_ENGINE_HEARD: Final = 16_384
"""Engine messages remembered as heard, over all peers."""
MAX_IGNORED: Final = 16_384
"""Items the core ignored lately, over all peers."""
MAX_BANS: Final = 2048
"""Banned identities and hosts, and as many that have points; the oldest are forgotten first."""
MAX_STRIKES: Final = 6
"""Questions left unanswered and not made good by answers, at which a peer is let go."""
MAX_DIALS: Final = 4
"""Dials under way at the same time, over all addresses."""
MAX_BACKOFFS: Final = 4096
"""Addresses of which a failure, or who is there, is remembered."""
SERVED_PAYLOAD_BYTES: Final = 16 * MIB
"""Payloads kept at hand while peers fetch them; the last one whatever its size."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Up to ``burst`` at once and ``per_minute`` in the long run. Messages beyond are dropped."""

    burst: int
    per_minute: int


RATES: Final = {
    "Ping": Rate(20, 60),
    "Head": Rate(200, 6_000),
    "GetHeaders": Rate(200, 6_000),
    "EngineMessage": Rate(4_000, 60_000),
    "GetEpochs": Rate(20, 120),
    "Quiet": Rate(20, 60),
    "SmallBody": Rate(200, 6_000),
    "GetBodies": Rate(10_000, 600_000),
    "AnnounceUpdates": Rate(16_384, 240_000),
    "GetUpdates": Rate(10_000, 600_000),
    "AnnounceTransactions": Rate(8_192, 120_000),
    "GetTransactions": Rate(10_000, 600_000),
    "GetPayload": Rate(10_000, 600_000),
    "GetPayloads": Rate(10_000, 600_000),
    "GetAddresses": Rate(2, 2),
    "GetServed": Rate(10, 60),
    "GetPart": Rate(200, 6_000),
}
"""Unasked messages from one peer by type, counted by the ids they list. An honest node stays well below."""
FLOOD_RATE: Final = Rate(200, 60)
"""Dropped messages; a peer beyond that is flooding and is rejected."""
DEBT_MS: Final = 240_000
"""So long after a connection its budgets are held against the next from the same host, or IPv6 /64; by then they are
full again."""
MAX_DEBTS: Final = 2048
"""Hosts of which that is remembered; the oldest are forgotten first."""
MAX_DEBTS_PER_SITE: Final = 8
"""Connections of one host of which that is remembered."""

# ── address book ──────────────────────────────────────────────────────────────────────────────────────────────────
NEW_BUCKETS: Final = 256
TRIED_BUCKETS: Final = 64
BUCKET_SIZE: Final = 32
BUCKETS_PER_SOURCE: Final = 16
"""Buckets of untried addresses that one group of sources can reach at all."""
TRIED_BUCKETS_PER_GROUP: Final = 4
"""Buckets of tried addresses that the addresses of one group can reach at all."""
MAX_FAILURES: Final = 8
"""Failures in a row after which an address that never worked is forgotten."""
POOR_FAILURES: Final = 3
"""Failures in a row after which another may take the place of an address that never worked."""
MAX_CONTESTS: Final = 16
"""Addresses that wait until the one whose tried place they would take has been dialled."""
ANCHORS: Final = 2
"""Peers of the last run that are dialled before all others."""
STALE_MS: Final = 30 * 24 * 3_600_000
"""Not heard of for so long, another may take the place of an address that never worked."""
LOST_MS: Final = 7 * 24 * 3_600_000
"""An address that worked is not forgotten before so long, however often it fails."""
FEELER_MS: Final = 120_000
"""Between two dials that only look whether somebody is there, on average."""
EXTRA_MS: Final = 60_000
"""For a peer dialled because the head is old to show what it has, before the least useful one goes."""

# ── the door ──────────────────────────────────────────────────────────────────────────────────────────────────────
MAX_HALF_OPEN: Final = 64
"""Callers that have not finished their handshake, beside those that are peers."""

# ── misbehaviour, in points that halve over time ──────────────────────────────────────────────────────────────────
BAN_POINTS: Final = 100
"""Points at which an identity or a host is banned; proven hostility is worth as many."""
OVERUSE_POINTS: Final = 50
STALL_POINTS: Final = 10
"""For a caller that lets its handshake run out of time."""
HANDSHAKE_POINTS: Final = 5
"""For a caller of another chain or version, or that proves nothing."""
POINTS_HALF_LIFE_MS: Final = 600_000

# ── what one peer may cost, in units of about a microsecond of one core ───────────────────────────────────────────
WORK_RATE: Final = Rate(10_000_000, 15_000_000)
"""Work for one peer: ten seconds at once, a quarter of a core in the long run."""
WORK_BYTES_SHIFT: Final = 6
"""One unit for each 64 bytes that are decoded."""
SERVE_RATE: Final = Rate(64 * MIB, 1920 * MIB)
"""Bytes of headers, bodies and payloads for one peer while others ask too."""
HEADER_WORK: Final = 10
"""Work for each header of an answer, on top of the question's."""
CONTENTION_MS: Final = 1_000
"""Others asked within so long: a peer beyond its share of serving waits."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a message costs: ``base`` units, and ``each`` for every entry it lists."""

    base: int
    each: int = 0


WORK: Final = {
    "Head": Work(100),
    "GetHeaders": Work(2_000),
    "GetBodies": Work(50, 300),
    "AnnounceUpdates": Work(20, 3),
    "GetUpdates": Work(20, 30),
    "Updates": Work(50, 400),
    "AnnounceTransactions": Work(20, 3),
    "GetTransactions": Work(20, 10),
    "Transactions": Work(50, 150),
    "GetPayload": Work(300),
    "GetPayloads": Work(50, 100),
    "GetPart": Work(1_000),
    "EngineMessage": Work(200),
    "Quiet": Work(1_000),
    "SmallBody": Work(50),
    "Addresses": Work(50, 20),
    "GetAddresses": Work(500),
}
"""Work by type; others are not counted. An answer is always heard, and paid for by what comes after it."""
