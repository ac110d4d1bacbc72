"""What is fuzzed: every door that takes bytes from strangers, as a function of those bytes.

A target returns when the bytes were refused in the way the door promises, or taken and found to be what they say.
Anything else that leaves it is a finding. The same functions run under the coverage-guided fuzzer (``make fuzz``), over
the kept corpus in the test suite, and by hand: ``python -m tests.fuzz.run TARGET FILE``.

Rules of this file: no randomness, no state from one call to the next, nothing written but temporary files.
"""

import asyncio
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from chain.address import format_account, parse_account
from chain.block import Block, Header
from chain.codec import decode, encode, unpack
from chain.errors import AddressError, CodecError, GenesisError
from chain.genesis import Genesis
from chain.genesis_file import read_genesis, write_genesis
from chain.ids import Hash
from chain.keys import verify
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from consensus.pos.errors import EvidenceFault, MessageFault
from consensus.pos.evidence import read_evidence
from consensus.pos.votes import encode_message, read_message
from consensus.snapshot import ROOT, Chunk, ChunkError, check_chunk
from fl.algorithms.registry import algorithm_of
from fl.data.formats import read_table
from fl.errors import DataError, ModelFileError, PayloadError, PlanError
from fl.holdout import decode_chunk
from fl.model_file import load_model
from fl.plan.bind import read_plan_text
from fl.plan.parse import parse_draft
from fl.plan.render import render_plan
from fl.plan.schema import Plan, decode_plan, encode_plan
from fl.problem import Problem, compile_problem
from node.config import parse_config, render_config
from node.errors import ConfigError
from node.rpc.jsonrpc import NO_SUCH_METHOD, Call, RpcError, answer
from p2p.errors import ProtocolError, SavedPeersError
from p2p.frames import FrameDecoder
from p2p.limits import CLASSES
from p2p.messages import decode_message
from p2p.messages import encode_message as encode_peer_message
from p2p.saved import read_saved, write_saved
from storage.errors import StorageError
from storage.export import read_export
from storage.journal import FileReleaseJournal
from storage.keystore import KeyFiles
from storage.signing import FileSigningJournal
from tests.fuzz.learning import LEARNING
from tests.fuzz.news import NEWS
from tests.fuzz.owndata import OWN_DATA
from tests.fuzz.secrets import SECRETS
from tests.p2p.puppet import Puppet, Stage

Target = Callable[[bytes], None]
EXAMPLES: Final = Path(__file__).parents[2] / "examples"
_GOLDEN: Final = Hash(bytes.fromhex("a4e12d9e8468d047b2c12e265d8d3306d5d377f86642c669941ec6c982092341"))
"""The network whose export the seeds hold (tests/golden)."""
_RECORDS: Final = (Block, Header, SignedTransaction, AttestedUpdate, Genesis)


# --- objects ----------------------------------------------------------------------------------------


def records(data: bytes) -> None:
    """The chain's records: the first byte chooses which. What is taken encodes to the very same bytes."""
    if not data:
        return
    kind = _RECORDS[data[0] % len(_RECORDS)]
    try:
        record: Any = decode(data[1:], kind)
    except CodecError:
        return
    assert encode(record) == data[1:]


def untyped(data: bytes) -> None:
    """Any canonical value; the typed encoder and the untyped one must agree on what is canonical."""
    try:
        value = unpack(data)
    except CodecError:
        return
    assert unpack(encode_value(value)) == value


def encode_value(value: object) -> bytes:
    """Return the format's own encoding of a plain value."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def signatures(data: bytes) -> None:
    """A key, a signature and a message: verifying says yes or no, and no to anything of a wrong length."""
    answer_ = verify(data[:32], data[32:96], data[96:])
    assert isinstance(answer_, bool)


def addresses(data: bytes) -> None:
    """An account as text: what is read is written the same way."""
    text = data.decode("utf-8", "replace")
    try:
        account = parse_account(text)
    except AddressError:
        return
    assert format_account(account) == text.lower()


# --- documents --------------------------------------------------------------------------------------


def genesis_files(data: bytes) -> None:
    """A genesis document as JSON."""
    try:
        genesis = read_genesis(data.decode("utf-8", "replace"))
    except GenesisError:
        return
    assert read_genesis(write_genesis(genesis)) == genesis


def plan_bytes(data: bytes) -> None:
    """A plan's canonical bytes, and its text written and read again."""
    try:
        plan = decode_plan(data)
    except CodecError:
        return
    assert encode_plan(plan) == data


def plan_texts(data: bytes) -> None:
    """A plan as TOML: taken whole or refused with every problem."""
    try:
        draft = parse_draft(data.decode("utf-8", "replace"))
    except PlanError:
        return
    again = parse_draft(render_plan(draft.plan, holdout_file=draft.holdout_file))
    assert again.plan == draft.plan


def configs(data: bytes) -> None:
    """A node's configuration as TOML."""
    try:
        config = parse_config(data.decode("utf-8", "replace"))
    except ConfigError:
        return
    assert parse_config(render_config(config)) == config


def _in_file(name: str, data: bytes, use: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        file = Path(place) / name
        file.write_bytes(data)
        use(file)


def tables(data: bytes) -> None:
    """A data file of a device: CSV, libsvm or Parquet by its look; the first byte chooses the ending."""
    ending = (".csv", ".svm", ".parquet", ".csv.gz")[data[0] % 4] if data else ".csv"

    def use(file: Path) -> None:
        with suppress(DataError):
            read_table(file)

    _in_file("device" + ending, data[1:], use)


def models(data: bytes) -> None:
    """An exported model."""

    def use(file: Path) -> None:
        with suppress(ModelFileError):
            load_model(file)

    _in_file("model.npz", data, use)


# --- learning ---------------------------------------------------------------------------------------


@cache
def heart() -> Problem:
    """Return the heart example's compiled problem, whose schema payloads and chunks are read by."""
    draft = parse_draft(read_plan_text(EXAMPLES / "heart" / "plan.toml"))
    plan: Plan = draft.plan
    return compile_problem(plan)


def payloads(data: bytes) -> None:
    """A local update's payload: the first byte chooses the phase."""
    problem = heart()
    algorithm = algorithm_of(problem.plan)
    phase = data[0] % len(algorithm.phases) if data else 0
    try:
        contribution = algorithm.read_payload(problem, phase, data[1:])
    except PayloadError:
        return
    assert contribution.vector.dtype == np.int64


def holdout_chunks(data: bytes) -> None:
    """A holdout chunk's rows: what is taken can be run through the kernels without reading out of bounds."""
    problem = heart()
    try:
        rows = decode_chunk(problem, data)
    except PayloadError:
        return
    problem.model.gradient(np.zeros(problem.dimension), rows)


# --- peers ------------------------------------------------------------------------------------------


def frames(data: bytes) -> None:
    """A stream of frames: cut, decoded, and what is taken encodes to the same frame."""
    decoder = FrameDecoder(lambda kind: CLASSES[kind].answer_bytes)
    decoder.feed(data)
    try:
        while (frame := decoder.next_frame()) is not None:
            message = decode_message(frame)
            assert encode_peer_message(message)[5:] == frame.data
    except ProtocolError:
        return


def strangers(data: bytes) -> None:
    """Bytes instead of a handshake: the connection ends, or waits for more; nothing is told to the core."""
    stage = Stage()
    puppet = Puppet(stage, 1)
    puppet.write(data)
    stage.tick(250)
    assert not stage.told
    assert stage.network.buffered_bytes() < 1 << 20


def peers(data: bytes) -> None:
    """Bytes after a good handshake: never an exception, never more memory than the limits allow."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    puppet.write(data)
    stage.tick(500)
    assert stage.network.buffered_bytes() < 64 << 20


def saved_peers(data: bytes) -> None:
    """The file that remembers addresses and bans."""
    try:
        saved = read_saved(data)
    except SavedPeersError:
        return
    assert write_saved(saved) == data


# --- agreement and state ----------------------------------------------------------------------------


def agreement(data: bytes) -> None:
    """A message of the agreement, and evidence."""
    with suppress(MessageFault):
        assert encode_message(read_message(data)) == data
    with suppress(EvidenceFault):
        assert encode(read_evidence(data)) == data


def snapshot_chunks(data: bytes) -> None:
    """A piece of a state: the first 32 bytes are the root it is checked against."""
    try:
        checked = check_chunk(Hash(data[:32]), ROOT, decode(data[32:], Chunk))
    except (CodecError, ChunkError):
        return
    assert checked.prefix.depth <= 256


# --- files ------------------------------------------------------------------------------------------


def exports(data: bytes) -> None:
    """An exported chain."""

    def use(file: Path) -> None:
        with suppress(StorageError):
            for _ in read_export(file, _GOLDEN):
                pass

    _in_file("chain.export", data, use)


def journals(data: bytes) -> None:
    """A release journal and a signing journal: they open, or refuse to by name; they are never read past their end."""
    for kind in (FileReleaseJournal, FileSigningJournal):

        def use(file: Path, kind: Callable[[Path], Any] = kind) -> None:
            with suppress(StorageError):
                kind(file).close()

        _in_file("journal", data, use)


def keys(data: bytes) -> None:
    """A key file without a password."""

    def use(file: Path) -> None:
        with suppress(StorageError):
            KeyFiles(file.parent).load("node")

    _in_file("node.json", data, use)


# --- RPC --------------------------------------------------------------------------------------------


def rpc(data: bytes) -> None:
    """A request to the RPC: an answer in JSON, or none for notifications; never an exception."""

    async def dispatch(call: Call) -> object:
        raise RpcError(NO_SUCH_METHOD, call.method)

    faults: list[Call] = []
    said = asyncio.run(answer(data, dispatch, 50, faults.append))
    assert not faults
    if said is not None:
        json.loads(said)


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        records,
        untyped,
        signatures,
        addresses,
        genesis_files,
        plan_bytes,
        plan_texts,
        configs,
        tables,
        models,
        payloads,
        holdout_chunks,
        frames,
        strangers,
        peers,
        saved_peers,
        agreement,
        snapshot_chunks,
        exports,
        journals,
        keys,
        rpc,
        *LEARNING,
        *NEWS,
        *OWN_DATA,
        *SECRETS,
    )
}
