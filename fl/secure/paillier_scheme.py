"""``paillier``: encrypted sums that a committee decrypts and everybody checks (``fl.secure.paillier``).

What an honest sender draws at random follows from its account's secret key (``fl.secure.draws``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from chain.codec import decode
from chain.errors import CodecError
from chain.fixedpoint import Int64Vector, to_bytes
from chain.hashing import digest
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from fl.errors import Problem as Fault
from fl.objective import Objective
from fl.plan.dimensions import most_selected
from fl.plan.schema import Paillier
from fl.secure import paillier
from fl.secure.base import Cohort, Gathered, get_context
from fl.secure.draws import DOMAIN_DRAWS, draws_of


@dataclass(frozen=True, slots=True)
class PaillierScheme:
    """The scheme object; ``PAILLIER`` is the one instance."""

    name: str = "paillier"
    shares_first: bool = False

    def find_faults(self, problem: Objective) -> Sequence[Fault]:
        """Return what is wrong with the committee's key, and with what is to be packed under it."""
        spec = _spec_of(problem)
        if not spec.key:
            allowed = (
                "is missing: fedchain plan deal makes one for the members of a committee, and writes it into the plan"
            )
            return [Fault("aggregation.key", "", allowed)]
        key = _read_key(spec.key)
        fault = "its bytes are no committee's key" if key is None else _find_key_fault(spec.key)
        if key is None or fault is not None:
            return [Fault("aggregation.key", "", str(fault))]
        if key.threshold != spec.threshold:
            allowed = f"must be {key.threshold}, for which the key was dealt; or deal it anew"
            return [Fault("aggregation.threshold", str(spec.threshold), allowed)]
        try:
            _packing(problem)
        except ValueError as error:
            return [Fault("aggregation.value_bits", str(spec.value_bits), str(error))]
        return ()

    def most_bytes(self, problem: Objective) -> int:
        """Return the size of an encrypted update."""
        return paillier.body_bytes(_packing(problem))

    def most_message_bytes(self, problem: Objective) -> int:
        """Return the size of a member's part."""
        return paillier.part_bytes(_key(problem), bytes(paillier.aggregate_bytes(_packing(problem))))

    def share(self, problem: Objective, cohort: Cohort, key: KeyPair) -> bytes:
        """Nobody shares under this scheme."""
        raise LookupError("under paillier devices share nothing before they reveal")

    def check_share(self, problem: Objective, cohort: Cohort, device: AccountId, message: bytes) -> str | None:
        """Nobody shares under this scheme."""
        return "under paillier devices share nothing before they reveal"

    def protect(self, problem: Objective, cohort: Cohort, key: KeyPair, values: Int64Vector) -> bytes:
        """Return the encrypted values, with the proof that this device knows them."""
        context = get_context(cohort.task, key.account)
        draws = draws_of(key, b"encrypt", context, problem.plan_id, to_bytes(values))
        return paillier.encrypt(_key(problem), _packing(problem), values, context, draws)

    def check_protected(
        self, problem: Objective, task: Hash, device: AccountId, shared: bytes, body: bytes
    ) -> str | None:
        """Return what is wrong with an encrypted update."""
        return paillier.check(_key(problem), _packing(problem), body, get_context(task, device))

    def combine(self, problem: Objective, bodies: Sequence[bytes]) -> bytes:
        """Return the product of ciphertexts, which encrypts the sum."""
        return paillier.add(_key(problem), bodies)

    def helpers(self, problem: Objective, cohort: Cohort, revealed: Sequence[AccountId]) -> tuple[AccountId, ...]:
        """Return the members of the committee."""
        return tuple([AccountId(member) for member in _key(problem).members])

    def threshold(self, problem: Objective, selected: int) -> int:
        """Return how many members it takes."""
        return _key(problem).threshold

    def decrypt(self, problem: Objective, gathered: Gathered, key: KeyPair) -> bytes | None:
        """Return this member's part with its proof; None if the account is no member's, or its share is not right."""
        public = _key(problem)
        share = paillier.open_share(public, key)
        if share is None:
            return None
        context = _sum_context(gathered)
        draws = draws_of(key, b"decrypt", context, problem.plan_id, gathered.total)
        member = public.members.index(key.account)
        return paillier.partial(public, gathered.total, member, share, context, draws)

    def check_part(self, problem: Objective, gathered: Gathered, helper: AccountId, part: bytes) -> str | None:
        """Return what is wrong with a member's part."""
        public = _key(problem)
        member = public.members.index(helper)
        return paillier.check_partial(public, gathered.total, member, part, _sum_context(gathered))

    def open(self, problem: Objective, gathered: Gathered, parts: Mapping[AccountId, bytes]) -> list[int] | None:
        """Return the sum, whose opening (M, r) is made of the parts and compared with each ciphertext, exactly."""
        public = _key(problem)
        opening = paillier.combine(
            public, gathered.total, {public.members.index(member): part for member, part in parts.items()}
        )
        if opening is None:
            return None
        values: list[int] = paillier.unpack_any(_packing(problem), opening.plaintexts).tolist()
        return values


def _spec_of(problem: Objective) -> Paillier:
    spec = problem.plan.aggregation
    assert isinstance(spec, Paillier)
    return spec


@lru_cache(maxsize=64)
def _read_key(data: bytes) -> paillier.PublicKey | None:
    try:
        return decode(data, paillier.PublicKey)
    except CodecError:
        return None


@lru_cache(maxsize=64)
def _find_key_fault(data: bytes) -> str | None:
    """Return what is wrong with a key that decodes; it is looked at once, since that takes many powers."""
    key = _read_key(data)
    return "its bytes are no committee's key" if key is None else paillier.check_key(key)


def _key(problem: Objective) -> paillier.PublicKey:
    key = _read_key(_spec_of(problem).key)
    if key is None:
        raise LookupError("the plan's key was not checked when it was submitted")
    return key


def _packing(problem: Objective) -> paillier.Packing:
    bits = int.from_bytes(_key(problem).modulus, "big").bit_length()
    return paillier.Packing(_spec_of(problem).value_bits, most_selected(problem.plan), problem.dimension, bits)


def _sum_context(gathered: Gathered) -> bytes:
    """Return what a part is bound to: the task, and who revealed."""
    return digest(DOMAIN_DRAWS, b"sum", gathered.cohort.task, *gathered.revealed)


PAILLIER: Final = PaillierScheme()
