"""A chain whose plan's updates are encrypted, and what honest devices and members do on it."""

from collections.abc import Sequence
from functools import lru_cache

from msgspec.structs import replace

from chain.codec import encode
from chain.fixedpoint import Int64Vector, from_bytes
from chain.hashing import digest
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import DecryptSum, ShareMask
from chain.update import AttestedUpdate, LocalUpdate
from consensus.encryption import gather, get_cohort, get_decryptions, get_refs, read_all
from consensus.problems import compile_document
from consensus.records import RoundState
from consensus.signatures import SignatureCache
from consensus.state import get_round
from fl.algorithms.base import Settled
from fl.envelope import protect_update
from fl.plan.schema import Bounds, Committee, Encryption, FedAvg, FedSvrg, Masked, Paillier, PaillierOwn, Plan
from fl.privacy.randomness import SeededRandom
from fl.problem import Problem
from fl.secure.base import Scheme, sharing_of
from fl.secure.paillier import deal
from fl.secure.paillier.member import MemberKeys, make_member_key
from fl.secure.quantise import get_cohort_update, quantise
from fl.secure.registry import scheme_of
from tests.consensus.harness import DEVICES, MINERS, Chain, make_plan, make_rules

SVRG = FedSvrg(Number.of("0.5"), scale_gradients=False, scale_aggregate=False)
SMALL_BITS = 512
AVERAGE = FedAvg(Number.of("0.1"), 1, 4)


@lru_cache(maxsize=8)
def dealt_key(threshold: int = 2, label: bytes = b"tests") -> bytes:
    """A committee's key of the three miners."""
    return encode(deal([miner.account for miner in MINERS], threshold, random=SeededRandom(label)))


def paillier(**changes: object) -> Paillier:
    return replace(Paillier(2, 24, 3, "known", dealt_key()), **changes)


@lru_cache(maxsize=8)
def own_keys(label: bytes = b"tests", members: tuple[KeyPair, ...] = MINERS) -> bytes:
    """The keys that the three miners made: too small for a chain, whose rule ``small_members`` loosens."""
    made = tuple(make_member_key(member, digest(b"label", label), SMALL_BITS) for member in members)
    return encode(MemberKeys(made))


def paillier_own(**changes: object) -> PaillierOwn:
    return replace(PaillierOwn(2, 24, 3, "known", own_keys()), **changes)


def masked(**changes: object) -> Masked:
    return replace(Masked(67, 24, 3, 3, "known"), **changes)


def secret_plan(how: Encryption, **changes: object) -> Plan:
    """Four devices of at most 100 rows, all of them asked."""
    options = {"devices": (3, 4, 4), "rounds": 2, "algorithm": SVRG} | changes
    plan = make_plan(**options)  # type: ignore[arg-type]
    bounds = Bounds(Number.of(4), Number.of(4))
    participation = replace(plan.participation, max_samples=100)
    verification = replace(plan.verification, policies=(bounds, *plan.verification.policies[1:]))
    return replace(plan, version=2, aggregation=how, participation=participation, verification=verification)


class SecretChain(Chain):
    """A chain with a running plan of encrypted updates."""

    def __init__(self, plan: Plan, devices: Sequence[KeyPair] = DEVICES[:4]) -> None:
        super().__init__(make_rules(version=3))
        self.devices = tuple(devices)
        self.signatures = SignatureCache()
        self.plan = self.start(plan, devices)

    @property
    def round(self) -> RoundState:
        state = get_round(self, self.plan)
        assert state is not None
        return state

    @property
    def problem(self) -> Problem:
        return compile_document(self.state[b"s/document/" + self.plan])

    @property
    def scheme(self) -> Scheme:
        return scheme_of(self.problem.plan)

    def cohort(self):  # type: ignore[no-untyped-def]
        return get_cohort(self, self.round, read_all(self, get_refs(self, self.round)))

    def share(self, *devices: KeyPair) -> None:
        task = self.round.task
        for device in devices:
            ref = self.keep(sharing_of(self.scheme).share(self.problem, self.cohort(), device))
            self.send(device, ShareMask(self.plan, task.round, task.attempt, task.phase, Hash(task.digest), ref))

    def secret(self, device: KeyPair) -> LocalUpdate:
        """A device's honest update of the open task, protected."""
        plain = self.train(self.plan, device)
        body = protect_update(self.problem, self.round.task.phase, plain, 20, self.cohort(), device)
        return self.release(self.plan, device, body)

    def show(self, *devices: KeyPair) -> None:
        self.updates += [AttestedUpdate(self.secret(device), ()) for device in devices]

    def part(self, key: KeyPair) -> bytes:
        gathered = gather(self, self.round, read_all(self, get_refs(self, self.round)), self.signatures)
        read = read_all(self, get_refs(self, self.round))
        given = {AccountId(part.helper): read(part.payload) for part in get_decryptions(self, self.round)}
        part = self.scheme.decrypt(self.problem, gathered, key, given)
        assert part is not None
        return part

    def decrypt(self, *keys: KeyPair) -> None:
        for key in keys:
            ref = self.keep(self.part(key))
            self.send(key, DecryptSum(self.plan, Hash(self.round.task.digest), ref))

    def helpers(self, *revealed: KeyPair) -> tuple[KeyPair, ...]:
        """Who may decrypt: the members, or those who revealed."""
        return MINERS if isinstance(self.problem.plan.aggregation, Committee) else revealed

    def expected(self, *devices: KeyPair) -> Settled:
        """The cohort's update, added up in the clear."""
        phase, total = self.round.task.phase, None
        for device in devices:
            vector = self.problem.algorithm.read_payload(self.problem, phase, self.train(self.plan, device)).vector
            values: Int64Vector = quantise(self.problem, phase, 20, vector)
            total = values if total is None else total + values
        assert total is not None
        return get_cohort_update(self.problem, phase, [20] * len(devices), total.tolist())

    def model(self) -> Int64Vector:
        return from_bytes(self.state[b"s/model/" + self.plan], self.problem.dimension)

    def pass_shares(self, *devices: KeyPair) -> None:
        """Let devices share, where they must, and mine until updates may come."""
        if self.task(self.plan).step == "share":
            self.share(*devices)
            self.mine()
            assert self.rejected == {}
        while self.task(self.plan).step == "share":
            self.mine()

    def pass_phase(self, *devices: KeyPair) -> None:
        """An honest phase of these devices, to its settling."""
        self.pass_shares(*devices)
        task = self.round.task.digest
        self.show(*devices)
        self.mine()
        assert self.rejected == {}
        while self.task(self.plan).step == "reveal":
            self.mine()
        helpers = self.helpers(*devices)
        self.decrypt(*helpers[: self.scheme.threshold(self.problem, self.round.selected)])
        self.mine()
        assert self.rejected == {}
        state = get_round(self, self.plan)
        assert state is None or state.task.digest != task
