"""The handshake: two nodes prove who they are to each other, bound to their TLS connection and to one chain.

    server → client   Challenge     versions, chain, genesis, a nonce
    client → server   ClientProof   version, chain, genesis, a nonce, account, status, signature
    server → client   ServerProof   account, status, signature

Each signs under its own role the hash of the server's TLS certificate and every byte said so far, so that a proof can't
be replayed (nonces), reflected (roles), carried to another connection (certificate) or altered. The server's account
must be the key in its certificate, which TLS has made it prove.

Rules of this file: two small automata that consume and return messages; every refusal of a peer is a
``HandshakeError`` whose text both sides get to see.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from chain.codec import encode
from chain.hashing import DOMAIN_HANDSHAKE, digest
from chain.ids import Hash
from chain.keys import KeyPair, verify
from p2p.errors import HandshakeError, IdentityError, SelfConnectionError
from p2p.events import PeerId
from p2p.identity import certificate_account
from p2p.limits import PROTOCOL_VERSIONS
from p2p.messages import Challenge, ClientProof, ServerProof, Status

_UNSIGNED: Final = bytes(64)
_CLIENT: Final = b"client"
_SERVER: Final = b"server"


@dataclass(frozen=True, slots=True)
class Terms:
    """What both sides must share."""

    chain_id: str
    genesis: Hash
    versions: tuple[int, ...] = PROTOCOL_VERSIONS


@dataclass(frozen=True, slots=True)
class Established:
    """The outcome: who the peer is, the version both speak, and what it said of itself."""

    peer: PeerId
    version: int
    status: Status


def _check_chain(terms: Terms, chain_id: str, genesis: Hash) -> None:
    if chain_id != terms.chain_id:
        raise HandshakeError(f"foreign chain: one side is on {chain_id[:60]!r}, the other on {terms.chain_id[:60]!r}")
    if genesis != terms.genesis:
        raise HandshakeError(
            f"foreign genesis: one side's is {genesis.hex()[:16]}, the other's {terms.genesis.hex()[:16]}"
        )


def _certificate_account(certificate: bytes) -> PeerId:
    try:
        return certificate_account(certificate)
    except IdentityError as error:
        raise HandshakeError(f"the server's certificate: {error}") from None


def _client_transcript(certificate: bytes, challenge: Challenge, proof: ClientProof) -> Hash:
    unsigned = replace(proof, signature=_UNSIGNED)
    return digest(DOMAIN_HANDSHAKE, _CLIENT, sha256(certificate).digest(), encode(challenge), encode(unsigned))


def _server_transcript(certificate: bytes, challenge: Challenge, client: ClientProof, proof: ServerProof) -> Hash:
    unsigned = replace(proof, signature=_UNSIGNED)
    return digest(
        DOMAIN_HANDSHAKE,
        _SERVER,
        sha256(certificate).digest(),
        encode(challenge),
        encode(client),
        encode(unsigned),
    )


class ClientHandshake:
    """The side that dialled. Feed it the challenge, send its proof, feed it the server's proof."""

    def __init__(self, identity: KeyPair, terms: Terms, certificate: bytes, nonce: bytes, status: Status) -> None:
        self._identity = identity
        self._terms = terms
        self._certificate = certificate
        self._nonce = nonce
        self._status = status
        self.server = _certificate_account(certificate)
        if self.server == identity.account:
            raise SelfConnectionError("connected to ourselves")
        self._said: tuple[Challenge, ClientProof] | None = None

    def on_challenge(self, challenge: Challenge) -> ClientProof:
        """Return the proof to answer with."""
        if self._said is not None:
            raise HandshakeError("a second challenge")
        _check_chain(self._terms, challenge.chain_id, challenge.genesis)
        common = [version for version in self._terms.versions if version in challenge.versions]
        if not common:
            raise HandshakeError(
                f"no common protocol version: one side speaks {list(challenge.versions)}, "
                f"the other {list(self._terms.versions)}"
            )
        proof = ClientProof(
            common[-1],
            self._terms.chain_id,
            self._terms.genesis,
            self._nonce,
            self._identity.account,
            self._status,
            _UNSIGNED,
        )
        signature = self._identity.sign(_client_transcript(self._certificate, challenge, proof))
        proof = replace(proof, signature=signature)
        self._said = (challenge, proof)
        return proof

    def on_server_proof(self, proof: ServerProof) -> Established:
        """Return the outcome, the server having proven itself."""
        if self._said is None:
            raise HandshakeError("a server's proof before its challenge")
        challenge, said = self._said
        if proof.account != self.server:
            raise HandshakeError("the server's account is not the key in its certificate")
        transcript = _server_transcript(self._certificate, challenge, said, proof)
        if not verify(proof.account, proof.signature, transcript):
            raise HandshakeError("the server's signature does not cover this handshake")
        return Established(proof.account, said.version, proof.status)


class ServerHandshake:
    """The side that was dialled. Send its challenge, feed it the client's proof, send its own."""

    def __init__(self, identity: KeyPair, terms: Terms, certificate: bytes, nonce: bytes) -> None:
        if certificate_account(certificate) != identity.account:
            raise IdentityError("our own certificate does not carry our key")
        self._identity = identity
        self._terms = terms
        self._certificate = certificate
        self._done = False
        self.challenge = Challenge(terms.versions, terms.chain_id, terms.genesis, nonce)

    def on_client_proof(self, proof: ClientProof, status: Status) -> tuple[ServerProof, Established]:
        """Return the proof to answer with and the outcome, the client having proven itself."""
        if self._done:
            raise HandshakeError("a second client's proof")
        _check_chain(self._terms, proof.chain_id, proof.genesis)
        if proof.version not in self._terms.versions:
            raise HandshakeError(
                f"no common protocol version: one side chose {proof.version}, the other speaks "
                f"{list(self._terms.versions)}"
            )
        if proof.account == self._identity.account:
            raise SelfConnectionError("connected to ourselves")
        if not verify(proof.account, proof.signature, _client_transcript(self._certificate, self.challenge, proof)):
            raise HandshakeError("the client's signature does not cover this handshake")
        answer = ServerProof(self._identity.account, status, _UNSIGNED)
        transcript = _server_transcript(self._certificate, self.challenge, proof, answer)
        self._done = True
        answer = replace(answer, signature=self._identity.sign(transcript))
        return answer, Established(proof.account, proof.version, proof.status)
