"""Faults in encrypted sums: keys, packing, proofs, partial decryptions, openings."""

from typing import Final

from tests.mutants.base import Mutant

_HERE: Final = "tests/fl/secure/paillier"
_KEY: Final = (f"{_HERE}/test_key.py",)
_PACKING: Final = (f"{_HERE}/test_packing.py",)
_CIPHERTEXT: Final = (f"{_HERE}/test_ciphertext.py",)
_THRESHOLD: Final = (f"{_HERE}/test_threshold.py",)
_OWN: Final = (f"{_HERE}/test_own.py",)
_MEMBER: Final = (f"{_HERE}/test_member.py",)
_LINEAR: Final = (f"{_HERE}/test_linear.py",)

MUTANTS: Final = (
    Mutant(
        "a proof of plaintexts is good for another device",
        "fl/secure/paillier/ciphertext.py",
        "digest(_DOMAIN, modulus, context, ciphertexts, commitment)",
        "digest(_DOMAIN, modulus, ciphertexts, commitment)",
        _CIPHERTEXT,
    ),
    Mutant(
        "ciphertexts that are no units pass",
        "fl/secure/paillier/ciphertext.py",
        "    if not are_units([*(each % n for each in ciphertexts), commitment % n, root], n):",
        "    if False:",
        _CIPHERTEXT,
    ),
    Mutant(
        "ciphertexts beyond N² have a second form",
        "fl/secure/paillier/ciphertext.py",
        "    if any(not 0 < each < square for each in (*ciphertexts, commitment)):",
        "    if any(not 0 < each for each in (*ciphertexts, commitment)):",
        _CIPHERTEXT,
    ),
    Mutant(
        "ciphertexts need no proof",
        "fl/secure/paillier/ciphertext.py",
        "    if (1 + answer * n) * power(root, n, square) % square != expected:",
        "    if False:",
        _CIPHERTEXT,
    ),
    Mutant(
        "a slot has no room for the sum of all devices",
        "fl/secure/paillier/packing.py",
        "return self.value_bits + (self.devices - 1).bit_length()",
        "return self.value_bits + self.devices.bit_length() - 1",
        _PACKING,
    ),
    Mutant(
        "a plaintext is filled to where its sum wraps",
        "fl/secure/paillier/packing.py",
        "return (self.modulus_bits - 2) // self.slot_bits",
        "return (self.modulus_bits + self.slot_bits - 1) // self.slot_bits",
        _PACKING,
    ),
    Mutant(
        "sums that no honest devices have pass",
        "fl/secure/paillier/packing.py",
        "    if not (lowest <= int(sums.min()) and int(sums.max()) <= highest):",
        "    if False:",
        _PACKING,
    ),
    Mutant(
        "a partial decryption is good for another task",
        "fl/secure/paillier/threshold.py",
        "return digest(_DOMAIN, key.modulus, *member, context, aggregate, sent)",
        "return digest(_DOMAIN, key.modulus, *member, aggregate, sent)",
        _THRESHOLD,
    ),
    Mutant(
        "a member may decrypt with anything",
        "fl/secure/paillier/threshold.py",
        "    if challenge != _challenge(group, seed, base, value, commitments):",
        "    if False:",
        _THRESHOLD,
    ),
    Mutant(
        "an opening is not looked at",
        "fl/secure/paillier/threshold.py",
        "    if rest:\n        return None\n",
        "",
        _THRESHOLD,
    ),
    Mutant(
        "numbers beyond N open too",
        "fl/secure/paillier/threshold.py",
        "    if not all(0 < root < n for root in opening.randomness):",
        "    if not all(0 < root for root in opening.randomness):",
        _THRESHOLD,
    ),
    Mutant(
        "one member may decrypt alone",
        "fl/secure/paillier/key.py",
        "    if threshold < 2:",
        "    if threshold < 1:",
        _KEY,
    ),
    Mutant(
        "keys under which ciphertexts open in two ways pass",
        "fl/secure/paillier/key.py",
        "        if power(number(root), n, n) != challenge:",
        "        if False:",
        _KEY,
    ),
    Mutant(
        "a dealer may give members shares that open nothing",
        "fl/secure/paillier/key.py",
        "    if power(at_zero, n, n) != power(group.proof_base, scale, n):",
        "    if False:",
        _KEY,
    ),
    Mutant(
        "a modulus of close primes passes",
        "fl/secure/paillier/key.py",
        "    if _has_close_factors(n):",
        "    if False:",
        _KEY,
    ),
    Mutant(
        "a share that is not the promised one is used",
        "fl/secure/paillier/dealing.py",
        "    if not value or power(group.proof_base, value, group.modulus) != number(key.verification[place]):",
        "    if not value:",
        (f"{_HERE}/test_dealing.py",),
    ),
    Mutant(
        "the bound of a dot product is that of its largest weight",
        "fl/secure/paillier/linear.py",
        "largest = max((sum(map(abs, row)) for row in matrix), default=0)",
        "largest = max((max(map(abs, row), default=0) for row in matrix), default=0)",
        _LINEAR,
    ),
    Mutant(
        "an opening may say anything",
        "fl/secure/paillier/openings.py",
        "        if left != (1 + known * n) * power(root, n, square) % square:",
        "        if False:",
        _OWN,
    ),
    Mutant(
        "one round of weights is enough for a key made to cheat",
        "fl/secure/paillier/openings.py",
        "ROUNDS: Final = 8",
        "ROUNDS: Final = 1",
        _OWN,
    ),
    Mutant(
        "an opening that comes with a part is believed",
        "fl/secure/paillier_scheme.py",
        "        if fault is None and rest:",
        "        if False:",
        ("tests/consensus/test_encryption.py",),
    ),
    Mutant(
        "an opening takes no part of its sender's own",
        "fl/secure/paillier_scheme.py",
        "        fault = paillier.check_partial(public, gathered.total, member, part[:size], _sum_context(gathered))",
        "        fault = None",
        ("tests/consensus/test_encryption.py",),
    ),
    Mutant(
        "helpers wait for ever for those whose turn it is",
        "node/roles/helper.py",
        " and self.around.chain.height - state.stepped < patience",
        "",
        ("tests/node/core/test_helper.py",),
    ),
    Mutant(
        "a run that can't lose a member begins",
        "node/localnet/kills.py",
        "    if isinstance(how, Committee) and left < how.threshold:",
        "    if False:",
        ("tests/node/localnet/test_kills.py",),
    ),
    Mutant(
        "openings have a second form beyond N",
        "fl/secure/paillier/openings.py",
        "    if any(value >= n for value in plain) or any(",
        "    if any(",
        (f"{_HERE}/test_openings.py",),
    ),
    Mutant(
        "a member's key may be signed by anybody",
        "fl/secure/paillier/member.py",
        "    if not verify(member.account, member.signature,",
        "    if False and not verify(member.account, member.signature,",
        _MEMBER,
    ),
    Mutant(
        "a member may show another's modulus as its own",
        "fl/secure/paillier/key.py",
        'derived_below(n, _DOMAIN, b"root", modulus, *owner, bytes([place]))',
        'derived_below(n, _DOMAIN, b"root", modulus, bytes([place]))',
        _MEMBER,
    ),
    Mutant(
        "two labels make one key",
        "fl/secure/paillier/member.py",
        'digest(_DOMAIN, b"factors", key.seed, label,',
        'digest(_DOMAIN, b"factors", key.seed,',
        _MEMBER,
    ),
    Mutant(
        "a plan may take the modulus of another plan's member under another name",
        "fl/secure/moduli.py",
        "(owner == _NOBODY or (owner, modulus) != (other, their))",
        "(owner == _NOBODY or modulus != their)",
        ("tests/consensus/test_encryption.py",),
    ),
    Mutant(
        "a dealt modulus may be a member's",
        "fl/secure/moduli.py",
        "    if not isinstance(how, Paillier):\n        return ()\n    try:",
        "    if True:\n        return ()\n    try:",
        ("tests/consensus/test_encryption.py",),
    ),
    Mutant(
        "the carries of members' openings are shown",
        "fl/secure/paillier/own.py",
        "evaluate(polynomial, member + 1, prime) + prime * random_below(1 << _MASK_BITS, random)",
        "evaluate(polynomial, member + 1, prime)",
        _OWN,
    ),
    Mutant(
        "members may have the same modulus",
        "fl/secure/paillier/own.py",
        '    return None if pair is None else f"the moduli',
        '    return None if True else f"the moduli',
        _OWN,
    ),
)
