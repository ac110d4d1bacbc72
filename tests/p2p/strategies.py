"""Strategies for the messages of the protocol."""

from hypothesis import strategies as st

from chain.payload import MAX_PAYLOAD_BYTES
from p2p.events import Kind
from p2p.limits import CHUNK_BYTES
from p2p.messages import (
    Addresses,
    AnnounceTransactions,
    AnnounceUpdates,
    BlockBody,
    Bye,
    Challenge,
    ClientProof,
    EngineMessage,
    Epochs,
    GetAddresses,
    GetBodies,
    GetEpochs,
    GetHeaders,
    GetPayload,
    GetTransactions,
    GetUpdates,
    Head,
    Headers,
    Message,
    NoChunk,
    NotFound,
    PayloadChunk,
    PeerAddress,
    Ping,
    Pong,
    Quiet,
    ServerProof,
    SmallBody,
    Status,
    Transactions,
    UpdateNotice,
    Updates,
    encode_weight,
)
from tests.strategies import (
    accounts,
    attested_updates,
    block_bodies,
    chain_ids,
    hashes,
    headers,
    heights,
    naturals,
    signatures,
    signed_transactions,
)


def weights() -> st.SearchStrategy[bytes]:
    return st.integers(0, 2**300).map(encode_weight)


def nonces() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=32, max_size=32)


def printable(max_size: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=max_size)


def statuses() -> st.SearchStrategy[Status]:
    return st.builds(Status, heights(), hashes(), weights(), st.integers(0, 65535), printable(64))


def peer_addresses() -> st.SearchStrategy[PeerAddress]:
    ips = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
    return st.builds(PeerAddress, ips, st.integers(1, 65535))


def ids(most: int = 5) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.lists(hashes(), min_size=1, max_size=most).map(tuple)


def offsets() -> st.SearchStrategy[int]:
    return st.integers(0, MAX_PAYLOAD_BYTES // CHUNK_BYTES).map(lambda number: number * CHUNK_BYTES)


def lists_of(strategy: st.SearchStrategy[object], least: int = 0) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, min_size=least, max_size=3).map(tuple)


def handshake_messages() -> st.SearchStrategy[Message]:
    versions = st.lists(naturals(), min_size=1, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Challenge, versions, chain_ids(), hashes(), nonces()),
        st.builds(ClientProof, naturals(), chain_ids(), hashes(), nonces(), accounts(), statuses(), signatures()),
        st.builds(ServerProof, accounts(), statuses(), signatures()),
    )


def ready_messages() -> st.SearchStrategy[Message]:
    """Everything a ready connection may carry."""
    notices = lists_of(st.builds(UpdateNotice, hashes(), hashes()), least=1)
    return st.one_of(
        st.builds(Ping, naturals()),
        st.builds(Pong, naturals()),
        st.builds(NotFound, st.sampled_from(Kind), ids()),
        st.builds(Bye, printable(200)),
        st.builds(Head, headers(), weights()),
        st.builds(GetHeaders, ids()),
        st.builds(Headers, lists_of(headers()), st.booleans()),
        st.builds(GetBodies, ids()),
        st.builds(BlockBody, hashes(), block_bodies()),
        st.builds(SmallBody, hashes(), block_bodies()),
        st.builds(Quiet, st.booleans()),
        st.builds(EngineMessage, st.binary(min_size=1, max_size=100), st.booleans()),
        st.builds(GetEpochs, naturals()),
        st.builds(Epochs, naturals(), lists_of(st.binary(max_size=100))),
        st.builds(AnnounceUpdates, notices),
        st.builds(GetUpdates, notices),
        st.builds(Updates, lists_of(attested_updates(), least=1)),
        st.builds(AnnounceTransactions, ids()),
        st.builds(GetTransactions, ids()),
        st.builds(Transactions, lists_of(signed_transactions(), least=1)),
        st.builds(GetPayload, hashes(), offsets()),
        st.builds(PayloadChunk, hashes(), offsets(), st.binary(max_size=100)),
        st.builds(NoChunk, hashes(), offsets()),
        st.just(GetAddresses()),
        st.builds(Addresses, lists_of(peer_addresses())),
    )


def messages() -> st.SearchStrategy[Message]:
    return handshake_messages() | ready_messages()
