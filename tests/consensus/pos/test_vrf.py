"""The verifiable random function: the RFC's own vectors, and that nothing but the key's proof verifies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from chain.errors import AddressError
from consensus.pos import vrf
from tests.consensus.pos.people import KEYS

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19

# RFC 9381 appendix B.3, examples 16, 17 and 18: secret key, public key, alpha, pi, beta.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e4"
        "56a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af026798e8f81cd2e333de5"
        "cdf4f3e140fdd8ae",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465301b3bbf5e3e54dd"
        "f2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc"
        "57663b56373a5031",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0e52c7a5c691b6c18"
        "c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
        "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c452118fec1219202a0edcf038bb6373241578be7217ba85a26"
        "87f7a0310b2df19f",
    ),
]


@pytest.mark.parametrize(("secret", "public", "alpha", "proof", "output"), VECTORS)
def test_it_is_the_functions_of_the_rfc(secret, public, alpha, proof, output):
    """Proof and output equal the published vectors byte for byte."""
    seed, key, alpha, proof = (bytes.fromhex(text) for text in (secret, public, alpha, proof))
    assert vrf.prove(seed, alpha) == proof
    assert vrf.verify(key, alpha, proof) == bytes.fromhex(output)
    assert vrf.compute_output(proof) == bytes.fromhex(output)


@settings(max_examples=40)
@given(st.binary(max_size=64), st.binary(max_size=64), st.sampled_from(KEYS), st.sampled_from(KEYS))
def test_a_proof_holds_for_its_key_and_input_alone(alpha, other, key, stranger):
    """The right key and input verify; another key or another input does not."""
    proof = vrf.prove(key.seed, alpha)
    assert vrf.verify(key.account, alpha, proof) == vrf.compute_output(proof)
    assert (vrf.verify(key.account, other, proof) is not None) is (alpha == other)
    assert (vrf.verify(stranger.account, alpha, proof) is not None) is (key is stranger)


@settings(max_examples=100)
@given(st.data())
def test_any_change_to_a_proof_breaks_it(data):
    """One bit changed anywhere, a byte more or less: no proof, so that there is one output a key and input."""
    key = KEYS[0]
    proof = bytearray(vrf.prove(key.seed, b"alpha"))
    bit = data.draw(st.integers(0, 8 * len(proof) - 1))
    proof[bit // 8] ^= 1 << bit % 8
    assert vrf.verify(key.account, b"alpha", bytes(proof)) is None
    assert vrf.verify(key.account, b"alpha", vrf.prove(key.seed, b"alpha")[:-1]) is None
    assert vrf.verify(key.account, b"alpha", vrf.prove(key.seed, b"alpha") + b"\0") is None


def test_a_scalar_not_below_the_order_is_refused():
    """s and s + L are the same scalar; only the one below L is taken."""
    proof = vrf.prove(KEYS[0].seed, b"alpha")
    s = int.from_bytes(proof[48:], "little")
    assert vrf.verify(KEYS[0].account, b"alpha", proof[:48] + (s + L).to_bytes(32, "little")) is None


def small_points() -> list[bytes]:
    """Encodings of points of small order, canonical and not, with and without sign."""
    order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
    ys = [0, 1, P - 1, P, P + 1, int.from_bytes(bytes.fromhex(order_8), "little")]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


@pytest.mark.parametrize("point", small_points())
def test_points_of_small_order_are_neither_keys_nor_gammas(point):
    """Such a key would have an output that its holder does not determine."""
    proof = vrf.prove(KEYS[0].seed, b"alpha")
    assert vrf.verify(point, b"alpha", proof) is None
    assert vrf.verify(KEYS[0].account, b"alpha", point + proof[32:]) is None


def test_a_gamma_outside_the_prime_order_subgroup_is_refused():
    """Gamma plus a point of order 8 would give the same output by another proof."""
    torsion = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    proof = vrf.prove(KEYS[0].seed, b"alpha")
    moved = bindings.crypto_core_ed25519_add(proof[:32], torsion)
    assert vrf.compute_output(moved + proof[32:]) == vrf.compute_output(proof)
    assert vrf.verify(KEYS[0].account, b"alpha", moved + proof[32:]) is None
    assert vrf.verify(bindings.crypto_core_ed25519_add(KEYS[0].account, torsion), b"alpha", proof) is None


def test_a_key_or_a_proof_of_another_length_is_none():
    """Refused, not raised: a stranger chose it."""
    proof = vrf.prove(KEYS[0].seed, b"alpha")
    for other in (b"", proof[:-1], proof + b"\0"):
        assert vrf.verify(KEYS[0].account, b"alpha", other) is None
    for key in (b"", KEYS[0].account[:31], KEYS[0].account + b"\0"):
        assert vrf.verify(key, b"alpha", proof) is None


def test_zero_scalars_and_zero_challenges_are_refused():
    """They take terms out of the equations."""
    proof = vrf.prove(KEYS[0].seed, b"alpha")
    assert vrf.verify(KEYS[0].account, b"alpha", proof[:32] + bytes(16) + proof[48:]) is None
    assert vrf.verify(KEYS[0].account, b"alpha", proof[:48] + bytes(32)) is None


def test_an_error_never_shows_the_secret():
    """A seed of the wrong length is refused without being quoted."""
    secret = b"\xaa" * 31
    with pytest.raises(AddressError) as caught:
        vrf.prove(secret, b"alpha")
    assert "aa" not in str(caught.value).lower().replace("has", "")
    assert secret.hex() not in str(caught.value)


def test_outputs_look_uniform():
    """Over 400 inputs the top bit of the output is set about half the time, and no output comes twice."""
    outputs = {vrf.compute_output(vrf.prove(KEYS[0].seed, number.to_bytes(2, "big"))) for number in range(400)}
    assert len(outputs) == 400
    assert 150 < sum(output[0] >> 7 for output in outputs) < 250
