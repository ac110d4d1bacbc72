"""The handshake proves both sides, to each other, on this connection and this chain."""

import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.ids import Hash, Height
from chain.keys import KeyPair
from p2p.errors import HandshakeError, IdentityError, SelfConnectionError
from p2p.handshake import ClientHandshake, Established, ServerHandshake, Terms
from p2p.identity import certificate_account, make_certificate
from p2p.limits import PROTOCOL_VERSIONS
from p2p.messages import Challenge, ClientProof, ServerProof, Status, encode_weight

CLIENT, SERVER, THIRD = (KeyPair(bytes([number]) * 32) for number in (1, 2, 3))
CERTIFICATE = make_certificate(SERVER.seed).der
OTHER_CERTIFICATE = make_certificate(THIRD.seed).der
TERMS = Terms("test", Hash(bytes(32)))
STATUS = Status(Height(5), Hash(b"\x01" * 32), encode_weight(50), 7000, "one")
OTHER_STATUS = Status(Height(9), Hash(b"\x02" * 32), encode_weight(90), 0, "two")


def client(terms: Terms = TERMS, nonce: int = 1, certificate: bytes = CERTIFICATE) -> ClientHandshake:
    return ClientHandshake(CLIENT, terms, certificate, bytes([nonce]) * 32, STATUS)


def server(terms: Terms = TERMS, nonce: int = 2) -> ServerHandshake:
    return ServerHandshake(SERVER, terms, CERTIFICATE, bytes([nonce]) * 32)


def test_both_sides_learn_who_the_other_is() -> None:
    """The outcome names the proven account, the version, and what the other said of itself."""
    one, two = client(), server()
    answer, at_server = two.on_client_proof(one.on_challenge(two.challenge), OTHER_STATUS)
    assert at_server == Established(CLIENT.account, PROTOCOL_VERSIONS[-1], STATUS)
    assert one.on_server_proof(answer) == Established(SERVER.account, PROTOCOL_VERSIONS[-1], OTHER_STATUS)


@settings(max_examples=150)
@given(st.integers(0, 2), st.integers(0, 10_000), st.integers(1, 255))
def test_any_byte_changed_on_the_way_fails(message: int, place: int, mask: int) -> None:
    """Whatever an attacker between them changes in any of the three frames, one side refuses."""

    def tamper(number: int, record: Challenge | ClientProof | ServerProof) -> Challenge | ClientProof | ServerProof:
        if number != message:
            return record
        data = bytearray(encode(record))
        data[place % len(data)] ^= mask
        return decode(bytes(data), type(record))

    one, two = client(), server()
    with pytest.raises((HandshakeError, CodecError)):  # noqa: PT012  # which of the steps refuses depends on the byte
        challenge = tamper(0, two.challenge)
        assert isinstance(challenge, Challenge)
        proof = tamper(1, one.on_challenge(challenge))
        assert isinstance(proof, ClientProof)
        answer = tamper(2, two.on_client_proof(proof, OTHER_STATUS)[0])
        assert isinstance(answer, ServerProof)
        one.on_server_proof(answer)


def test_every_byte_of_every_frame_is_covered() -> None:
    """The property above, for each byte in turn with one bit flipped: none of them is left out."""
    two = server()
    good_proof = client().on_challenge(two.challenge)
    good_answer, _ = two.on_client_proof(good_proof, OTHER_STATUS)
    for place in range(len(encode(good_proof))):
        with pytest.raises((HandshakeError, CodecError)):
            server().on_client_proof(flipped(good_proof, place), OTHER_STATUS)
    for place in range(len(encode(good_answer))):
        one = client()
        one.on_challenge(server().challenge)
        with pytest.raises((HandshakeError, CodecError)):
            one.on_server_proof(flipped(good_answer, place))


def flipped(record: ClientProof | ServerProof, place: int):  # type: ignore[no-untyped-def]
    data = bytearray(encode(record))
    data[place] ^= 1
    return decode(bytes(data), type(record))


def test_a_replayed_proof_fails() -> None:
    """A client's proof is good for one server nonce, a server's for one client nonce."""
    two = server()
    proof = client().on_challenge(two.challenge)
    answer, _ = two.on_client_proof(proof, OTHER_STATUS)
    with pytest.raises(HandshakeError, match="client's signature"):
        server(nonce=3).on_client_proof(proof, OTHER_STATUS)
    again = client(nonce=4)
    again.on_challenge(two.challenge)
    with pytest.raises(HandshakeError, match="server's signature"):
        again.on_server_proof(answer)


def test_a_proof_for_another_connection_fails() -> None:
    """A proof made for a server with another certificate does not work here: nobody can pass it on."""
    two = server()
    for_other = client(certificate=OTHER_CERTIFICATE).on_challenge(two.challenge)
    with pytest.raises(HandshakeError, match="client's signature"):
        two.on_client_proof(for_other, OTHER_STATUS)


def test_a_reflected_proof_fails() -> None:
    """A client's own signature sent back as the server's proves nothing: roles are signed."""
    two = server()
    one = client()
    proof = one.on_challenge(two.challenge)
    with pytest.raises(HandshakeError, match="not the key in its certificate"):
        one.on_server_proof(ServerProof(proof.account, proof.status, proof.signature))
    with pytest.raises(HandshakeError, match="server's signature"):
        one.on_server_proof(ServerProof(SERVER.account, proof.status, proof.signature))


def test_an_automaton_runs_once() -> None:
    """Nothing is taken twice or out of order."""
    two, one = server(), client()
    with pytest.raises(HandshakeError, match="before its challenge"):
        one.on_server_proof(ServerProof(SERVER.account, STATUS, bytes(64)))
    proof = one.on_challenge(two.challenge)
    with pytest.raises(HandshakeError, match="second challenge"):
        one.on_challenge(two.challenge)
    two.on_client_proof(proof, OTHER_STATUS)
    with pytest.raises(HandshakeError, match="second client"):
        two.on_client_proof(proof, OTHER_STATUS)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (Terms("other", TERMS.genesis), "foreign chain: one side is on"),
        (Terms("test", Hash(b"\x01" * 32)), "foreign genesis: one side's is"),
        (Terms("test", TERMS.genesis, (8, 9)), "no common protocol version"),
    ],
)
def test_what_does_not_fit_together_is_named(terms: Terms, words: str) -> None:
    """Another chain, genesis or version is refused by the client, and by a server whose client does not care."""
    with pytest.raises(HandshakeError, match=words):
        client().on_challenge(server(terms).challenge)
    careless = client(terms).on_challenge(server(terms).challenge)
    with pytest.raises(HandshakeError, match=words):
        server().on_client_proof(careless, OTHER_STATUS)


def test_the_highest_common_version_is_taken() -> None:
    """Both sides list what they speak."""
    proof = client(replace_versions((1, 2, 4))).on_challenge(server(replace_versions((2, 3, 4))).challenge)
    assert proof.version == 4


def replace_versions(versions: tuple[int, ...]) -> Terms:
    return Terms(TERMS.chain_id, TERMS.genesis, versions)


def test_a_node_recognises_itself() -> None:
    """By the certificate when it dials, by the account when it is dialled."""
    with pytest.raises(SelfConnectionError):
        ClientHandshake(SERVER, TERMS, CERTIFICATE, bytes(32), STATUS)
    proof = client().on_challenge(server().challenge)
    with pytest.raises(SelfConnectionError):
        server().on_client_proof(replace(proof, account=SERVER.account), STATUS)


def test_a_server_needs_its_own_certificate() -> None:
    """A certificate that does not carry our key is our mistake, not the peer's."""
    with pytest.raises(IdentityError):
        ServerHandshake(SERVER, TERMS, OTHER_CERTIFICATE, bytes(32))


@given(st.binary(min_size=32, max_size=32))
def test_the_certificate_is_a_function_of_the_seed(seed: bytes) -> None:
    """The same seed gives the same bytes, and the account can be read back."""
    certificate = make_certificate(seed)
    assert certificate.der == make_certificate(seed).der
    assert certificate_account(certificate.der) == KeyPair(seed).account


@given(st.binary(max_size=300), st.integers(0, 10_000), st.integers(1, 255))
def test_any_bytes_are_a_certificate_or_an_identity_error(data: bytes, place: int, mask: int) -> None:
    """Nothing else is raised by garbage, nor by a certificate with a byte changed."""
    changed = bytearray(CERTIFICATE)
    changed[place % len(changed)] ^= mask
    for der in (data, bytes(changed)):
        try:
            account = certificate_account(der)
        except IdentityError:
            continue
        assert len(account) == 32


def test_every_byte_of_a_certificate_may_be_any_other() -> None:
    """The parser's own exceptions and warnings, some of its own kind, all become identity errors."""
    refused = 0
    for place in range(len(CERTIFICATE)):
        for value in (0, 1, 0x7F, 0x80, 0xFF, CERTIFICATE[place] ^ 1, CERTIFICATE[place] ^ 0x40):
            try:
                certificate_account(CERTIFICATE[:place] + bytes([value]) + CERTIFICATE[place + 1 :])
            except IdentityError:
                refused += 1
    assert refused > len(CERTIFICATE)


def test_a_certificate_of_another_kind_of_key_is_refused() -> None:
    """Only Ed25519 keys are accounts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    from p2p.identity import _FROM, _NAME, _UNTIL

    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(_NAME).issuer_name(_NAME).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(_FROM).not_valid_after(_UNTIL)
    with pytest.raises(IdentityError, match="not an Ed25519 key"):
        certificate_account(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    with pytest.raises(IdentityError, match="at most 4096"):
        certificate_account(bytes(5000))


def test_tls_shows_the_client_the_certificate_it_then_signs(tmp_path: Path) -> None:
    """The standard library's TLS 1.3 serves the certificate, and its client gets the very bytes."""
    made = make_certificate(SERVER.seed)
    (tmp_path / "node.pem").write_bytes(made.certificate_pem)
    (tmp_path / "node.key").write_bytes(made.key_pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.minimum_version = ssl.TLSVersion.TLSv1_3
    serving.load_cert_chain(tmp_path / "node.pem", tmp_path / "node.key")
    dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialling.check_hostname, dialling.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = serving.wrap_bio(to_server, to_client, server_side=True)
    client_side = dialling.wrap_bio(to_client, to_server)
    for _ in range(4):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client_side.version() == "TLSv1.3"
    assert client_side.getpeercert(binary_form=True) == made.der


def test_secrets_stay_out_of_representations() -> None:
    """A certificate's repr shows no key."""
    made = make_certificate(SERVER.seed)
    assert repr(made) == f"NodeCertificate({len(made.der)} bytes)"
