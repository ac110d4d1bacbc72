"""``paillier-own``: encrypted sums of a committee whose members have keys of their own (``fl.secure.paillier.own``).

Nobody deals anything, so nobody has to be trusted to forget. Draws follow from secret keys as under ``paillier``. The
sums of all members' ciphertexts stand one after the other, in the order of the members.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from chain.codec import decode
from chain.errors import CodecError
from chain.fixedpoint import Int64Vector, to_bytes
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from fl.errors import Problem as Fault
from fl.objective import Objective
from fl.plan.dimensions import most_selected
from fl.plan.schema import PaillierOwn
from fl.secure.base import Cohort, Gathered, get_context
from fl.secure.draws import draws_of
from fl.secure.paillier import own
from fl.secure.paillier.member import MemberKeys, find_factors
from fl.secure.paillier.own import OwnKeys
from fl.secure.paillier.packing import Packing, unpack_any

_NO_KEYS: Final = "its bytes are no members' keys"


@dataclass(frozen=True, slots=True)
class OwnScheme:
    """The scheme object; ``PAILLIER_OWN`` is the one instance."""

    name: str = "paillier-own"
    sharing: None = None

    def find_faults(self, problem: Objective) -> Sequence[Fault]:
        """Return what is wrong with the members' keys, and with what is to be packed under them."""
        spec = _spec_of(problem)
        if not spec.key:
            allowed = (
                "is missing: each member makes its own with fedchain keys committee, and fedchain plan deal --own puts "
                "them into the plan"
            )
            return [Fault("aggregation.key", "", allowed)]
        fault = _find_key_fault(spec.key, spec.threshold)
        if fault is not None:
            return [Fault("aggregation.key", "", fault)]
        try:
            _packing(problem)
        except ValueError as error:
            return [Fault("aggregation.value_bits", str(spec.value_bits), str(error))]
        return ()

    def most_bytes(self, problem: Objective) -> int:
        """Return the size of an encrypted update: once for each member."""
        return own.shares_bytes(_keys(problem), _packing(problem))

    def most_message_bytes(self, problem: Objective) -> int:
        """Return the size of a member's part."""
        return own.opened_bytes(_keys(problem), _packing(problem))

    def protect(self, problem: Objective, cohort: Cohort, key: KeyPair, values: Int64Vector) -> bytes:
        """Return the values, shared between the members and encrypted for each, with proofs that this device knows."""
        context = get_context(cohort.task, key.account)
        draws = draws_of(key, b"encrypt own", context, problem.plan_id, to_bytes(values))
        return own.encrypt_shares(_keys(problem), _packing(problem), values, context, draws)

    def check_protected(
        self, problem: Objective, task: Hash, device: AccountId, shared: bytes, body: bytes
    ) -> str | None:
        """Return what is wrong with an encrypted update."""
        return own.check_shares(_keys(problem), _packing(problem), body, get_context(task, device))

    def combine(self, problem: Objective, bodies: Sequence[bytes]) -> bytes:
        """Return the products of ciphertexts under each member's key."""
        return b"".join(own.add_shares(_keys(problem), _packing(problem), bodies))

    def helpers(self, problem: Objective, cohort: Cohort, revealed: Sequence[AccountId]) -> tuple[AccountId, ...]:
        """Return the members of the committee."""
        return _keys(problem).members

    def threshold(self, problem: Objective, selected: int) -> int:
        """Return how many members it takes."""
        return _spec_of(problem).threshold

    def opens_last(self, problem: Objective) -> bool:
        """Each member's part is an opening, and joining them is quick."""
        return False

    def decrypt(
        self, problem: Objective, gathered: Gathered, key: KeyPair, parts: Mapping[AccountId, bytes]
    ) -> bytes | None:
        """Return this member's part: the opening of the sum under its key; None if the account is no member's."""
        keys = _keys(problem)
        if key.account not in keys.members:
            return None
        member = keys.members.index(key.account)
        factors = find_factors(keys.keys[member], key)
        return None if factors is None else own.open_own(factors, _total_of(keys, gathered, member))

    def check_part(self, problem: Objective, gathered: Gathered, helper: AccountId, part: bytes) -> str | None:
        """Return what is wrong with a member's part."""
        keys = _keys(problem)
        member = keys.members.index(helper)
        return own.check_own(keys, _total_of(keys, gathered, member), member, part)

    def open(self, problem: Objective, gathered: Gathered, parts: Mapping[AccountId, bytes]) -> list[int] | None:
        """Return the sum of what the members opened; None if they are too few."""
        keys, packing = _keys(problem), _packing(problem)
        plaintexts = own.combine_own(keys, packing, {keys.members.index(each): part for each, part in parts.items()})
        if plaintexts is None:
            return None
        values: list[int] = unpack_any(packing, plaintexts).tolist()
        return values


def _spec_of(problem: Objective) -> PaillierOwn:
    spec = problem.plan.aggregation
    assert isinstance(spec, PaillierOwn)
    return spec


@lru_cache(maxsize=64)
def read_members(data: bytes) -> MemberKeys | None:
    """Return the members' keys that stand in a plan; None for bytes that are none."""
    try:
        return decode(data, MemberKeys)
    except CodecError:
        return None


@lru_cache(maxsize=64)
def _find_key_fault(data: bytes, threshold: int) -> str | None:
    """Return what is wrong with members' keys; they are looked at once, since that takes many powers."""
    found = read_members(data)
    return _NO_KEYS if found is None else own.check_own_keys(OwnKeys(threshold, found.members))


def _keys(problem: Objective) -> OwnKeys:
    spec = _spec_of(problem)
    found = read_members(spec.key)
    if found is None:
        raise LookupError("the members' keys were not checked when the plan was submitted")
    return OwnKeys(spec.threshold, found.members)


def _packing(problem: Objective) -> Packing:
    plan = problem.plan
    return own.get_packing(_keys(problem), _spec_of(problem).value_bits, most_selected(plan), problem.dimension)


def _total_of(keys: OwnKeys, gathered: Gathered, member: int) -> bytes:
    """Return the sum under a member's key."""
    size = len(gathered.total) // len(keys.keys)
    return gathered.total[member * size : (member + 1) * size]


PAILLIER_OWN: Final = OwnScheme()
