"""Hypothesis strategies for the chain's objects, used by the tests of every room.

A strategy named after a record draws well-formed ones; ``blocks`` commit to their bodies and everything signed is
signed by one of ``KEYS``, a small fixed set, so that the same account meets itself.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Block, Body, Header, transactions_root, updates_root
from chain.codec import Record
from chain.fixedpoint import VALUE_MAX, Int64Vector
from chain.genesis import Genesis, Rules
from chain.genesis_default import default_genesis, default_rules
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import INT_MAX, AccountId, Amount, Hash, Height, Millis
from chain.keys import KeyPair
from chain.number import Number
from chain.payload import MAX_PAYLOAD_BYTES, PayloadRef
from chain.statement import DeviceStatement
from chain.transaction import Body as TransactionBody
from chain.transaction import (
    Bond,
    CancelPlan,
    CommitUpdate,
    DecryptSum,
    JoinAttested,
    JoinPlan,
    LowerBudget,
    OpenHoldout,
    PermitDevice,
    RegisterDevice,
    RegisterMiner,
    RetireMiner,
    ShareMask,
    SignedTransaction,
    SubmitEvidence,
    SubmitPlan,
    Transaction,
    Transfer,
    Unbond,
    Unjail,
)
from chain.update import Attestation, AttestedUpdate, LocalUpdate, PrivacyCharge, Release

KEYS: tuple[KeyPair, ...] = tuple(KeyPair(bytes([number]) * 32) for number in range(1, 7))

# --- scalars -------------------------------------------------------------------------------------

EDGES = (0, 1, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, INT_MAX - 1, INT_MAX)
"""Whole numbers at which the encoding changes its width."""


def naturals() -> st.SearchStrategy[int]:
    return st.sampled_from(EDGES) | st.integers(0, 300) | st.integers(0, INT_MAX)


def amounts() -> st.SearchStrategy[Amount]:
    return naturals().map(Amount)


def heights() -> st.SearchStrategy[Height]:
    return naturals().map(Height)


def times() -> st.SearchStrategy[Millis]:
    return naturals().map(Millis)


def hashes() -> st.SearchStrategy[Hash]:
    return (st.binary(min_size=32, max_size=32) | st.sampled_from((bytes(32), b"\xff" * 32))).map(Hash)


def key_pairs() -> st.SearchStrategy[KeyPair]:
    return st.sampled_from(KEYS)


def accounts() -> st.SearchStrategy[AccountId]:
    return st.sampled_from([key.account for key in KEYS]) | hashes().map(AccountId)


def short_texts(max_size: int = 40) -> st.SearchStrategy[str]:
    return st.text(max_size=max_size)


def signatures() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=64, max_size=64)


def prefixes() -> st.SearchStrategy[str]:
    return st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=16)


def chain_ids() -> st.SearchStrategy[str]:
    return st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


def numbers() -> st.SearchStrategy[Number]:
    """Numbers in lowest form over the whole range."""
    mantissas = st.integers(-(2**53), 2**53) | st.integers(-1000, 1000)
    return st.builds(_lowest, mantissas, st.integers(-18, 18))


def _lowest(mantissa: int, exponent: int) -> Number:
    while mantissa and mantissa % 10 == 0 and exponent < 18:
        mantissa, exponent = mantissa // 10, exponent + 1
    return Number(mantissa, exponent if mantissa else 0)


def plain_values() -> st.SearchStrategy[Any]:
    """Untyped values that the codec carries: what ``chain.codec.unpack`` returns."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.sampled_from(EDGES)
        | st.binary(max_size=300)
        | st.text(max_size=40)
    )
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=20).map(tuple), max_leaves=20)


# --- vectors -------------------------------------------------------------------------------------


def fixed_values() -> st.SearchStrategy[int]:
    """Fixed-point integers, the ends of the range often."""
    return st.sampled_from((0, 1, -1, VALUE_MAX, -VALUE_MAX)) | st.integers(-VALUE_MAX, VALUE_MAX)


def int64_vectors(size: int | None = None, max_size: int = 12) -> st.SearchStrategy[Int64Vector]:
    """Fixed-point vectors of ``size`` coordinates, or of up to ``max_size``."""
    lists = st.lists(fixed_values(), min_size=size or 0, max_size=max_size if size is None else size)
    return lists.map(lambda values: np.array(values, dtype=np.int64))


# --- transactions --------------------------------------------------------------------------------


def payload_refs() -> st.SearchStrategy[PayloadRef]:
    return st.builds(PayloadRef, hashes(), st.integers(0, MAX_PAYLOAD_BYTES))


TRANSACTION_BODIES: dict[type[Record], st.SearchStrategy[Any]] = {
    Transfer: st.builds(Transfer, accounts(), amounts()),
    RegisterDevice: st.builds(RegisterDevice, naturals(), naturals()),
    JoinPlan: st.builds(JoinPlan, hashes(), short_texts(), naturals(), hashes()),
    RegisterMiner: st.builds(RegisterMiner, amounts()),
    RetireMiner: st.builds(RetireMiner),
    SubmitPlan: st.builds(SubmitPlan, st.binary(max_size=300), amounts()),
    CancelPlan: st.builds(CancelPlan, hashes()),
    OpenHoldout: st.builds(
        OpenHoldout,
        hashes(),
        naturals(),
        naturals(),
        st.binary(min_size=16, max_size=32),
        st.lists(hashes(), max_size=5).map(tuple),
        payload_refs(),
    ),
    CommitUpdate: st.builds(CommitUpdate, hashes(), naturals(), naturals(), naturals(), hashes(), hashes()),
    LowerBudget: st.builds(LowerBudget, naturals()),
    JoinAttested: st.builds(
        JoinAttested,
        hashes(),
        st.text(max_size=20),
        naturals(),
        hashes(),
        st.builds(
            DeviceStatement,
            st.text(max_size=20),
            accounts(),
            naturals(),
            st.binary(max_size=64),
            st.binary(min_size=64, max_size=64),
        ),
    ),
    ShareMask: st.builds(ShareMask, hashes(), naturals(), naturals(), naturals(), hashes(), payload_refs()),
    DecryptSum: st.builds(DecryptSum, hashes(), hashes(), payload_refs()),
    Bond: st.builds(Bond, amounts()),
    Unbond: st.builds(Unbond, amounts()),
    Unjail: st.builds(Unjail),
    SubmitEvidence: st.builds(SubmitEvidence, st.binary(max_size=300)),
    PermitDevice: st.builds(PermitDevice, accounts()),
}
"""A strategy for each kind of transaction body."""


def transaction_bodies() -> st.SearchStrategy[TransactionBody]:
    return st.one_of(*TRANSACTION_BODIES.values())


def transactions(
    senders: st.SearchStrategy[AccountId] | None = None,
    bodies: st.SearchStrategy[TransactionBody] | None = None,
) -> st.SearchStrategy[Transaction]:
    return st.builds(
        Transaction,
        version=st.just(1),
        chain_id=chain_ids(),
        sender=accounts() if senders is None else senders,
        nonce=naturals(),
        fee=amounts(),
        body=transaction_bodies() if bodies is None else bodies,
    )


def signed_transactions(
    bodies: st.SearchStrategy[TransactionBody] | None = None,
) -> st.SearchStrategy[SignedTransaction]:
    """Transactions rightly signed by their senders."""
    return st.builds(
        lambda unsigned, key: replace(unsigned, sender=key.account).sign(key), transactions(bodies=bodies), key_pairs()
    )


# --- updates -------------------------------------------------------------------------------------


def releases() -> st.SearchStrategy[Release]:
    return st.builds(
        Release,
        chain_id=chain_ids(),
        plan=hashes(),
        round=naturals(),
        phase=naturals(),
        task=hashes(),
        device=accounts(),
        samples=naturals(),
        computation_us=naturals(),
        privacy=st.builds(PrivacyCharge, short_texts(), naturals(), naturals()),
        payload=payload_refs(),
    )


def local_updates() -> st.SearchStrategy[LocalUpdate]:
    """Releases rightly signed by their devices."""
    return st.builds(lambda release, key: replace(release, device=key.account).sign(key), releases(), key_pairs())


def attested_updates() -> st.SearchStrategy[AttestedUpdate]:
    """Local updates with true attestations of some miners, in the order of their ids."""
    miners = st.lists(key_pairs(), unique_by=lambda key: key.account, max_size=3)
    return st.builds(_attested, local_updates(), miners)


def _attested(update: LocalUpdate, miners: list[KeyPair]) -> AttestedUpdate:
    ordered = sorted(miners, key=lambda key: key.account)
    return AttestedUpdate(update, tuple(Attestation.of(update.id, key) for key in ordered))


# --- blocks --------------------------------------------------------------------------------------


def headers() -> st.SearchStrategy[Header]:
    return st.builds(
        Header,
        version=naturals(),
        chain_id=chain_ids(),
        height=heights(),
        parent=hashes(),
        time_ms=times(),
        producer=accounts(),
        tx_root=hashes(),
        update_root=hashes(),
        state_root=hashes(),
        engine=st.binary(max_size=60),
        extension=hashes(),
        seal=st.binary(max_size=40),
    )


def block_bodies(max_items: int = 3) -> st.SearchStrategy[Body]:
    return st.builds(
        Body,
        st.lists(signed_transactions(), max_size=max_items).map(tuple),
        st.lists(attested_updates(), max_size=max_items).map(tuple),
    )


def blocks(max_items: int = 3) -> st.SearchStrategy[Block]:
    """Blocks whose headers commit to their bodies."""
    return st.builds(_committed, headers(), block_bodies(max_items))


def _committed(header: Header, body: Body) -> Block:
    tx_root, update_root = transactions_root(body.transactions), updates_root(body.updates)
    return Block(replace(header, tx_root=tx_root, update_root=update_root), body)


# --- genesis -------------------------------------------------------------------------------------


def rules_entries() -> st.SearchStrategy[Rules]:
    """Rules of height 0 within every limit."""
    names = st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True), min_size=1, max_size=4, unique=True)
    return st.builds(
        lambda **changes: replace(default_rules(), **changes),
        subsidy=st.integers(0, 10**9).map(Amount),
        subsidy_halving=st.integers(1, 10**9),
        min_fee_per_byte=st.integers(0, 1000),
        work_price=st.integers(0, 1000),
        stamp_bits=st.integers(0, 64),
        min_bond=amounts(),
        max_miners=st.integers(1, 10**6),
        miner_fallback_blocks=st.integers(1, 100),
        algorithms=names.map(tuple),
        policies=names.map(tuple),
    )


def schedules() -> st.SearchStrategy[tuple[Rules, ...]]:
    """One to three entries in order of height."""
    gaps = st.lists(st.integers(1, 10**6), max_size=2)
    return st.builds(_scheduled, gaps, st.lists(rules_entries(), min_size=3, max_size=3))


def _scheduled(gaps: list[int], entries: list[Rules]) -> tuple[Rules, ...]:
    starts = [sum(gaps[:index]) for index in range(len(gaps) + 1)]
    return tuple(replace(entry, height=Height(start)) for start, entry in zip(starts, entries, strict=False))


def genesis_documents() -> st.SearchStrategy[Genesis]:
    """Genesis documents without contradictions."""
    return st.builds(
        lambda chain_id, allocations, schedule, **options: replace(
            default_genesis(chain_id, allocations, **options), schedule=schedule
        ),
        chain_ids(),
        st.dictionaries(accounts(), st.integers(1, 10**12), max_size=4),
        schedules(),
        prefix=prefixes(),
        time_ms=naturals(),
        block_ms=st.integers(1, 10**9),
        hashes_per_block=st.integers(1, 2**255) | st.sampled_from((1, 2**255)),
        max_reorg=st.integers(1, 10**6),
    )


def stake_genesis_documents() -> st.SearchStrategy[Genesis]:
    """Genesis documents with validators, without contradictions."""
    return st.builds(
        default_stake_genesis,
        chain_ids(),
        st.dictionaries(accounts(), st.integers(1, 10**12), max_size=4),
        st.dictionaries(accounts().filter(any), st.integers(1, 10**12), min_size=1, max_size=6),
        prefix=prefixes(),
        time_ms=naturals(),
        block_ms=st.integers(1, 10**9),
        delta_ms=st.none() | st.integers(1, 10**6),
        epoch_blocks=st.none() | st.integers(1, 10**6),
        permissioned=st.booleans(),
        registrars=st.sets(accounts(), max_size=3),
        unbonding_blocks=st.none() | st.integers(1, 10**6),
        slash_ppm=st.integers(0, 10**6),
        evidence_reward_ppm=st.integers(0, 5 * 10**5),
    )


RECORDS: dict[type[Record], st.SearchStrategy[Any]] = {
    Number: numbers(),
    PayloadRef: payload_refs(),
    Transaction: transactions(),
    SignedTransaction: signed_transactions(),
    Release: releases(),
    LocalUpdate: local_updates(),
    AttestedUpdate: attested_updates(),
    Header: headers(),
    Body: block_bodies(),
    Block: blocks(),
    Rules: rules_entries(),
    Genesis: genesis_documents() | stake_genesis_documents(),
}
"""A strategy for each record that travels or is kept on its own."""
