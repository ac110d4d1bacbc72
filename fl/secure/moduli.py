"""The moduli of committees, over plans: no two may have a factor in common, or who sees both can decrypt under both.

A member's own key may serve in several plans at once, as long as it is that member's: what it opens are sums of
ciphertexts whose senders showed that they know what is inside, so no plan opens what belongs to another.

Rules of this file: of plans that are checked, and of bytes that are none.
"""

from typing import Final

from chain.codec import decode
from chain.errors import CodecError
from fl.plan.dimensions import encryption_of
from fl.plan.schema import Paillier, PaillierOwn, Plan
from fl.secure.own_scheme import read_members
from fl.secure.paillier.key import PublicKey
from fl.secure.paillier.numbers import gcd, number, whole_product

_NOBODY: Final = b""
Owned = tuple[bytes, bytes]
"""Whose modulus (nobody's, of a dealt key), and the modulus."""


def get_moduli(plan: Plan) -> tuple[Owned, ...]:
    """Return the moduli under which a plan's updates are encrypted; none if they are not, or the bytes are no key."""
    how = encryption_of(plan)
    if isinstance(how, PaillierOwn):
        found = read_members(how.key)
        return () if found is None else tuple([(bytes(each.account), each.modulus) for each in found.members])
    if not isinstance(how, Paillier):
        return ()
    try:
        return ((_NOBODY, decode(how.key, PublicKey).modulus),)
    except CodecError:
        return ()


def find_clash(ours: tuple[Owned, ...], theirs: tuple[Owned, ...]) -> bytes | None:
    """Return a modulus of ours that has a factor in common with one of theirs, and is not the same member's key."""
    if gcd(whole_product([number(each) for _, each in ours]), whole_product([number(each) for _, each in theirs])) == 1:
        return None
    for owner, modulus in ours:
        for other, their in theirs:
            if gcd(number(modulus), number(their)) != 1 and (owner == _NOBODY or (owner, modulus) != (other, their)):
                return modulus
    return None
