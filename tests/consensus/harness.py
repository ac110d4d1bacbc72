"""A small chain in memory: real transactions, updates and payloads, real learning, no engine and no network.

``Chain`` keeps state as a dict, applies each block through ``fill`` and ``apply`` alike, and remembers executions, so
that tests can walk back. Time passes ``BLOCK_MS`` a block; the beacon is a hash of the height.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

import numpy as np
from msgspec.structs import replace

from chain.block import Block
from chain.codec import encode
from chain.fixedpoint import from_bytes
from chain.genesis import Genesis, Rules
from chain.genesis_default import default_genesis, default_rules
from chain.ids import ZERO_HASH, AccountId, Amount, Hash, Height, Millis
from chain.keys import KeyPair
from chain.number import Number
from chain.payload import PayloadRef
from chain.transaction import Body, JoinPlan, RegisterDevice, SignedTransaction, SubmitPlan, Transaction
from chain.update import Attestation, AttestedUpdate, LocalUpdate, PrivacyCharge, Release
from consensus.audit import Audit, audit_supply
from consensus.context import BlockContext, Execution
from consensus.errors import Invalid
from consensus.fees import get_required_escrow
from consensus.problems import compile_document
from consensus.queries import OpenTask, get_account, get_device, get_enrolment, get_open_task, get_plan
from consensus.records import PlanEntry
from consensus.rules.transactions import FREE
from consensus.stamps import find_stamp
from consensus.transition import apply, fill, genesis_block, genesis_execution, make_header
from consensus.undo import apply_undo, decode_undo, make_undo
from consensus.view import Delta, Overlay, apply_delta
from fl.dataset import DenseData
from fl.plan.schema import (
    Bounds,
    ClassLabel,
    Deadlines,
    FedAvg,
    FedSvrg,
    HorizontalPlan,
    Model,
    NoCompression,
    NoPrivacy,
    NumericFeature,
    Participation,
    PlainAggregation,
    Plan,
    Policy,
    Rewards,
    Role,
    Stopping,
    Verification,
    encode_plan,
    plan_id,
)
from fl.task import device_seed

CHAIN = "test-chain"
START = Millis(1_700_000_000_000)
BLOCK_MS = 60_000
WEALTH = 10**12
OWNER, PRODUCER, OTHER = (KeyPair(bytes([number]) * 32) for number in (101, 102, 103))
MINERS = tuple(KeyPair(bytes([number]) * 32) for number in range(110, 113))
DEVICES = tuple(KeyPair(bytes([number]) * 32) for number in range(1, 9))
COLUMNS = 2


def make_rules(**changes: object) -> Rules:
    """Rules of small numbers: fees by the byte, a price of work, stamps that cost nothing."""
    base = replace(default_rules(), subsidy=Amount(1000), subsidy_halving=0, work_price=10**6, stamp_bits=0)
    return replace(replace(base, min_bond=Amount(500), miner_fallback_blocks=2), **changes)


def make_genesis(rules: Rules | None = None) -> Genesis:
    """A genesis in which owner, another and the miners have coins, and devices have none.

    The rules are put in afterwards: tests want numbers that no sensible network has.
    """
    rich = (OWNER, OTHER, *MINERS)
    genesis = default_genesis(CHAIN, {key.account: WEALTH for key in rich}, time_ms=START, block_ms=BLOCK_MS)
    return replace(genesis, schedule=(rules or make_rules(),))


def make_plan(
    *,
    algorithm: FedSvrg | FedAvg | None = None,
    nonce: int = 0,
    devices: tuple[int, int, int] = (2, 3, 4),
    over_select: int = 100,
    retries: int = 1,
    rounds: int = 2,
    attestations: int = 0,
    policies: Sequence[Policy] = (),
    pools: tuple[int, int] = (1_000_003, 100_003),
    blocks: tuple[int, int, int] = (4, 3, 2),
    gradient_norm: Number | None = None,
) -> Plan:
    """Logistic plan of two features and an intercept; ``devices``: min, goal, max; ``blocks``: enrol, reveal, open."""
    bounds = Bounds(Number.of(10), Number.of(10))
    features = tuple(
        NumericFeature(name, Number.of(-4), Number.of(4), "clip", "refuse", Number.of(0)) for name in ("a", "b")
    )
    return HorizontalPlan(
        version=1,
        title="test",
        description="",
        nonce=nonce,
        roles=(Role("clinic", features, ClassLabel("y", ("0", "1"))),),
        model=Model("logistic", (), True, Number.of("0.01"), 0),
        algorithm=algorithm or FedSvrg(Number.of("0.5"), True, True),
        participation=Participation(*devices, over_select, 1, 1000, retries),
        deadlines=Deadlines(*blocks, 1),
        verification=Verification((bounds, *policies), attestations),
        privacy=NoPrivacy(),
        aggregation=PlainAggregation("mean"),
        compression=NoCompression(),
        rewards=Rewards(*map(Amount, pools)),
        stopping=Stopping(rounds, gradient_norm or Number.of(0)),
        fraction_bits=24,
    )


def make_data(device: KeyPair, count: int = 20) -> DenseData:
    """A device's rows, its own."""
    random = np.random.default_rng(int.from_bytes(device.account[:4], "big"))
    x = random.uniform(-1, 1, (count, COLUMNS))
    return DenseData(x, (x[:, 0] + 0.3 * random.normal(size=count) > 0).astype(np.float64))


class Chain:
    """The chain, its payloads, and shortcuts for what accounts do. Transactions and updates wait for ``mine``."""

    def __init__(self, rules: Rules | None = None, genesis: Genesis | None = None) -> None:
        self.genesis = genesis or make_genesis(rules)
        self.state: dict[bytes, bytes] = {}
        self.store: dict[bytes, bytes] = {}
        self.blocks: list[Block] = [genesis_block(self.genesis)]
        self.contexts: list[BlockContext] = []
        self.executions: list[Execution] = []
        self.transactions: list[SignedTransaction] = []
        self.updates: list[AttestedUpdate] = []
        self.rejected: dict[Hash, Invalid] = {}
        self._write(genesis_execution(self.genesis).delta)

    def change_rules(self, **changes: object) -> None:
        """Change the rules from the next block on."""
        now = self.genesis.rules_at(self.height)
        later = replace(now, height=Height(self.height + 1), **changes)
        self.genesis = replace(self.genesis, schedule=(*self.genesis.schedule, later))

    # --- the views ---

    def get(self, key: bytes, /) -> bytes | None:
        return self.state.get(key)

    def payload(self, id: Hash, /) -> bytes | None:
        return self.store.get(id)

    def keep(self, payload: bytes) -> PayloadRef:
        ref = PayloadRef.of(payload)
        self.store[ref.id] = payload
        return ref

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    @property
    def root(self) -> Hash:
        return self.blocks[-1].header.state_root

    def context(self, **changes: object) -> BlockContext:
        """The context of the next block."""
        height = self.height + 1
        base = BlockContext(
            chain_id=CHAIN,
            height=Height(height),
            parent_time_ms=self.blocks[-1].header.time_ms,
            time_ms=Millis(START + BLOCK_MS * height),
            producer=PRODUCER.account,
            beacon=Hash(sha256(b"beacon" + height.to_bytes(8, "big")).digest()),
            rules=self.genesis.rules_at(height),
        )
        return replace(base, **changes)

    def engine_bytes(self, context: BlockContext) -> bytes:
        """What the engine would write into the header; these chains have none."""
        return b""

    def audit(self) -> Audit:
        return audit_supply(self.state.items())

    def balance(self, key: KeyPair) -> int:
        return get_account(self, key.account).balance

    # --- blocks ---

    def _write(self, delta: Delta) -> None:
        overlay = Overlay(self)
        apply_delta(overlay, delta)
        self._keep(overlay)

    def _keep(self, overlay: Overlay) -> None:
        for change in overlay.changes():
            if change.new is None:
                del self.state[change.key]
            else:
                self.state[change.key] = change.new

    def mine(self, blocks: int = 1) -> Execution:
        """Mine what waits, then ``blocks`` − 1 empty blocks; return the last block's execution."""
        for _ in range(blocks):
            context = self.context()
            filling = fill(self, context, self.transactions, self.updates, self)
            self.transactions, self.updates, self.rejected = [], [], dict(filling.rejected)
            header = make_header(
                context, self.blocks[-1].id, filling.body, filling.execution, self.engine_bytes(context)
            )
            block = Block(header, filling.body)
            execution = apply(self, block, context, self)
            assert execution == filling.execution
            self._write(execution.delta)
            self.blocks.append(block)
            self.contexts.append(context)
            self.executions.append(execution)
        return self.executions[-1]

    def undo(self) -> None:
        """Take the last block back."""
        overlay = Overlay(self)
        apply_undo(overlay, decode_undo(encode(make_undo(self.executions.pop()))))
        self._keep(overlay)
        self.blocks.pop()
        self.contexts.pop()

    # --- what accounts do ---

    def sign(self, key: KeyPair, body: Body, fee: int | None = None, nonce: int | None = None) -> SignedTransaction:
        """A transaction with the next nonce (those that wait are counted) and, unless it is free, a fair fee."""
        waiting = sum(each.transaction.sender == key.account for each in self.transactions)
        if fee is None:
            fee = 0 if isinstance(body, FREE) else 5000
        if nonce is None:
            nonce = get_account(self, key.account).nonce + waiting
        return Transaction(1, CHAIN, key.account, nonce, Amount(fee), body).sign(key)

    def send(self, key: KeyPair, body: Body, fee: int | None = None) -> SignedTransaction:
        signed = self.sign(key, body, fee)
        self.transactions.append(signed)
        return signed

    def submit(self, plan: Plan, extra: int = 0, key: KeyPair = OWNER) -> Hash:
        """Send a plan with its least escrow and ``extra`` coins."""
        escrow = get_required_escrow(plan, self.genesis.rules_at(self.height + 1))
        assert escrow is not None
        fee = 1000 + len(encode_plan(plan))
        self.send(key, SubmitPlan(encode_plan(plan), Amount(escrow + extra)), fee)
        return plan_id(plan)

    def register(self, *devices: KeyPair) -> None:
        for device in devices:
            if get_device(self, device.account) is None:
                bits = self.genesis.rules_at(self.height + 1).stamp_bits
                stamp = find_stamp(CHAIN, device.account, bits)
                assert stamp is not None
                self.send(device, RegisterDevice(0, stamp))

    def join(self, plan: Hash, *devices: KeyPair, samples: int = 20) -> None:
        for device in devices:
            self.send(device, JoinPlan(plan, "clinic", samples, ZERO_HASH))

    def start(self, plan: Plan, devices: Iterable[KeyPair]) -> Hash:
        """Submit a plan and let devices join, each in a block."""
        devices = tuple(devices)
        name = self.submit(plan)
        self.mine()
        self.register(*devices)
        self.join(name, *devices)
        self.mine()
        return name

    def entry(self, plan: Hash) -> PlanEntry:
        entry = get_plan(self, plan)
        assert entry is not None
        return entry

    def task(self, plan: Hash) -> OpenTask:
        task = get_open_task(self, plan)
        assert task is not None
        return task

    def train(self, plan: Hash, device: KeyPair) -> bytes:
        """The payload that an honest device computes for the open task."""
        problem, open_task = compile_document(self.state[b"s/document/" + plan]), self.task(plan)
        task = open_task.task
        enrolment = get_enrolment(self, plan, device.account)
        assert enrolment is not None
        return problem.algorithm.train(
            problem,
            task.phase,
            from_bytes(open_task.model, problem.dimension),
            open_task.carry,
            make_data(device, enrolment.samples),
            device_seed(task.digest, AccountId(device.account)),
        )

    def release(
        self,
        plan: Hash,
        device: KeyPair,
        payload: bytes | None = None,
        change: Callable[[Release], Release] | None = None,
    ) -> LocalUpdate:
        """A device's signed update for the open task; ``change`` may spoil the release before it is signed."""
        open_task = self.task(plan).task
        enrolment = get_enrolment(self, plan, device.account)
        release = Release(
            chain_id=CHAIN,
            plan=plan,
            round=open_task.round,
            phase=open_task.phase,
            task=open_task.digest,
            device=device.account,
            samples=0 if enrolment is None else enrolment.samples,
            computation_us=1_000_000,
            privacy=PrivacyCharge("none", 0, 0),
            payload=self.keep(self.train(plan, device) if payload is None else payload),
        )
        return (release if change is None else change(release)).sign(device)

    def reveal(self, plan: Hash, *devices: KeyPair, miners: Sequence[KeyPair] = ()) -> None:
        """Send honest updates of these devices for the open task, attested by these miners."""
        for device in devices:
            update = self.release(plan, device)
            ordered = sorted(miners, key=lambda miner: miner.account)
            self.updates.append(AttestedUpdate(update, tuple(Attestation.of(update.id, key) for key in ordered)))

    def selected(self, plan: Hash) -> list[KeyPair]:
        """The selected devices that have not revealed yet."""
        task = self.task(plan)
        return [key for key in DEVICES if key.account in task.selected and key.account not in task.revealed]
