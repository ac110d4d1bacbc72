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
from fl.secure.paillier.openings import find_opening_fault, join_opening, read_signed

_MANY: Final = 8
"""Ciphertexts of a sum from which on an opening is shown: fewer are opened sooner than a block comes."""


@dataclass(frozen=True, slots=True)
class PaillierScheme:
    """The scheme object; ``PAILLIER`` is the one instance."""

    name: str = "paillier"
    sharing: None = None

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
        """Return the size of a member's part with an opening."""
        total = bytes(paillier.aggregate_bytes(_packing(problem)))
        return paillier.part_bytes(_key(problem), total) + len(total)

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

    def opens_last(self, problem: Objective) -> bool:
        """To make the opening takes some powers a ciphertext, to check one twenty products."""
        return _packing(problem).ciphertexts >= _MANY

    def decrypt(
        self, problem: Objective, gathered: Gathered, key: KeyPair, parts: Mapping[AccountId, bytes]
    ) -> bytes | None:
        """Return this member's part with its proof; None if the account is no member's, or its share is not right.

        Where the others' parts and this one make up the opening, it follows: nobody else has to make it.
        """
        public = _key(problem)
        share = paillier.open_share(public, key)
        if share is None:
            return None
        context = _sum_context(gathered)
        draws = draws_of(key, b"decrypt", context, problem.plan_id, gathered.total)
        member = public.members.index(key.account)
        part = paillier.partial(public, gathered.total, member, share, context, draws)
        size = len(part)
        known = {public.members.index(each): other[:size] for each, other in parts.items()} | {member: part}
        opening = paillier.combine(public, gathered.total, known) if self.opens_last(problem) else None
        return part if opening is None else part + join_opening(opening.plaintexts, opening.randomness, public.modulus)

    def check_part(self, problem: Objective, gathered: Gathered, helper: AccountId, part: bytes) -> str | None:
        """Return what is wrong with a member's part, and with the opening that may follow it."""
        public = _key(problem)
        member, size = public.members.index(helper), paillier.part_bytes(public, gathered.total)
        rest = part[size:]
        if rest and len(rest) != len(gathered.total):
            return f"{len(part)} bytes of a part: {size}, or {size + len(gathered.total)} with an opening, are allowed"
        fault = paillier.check_partial(public, gathered.total, member, part[:size], _sum_context(gathered))
        if fault is None and rest:
            fault = find_opening_fault(public.modulus, gathered.total, rest)
        return fault

    def open(self, problem: Objective, gathered: Gathered, parts: Mapping[AccountId, bytes]) -> list[int] | None:
        """Return the sum: of the opening (M, r) that came with a part, or of one made of the parts here.

        It was checked, or is now, and a ciphertext has one M: it does not matter whose it is.
        """
        public = _key(problem)
        size = paillier.part_bytes(public, gathered.total)
        shown = next((part[size:] for part in parts.values() if len(part) > size), None)
        if shown is not None:
            plaintexts = read_signed(public.modulus, shown)
        else:
            given = {public.members.index(member): part for member, part in parts.items()}
            opening = paillier.combine(public, gathered.total, given)
            if opening is None:
                return None
            plaintexts = opening.plaintexts
        values: list[int] = paillier.unpack_any(_packing(problem), plaintexts).tolist()
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
