"""What RPC methods give, as JSON objects: the client decodes into these records. ``params`` has what they take.

Accounts are addresses (``fed1…``), ids and digests 64 hex digits, other bytes hex unless a field says base64.
Amounts are whole numbers of the smallest coin unit, times Unix milliseconds, losses real numbers.

Rules of this file: shapes only.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from node.rpc.registry import Shape

HexId = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="64 hex digits")]
HexBytes = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$", description="bytes as hex digits")]
Address = Annotated[str, Meta(max_length=90, description="an account, fed1…")]
Subject = Annotated[str, Meta(min_length=1, max_length=253, description="an account, fed1…, or a host")]
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Shown = dict[str, Any]
"""A record of the chain, field by field; its ``kind`` says which where there are several."""


class BackupView(Shape):
    """What was backed up: the chain up to a block, and payload files, of which some were linked, not copied."""

    directory: str
    height: Whole
    block: HexId
    keys: Whole
    payloads: Whole
    linked: Whole


class Done(Shape):
    """It was done; ``id`` names what came of it."""

    id: str = ""


class TrustView(Shape):
    """Where the node's word on the chain comes from, and what of the chain it has.

    ``says`` is all of it in words. ``checkpoint`` is HEIGHT:HASH. ``synced_at``: the state after the block of this
    height came from peers, proven against its header; null if every block was executed here. Blocks up to
    ``blocks_above`` have no body here, payloads of blocks up to ``payloads_above`` may be gone. ``gathering``: height
    of a state that is being fetched, ``gathered`` the part of it that is here, 0 … 1.
    """

    says: str
    checkpoint: str | None
    synced_at: int | None
    blocks_above: Whole
    payloads_above: Whole
    archive: bool
    gathering: int | None
    gathered: float


class AgreementView(Shape):
    """Where the validators' agreement is, and this node's part in it; ``reason`` says why it does not vote."""

    epoch: Whole
    view: Whole
    validators: int
    part: Literal["follows", "listens", "votes", "jailed", "refuses"]
    leads: bool
    reason: str


class LiarView(Shape):
    """A full node that lied to this light device and was banned: what about, and when it was found out.

    ``height`` is that of the block it was about, or of the best one trusted then. ``time_ms`` since 1970.
    """

    peer: Address
    height: Whole
    reason: str
    time_ms: Whole


class NodeStatus(Shape):
    """One node at a glance. ``rate`` is in blocks a second, ``eta_s`` null where nothing can be said.

    ``agreement`` is null where blocks become final by work alone. ``liars``: the last full nodes that lied to this
    light device; a full node has none.
    """

    version: str
    chain_id: str
    genesis: HexId
    account: Address
    state: Literal["offline", "connecting", "syncing", "synced", "stalled", "outdated"]
    reason: str
    height: Whole
    target: Whole
    rate: float
    eta_s: float | None
    head: HexId
    head_time_ms: Whole
    state_root: HexId
    finalized: Whole
    agreement: AgreementView | None
    trust: TrustView
    liars: tuple[LiarView, ...]
    peers: int
    listening: str
    roles: tuple[str, ...]
    transactions: int
    updates: int
    uptime_s: float
    job_threads: int


class PeerView(Shape):
    """A connected peer. ``latency_ms`` is null until it was measured; bytes count frames both ways.

    ``points`` for misbehaviour halve every ten minutes; at 100 the peer is banned.
    """

    peer: Address
    outbound: bool
    address: str
    agent: str
    height: Whole
    head: HexId
    latency_ms: int | None
    since_ms: Whole
    bytes_received: int
    bytes_sent: int
    points: Whole


class BanView(Shape):
    """An account or host that is not spoken to, until when, and why."""

    subject: Subject
    until_ms: Whole
    reason: str


class AddressesView(Shape):
    """The address book: how many addresses worked, and were only heard of; those a restart would dial first."""

    tried: Whole
    new: Whole
    anchors: tuple[str, ...]


class ProofView(Shape):
    """A state value at the head with its proof: ``consensus.tree.verify_state_proof`` checks it against the root."""

    key: HexBytes
    value: HexBytes | None
    height: Whole
    block: HexId
    state_root: HexId
    proof: HexBytes


class AccountView(Shape):
    """An account after block ``height``. ``next_nonce`` counts its waiting transactions too."""

    account: Address
    balance: Whole
    nonce: Whole
    next_nonce: Whole
    height: Whole
    device: Shown | None
    bond: Whole | None
    proof: ProofView | None


class PrivatePlanView(Shape):
    """What a plan that a device joined has cost it so far, and what it may still cost; losses in micro-zCDP.

    ``unit``: whose presence its noise or its randomised copy hides, "record" or "device"; null: it has neither, and its
    loss no bound. ``budget`` is the plan's own bound for a device, ``samples`` the rows it enrolled with.
    """

    plan: HexId
    title: str
    status: Literal["enrolling", "running", "finished", "cancelled"]
    mechanism: str
    unit: Literal["record", "device"] | None
    samples: Whole
    budget: Whole
    spent: Whole
    reserved: Whole


class ChargeView(Shape):
    """One charge of a device's: an update that a block carried, or what joining published (``phase`` is null).

    ``loss`` and ``total``, the device's whole loss after it, in micro-zCDP; ``epsilon`` in 10^-6, null if not pure.
    """

    height: Whole
    time_ms: Whole
    plan: HexId
    round: Whole
    phase: Whole | None
    mechanism: str
    loss: Whole
    epsilon: Whole | None
    total: Whole


class PrivacyView(Shape):
    """What the chain knows of a device's privacy after block ``height``; losses in micro-zCDP.

    loss       of all it released and published: the larger of what it signed and what blocks carried
    charged    what blocks carried; the rest of ``loss`` are releases that no block carried
    lifetime   its lifetime budget, 0: none; ``free`` is what is neither lost nor reserved, null without a budget, and
               below 0 where more was reserved before it was lowered, or releases were lost
    epsilon    pure ε in 10^-6, null if something that counts was not pure
    plans      of the newest 1,000 plans those that it joined; ``charges`` counts all charges, ``history`` lists some
    """

    device: Address
    height: Whole
    registered: bool
    loss: Whole
    charged: Whole
    lifetime: Whole
    reserved: Whole
    free: int | None
    epsilon: Whole | None
    plans: tuple[PrivatePlanView, ...]
    charges: Whole
    history: tuple[ChargeView, ...]


class BlockView(Shape):
    """A block: its header's fields, its body's records, and what happened in it (main chain only).

    ``absent`` says why there is a header alone, null if there is more.
    """

    id: HexId
    height: Whole
    main_chain: bool
    confirmations: int
    header: Shown
    transactions: tuple[Shown, ...] | None
    updates: tuple[Shown, ...] | None
    events: tuple[Shown, ...] | None
    absent: str | None


class PayloadContent(Shape):
    """A payload as the device sent it: what ``base64`` holds has the SHA-256 ``id``."""

    id: HexId
    size: Whole
    base64: str


class TransactionView(Shape):
    """A transaction: waiting, or in a block of the main chain."""

    id: HexId
    state: Literal["waiting", "included"]
    block: HexId | None
    height: Whole | None
    position: int | None
    confirmations: int
    transaction: Shown
    encoded: HexBytes


class PlanView(Shape):
    """A plan's standing. ``funds`` is what is left of its escrow, by purpose; ``max_rounds`` is the plan's limit."""

    plan: HexId
    title: str
    owner: Address
    status: Literal["enrolling", "running", "finished", "cancelled"]
    reason: str
    submitted: Whole
    enrol_deadline: Whole
    closed: Whole
    enrolled: int
    samples: Whole
    rounds: int
    max_rounds: int
    funds: Shown


class PlanDetail(Shape):
    """A plan with its TOML text and its canonical bytes."""

    standing: PlanView
    toml: str
    encoded: HexBytes


class TaskView(Shape):
    """A plan's open task; null where the plan has none."""

    task: HexId
    round: int
    attempt: int
    phase: int
    phase_name: str
    step: str
    opened: Whole
    opened_ms: Whole
    deadline: Whole
    selected: tuple[Address, ...]
    committed: tuple[Address, ...]
    shared: tuple[Address, ...]
    decrypted: tuple[Address, ...]
    revealed: tuple[Address, ...]
    model: HexId


class OpenTaskView(Shape):
    """The open task of a plan, if it has one."""

    plan: HexId
    height: Whole
    task: TaskView | None


class ContributionView(Shape):
    """What a device's update was worth: what it took off the opened chunk's mean loss; None: it was not judged.

    One that does not stand is a copy of an earlier one.
    """

    device: Address
    value: float | None
    stands: bool


class RoundView(Shape):
    """A settled round. ``loss`` is the mean training loss of the model that the round started from.

    ``contributions``: of plans whose rewards go by them.
    """

    round: int
    attempts: int
    height: Whole
    time_ms: Whole
    loss: float | None
    gradient_norm: float | None
    model: HexId
    devices: tuple[Shown, ...]
    miners: tuple[Shown, ...]
    refused: tuple[Shown, ...]
    contributions: tuple[ContributionView, ...] = ()


class HistoryView(Shape):
    """All settled rounds of a plan."""

    plan: HexId
    height: Whole
    rounds: tuple[RoundView, ...]


class ModelView(Shape):
    """A plan's global model after ``rounds`` rounds: little-endian int64 fixed point with ``fraction_bits``."""

    plan: HexId
    status: str
    rounds: int
    height: Whole
    digest: HexId
    fraction_bits: int
    parameters: int
    base64: str


class DeviceStatus(Shape):
    """What this node's device role does. ``role`` is null if it plays none."""

    account: Address
    registered: bool
    role: Shown | None


class FleetStatus(Shape):
    """What this node's fleet role does. ``role`` is null if it plays none."""

    role: Shown | None


class MinerStatus(Shape):
    """What this node's miner role does. ``role`` is null if it plays none; ``miners`` counts the registered ones."""

    account: Address
    bond: Whole
    miners: int
    role: Shown | None


class WaitingTransaction(Shape):
    """A transaction that waits for a block."""

    id: HexId
    sender: Address
    nonce: Whole
    fee: Whole
    kind: str
    size: int


class MempoolView(Shape):
    """What waits for blocks."""

    transactions: int
    transaction_bytes: int
    updates: int
    update_bytes: int
    listed: tuple[WaitingTransaction, ...]


class SupplyView(Shape):
    """Where all coins are: minted = circulating + escrowed + bonded."""

    height: Whole
    minted: Whole
    circulating: Whole
    escrowed: Whole
    bonded: Whole


class LeavingView(Shape):
    """Coins that left a bond ("stake" or "miner"): the block at height ``due`` pays them."""

    due: Whole
    amount: Whole
    purpose: str


class StakeView(Shape):
    """An account's stake after block ``height``. ``power``: its votes in this epoch, 0 if it is no validator of it.

    ``standing``: good, jailed (it may leave from block ``free_from`` on), tombstoned, or none. ``missed``: own turns to
    lead, in a row.
    """

    account: Address
    height: Whole
    stake: Whole
    power: Whole
    standing: str
    missed: Whole
    free_from: Whole
    leaving: tuple[LeavingView, ...]


class ValidatorsView(Shape):
    """The epoch of the next block: its last height, all its votes, and who votes or stakes, the largest first."""

    height: Whole
    epoch: Whole
    ends: Whole
    seed: HexId
    permissioned: bool
    power: Whole
    burned: Whole
    validators: tuple[StakeView, ...]


class GenesisView(Shape):
    """The genesis document as a text that ``chain.genesis_file`` reads; ``upgrades`` is one for ``chain.upgrades``.

    It is empty as long as the network has taken on no later rules.
    """

    genesis: HexId
    chain_id: str
    prefix: str
    document: str
    upgrades: str
