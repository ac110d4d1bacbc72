"""Ed25519 with the strict rule: every node gives the same verdict on every signature, edge cases first."""

from collections import Counter
from itertools import product

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from chain import keys
from chain.errors import AddressError
from chain.keys import KeyPair, verify
from tests.chain.ed25519_reference import (
    BASE,
    IDENTITY,
    L,
    P,
    Point,
    add,
    challenge,
    compress,
    decompress,
    is_equal,
    is_strictly_signed,
    multiply,
    torsion,
)
from tests.strategies import key_pairs

TORSION = torsion()
SMALL_ORDER = frozenset(compress(point) for point in TORSION)

RFC_8032 = (  # §7.1: secret key, public key, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
)

# Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), table 6: message, A, signature, and the strict
# rule's verdict. 0–2 have A or R of small order; 3 mixed orders that cancel; 4, 5 mixed orders that only the
# cofactor hides; 6, 7 S ≥ L; 8, 9 R not canonical; 10, 11 A not canonical.
SPECCHECK = (
    (
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        False,
    ),
    (
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
        "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        False,
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f"
        "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        True,
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
        "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        False,
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7"
        "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        False,
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e"
        "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        False,
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942"
        "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        False,
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
        False,
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
        False,
    ),
    (
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        False,
    ),
    (
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        False,
    ),
)


def verify_with_openssl(key: bytes, signature: bytes, message: bytes) -> bool:
    """The same rule by another library: the reference's strict filter, then OpenSSL."""
    if any(decompress(point) is None or point in SMALL_ORDER for point in (key, signature[:32])):
        return False
    if int.from_bytes(signature[32:], "little") >= L:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_rfc_8032_vectors(seed: str, public: str, message: str, signature: str) -> None:
    """Keys and signatures are those of the standard."""
    key = KeyPair(bytes.fromhex(seed))
    assert key.account.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert verify(key.account, bytes.fromhex(signature), bytes.fromhex(message))
    assert key.seed.hex() == seed


@pytest.mark.parametrize(("message", "public", "signature", "verdict"), SPECCHECK)
def test_taming_the_many_eddsas(message: str, public: str, signature: str, verdict: bool) -> None:
    """On the vectors where libraries are known to differ, both libraries and the mathematics agree with us."""
    arguments = bytes.fromhex(public), bytes.fromhex(signature), bytes.fromhex(message)
    assert verify(*arguments) is verdict
    assert verify_with_openssl(*arguments) is verdict
    assert is_strictly_signed(*arguments) is verdict


def test_points_of_small_order_are_refused_as_keys_and_commitments() -> None:
    """All eight points, in canonical and other encodings, with the S = 0 that would fit any message."""
    encodings = set(SMALL_ORDER)
    for y, sign in product((0, 1, P - 1, P, P + 1), (0, 1)):
        encodings.add((y | sign << 255).to_bytes(32, "little"))
    assert len(SMALL_ORDER) == 8
    assert len(encodings) == 14
    key = KeyPair(bytes(32))
    assert not any(keys._is_strict_point(point) for point in encodings), "the table itself, not libsodium's, decides"
    assert keys._is_strict_point(key.account)
    for point in encodings:
        assert not verify(point, key.sign(b"m"), b"m")
        assert not verify(key.account, point + bytes(32), b"m")
        for other in encodings:
            assert not verify(point, other + bytes(32), b"m")


def edge_cases() -> list[tuple[bytes, bytes, bytes, bool]]:
    """Return (A, signature, message, verdict) for every pair of torsion parts, cancelling or not, of A and R.

    With A = aB + T[i], R = rB + T[j] and S = r + ka, the cofactorless equation holds just if T[j] + k·T[i] is
    the identity, that is if j + ki is a multiple of 8: the verdict follows without any curve arithmetic.
    """
    cases = []
    points: dict[int, Point] = {scalar: multiply(scalar, BASE) for scalar in (0, 7**80 % L, 11**70 % L)}
    small, a_secret, r_secret = points
    encoded = {(s, t): compress(add(points[s], TORSION[t])) for s, t in product(points, range(8))}
    for (a, i), (r, j) in product(product((small, a_secret), range(8)), product((small, r_secret), range(8))):
        key, commitment = encoded[a, i], encoded[r, j]
        wanted = {True, False}
        for number in range(40):
            message = b"edge %d" % number
            k = challenge(commitment, key, message)
            cancels = (j + k * i) % 8 == 0
            if cancels in wanted:
                wanted.remove(cancels)
                s = (r + k * a) % L
                valid = cancels and a != small and r != small
                cases.append((key, commitment + s.to_bytes(32, "little"), message, valid))
                cases.append((key, commitment + (s + L).to_bytes(32, "little"), message, False))
    return cases


def test_libsodium_and_openssl_give_the_verdict_of_the_mathematics() -> None:
    """On hundreds of generated edge cases both libraries behind the filter agree with the known verdict."""
    verdicts: Counter[bool] = Counter()
    for key, signature, message, verdict in edge_cases():
        assert verify(key, signature, message) is verdict, (key.hex(), signature.hex(), message)
        assert verify_with_openssl(key, signature, message) is verdict, (key.hex(), signature.hex(), message)
        verdicts[verdict] += 1
    assert verdicts[True] >= 40
    assert verdicts[False] >= 500


def test_the_reference_agrees_with_the_known_verdicts() -> None:
    """The slow reference, which other tests lean on, gives the same verdicts on a part of the edge cases."""
    assert is_equal(multiply(L, BASE), IDENTITY)
    for key, signature, message, verdict in edge_cases()[::40]:
        assert is_strictly_signed(key, signature, message) is verdict


@given(key_pairs(), st.binary(max_size=200), st.data())
def test_a_signature_holds_for_its_key_and_message_alone(key: KeyPair, message: bytes, data: st.DataObject) -> None:
    """One flipped bit in the key, the signature or the message is refused, by both libraries."""
    signature = key.sign(message)
    assert verify(key.account, signature, message)
    bit = data.draw(st.integers(0, 8 * (96 + len(message)) - 1))
    whole = bytearray(key.account + signature + message)
    whole[bit // 8] ^= 1 << bit % 8
    changed = bytes(whole[:32]), bytes(whole[32:96]), bytes(whole[96:])
    assert not verify(*changed)
    assert not verify_with_openssl(*changed)


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=50))
def test_any_bytes_are_refused_without_an_error(key: bytes, signature: bytes, message: bytes) -> None:
    """Keys and signatures of any length and content give a verdict, never an exception."""
    assert verify(key, signature, message) is False
    assert verify(key[:32].ljust(32, b"k"), signature[:64].ljust(64, b"s"), message) is False


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_both_libraries_sign_alike(seed: bytes, message: bytes) -> None:
    """Signatures are deterministic: another implementation gives the same key and bytes."""
    key, other = KeyPair(seed), Ed25519PrivateKey.from_private_bytes(seed)
    assert key.account == other.public_key().public_bytes_raw()
    assert key.sign(message) == other.sign(message)


def test_a_key_pair_does_not_show_its_secret() -> None:
    """Neither the representation nor an error holds the seed."""
    key = KeyPair(bytes(range(32)))
    assert key.account.hex()[:12] in repr(key)
    assert key.seed.hex() not in repr(key)
    with pytest.raises(AddressError, match="32 bytes, not 31"):
        KeyPair(bytes(31))


def test_the_strict_rule_does_not_lean_on_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a library that accepts everything, S ≥ L and bad points are refused all the same."""
    monkeypatch.setattr(keys.bindings, "crypto_sign_open", lambda signed, key: signed[64:])
    key = KeyPair(bytes(32))
    r = key.sign(b"m")[:32]
    for s, verdict in ((0, True), (L - 1, True), (L, False), (L + 1, False), (2**256 - 1, False)):
        assert verify(key.account, r + s.to_bytes(32, "little"), b"m") is verdict
    for point in (*SMALL_ORDER, (P + 3).to_bytes(32, "little")):
        assert not verify(point, r + bytes(32), b"m")
        assert not verify(key.account, point + bytes(32), b"m")


def test_a_libsodium_with_the_cofactor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that accepts what only the cofactor hides would split the chain: the room does not load with it."""
    keys._require_cofactorless()
    monkeypatch.setattr(keys.bindings, "crypto_sign_open", lambda signed, key: signed[64:])
    with pytest.raises(ImportError, match="cofactor"):
        keys._require_cofactorless()


def test_fresh_key_pairs_differ() -> None:
    """Each call draws its own randomness."""
    assert KeyPair.generate().account != KeyPair.generate().account
