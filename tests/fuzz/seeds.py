"""Good inputs for every target: made by the program itself, so that they follow its formats when these change."""

import json
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np

from chain.address import format_account
from chain.block import Block, Body
from chain.codec import encode
from chain.genesis_default import default_genesis
from chain.genesis_file import write_genesis
from chain.ids import ZERO_HASH, Amount, Hash
from chain.keys import KeyPair
from consensus.first import genesis_block
from consensus.pos.evidence import make_evidence
from consensus.pos.votes import Proposal, Vote, VoteKind, encode_message, vote_message
from consensus.snapshot import Chunk
from consensus.treeupdate import update
from consensus.view import EmptyView, Overlay
from fl.data.sources import load_dataset
from fl.holdout import commit_holdout
from fl.model_file import save_model
from fl.payload import write_payload
from fl.plan.bind import read_plan_text
from fl.plan.schema import encode_plan
from fl.secure.paillier.member import MemberKeys
from fl.sharing.delivery import Reading, make_deliveries
from node.config import Config, render_config
from p2p.messages import (
    Addresses,
    AnnounceTransactions,
    Challenge,
    GetPayload,
    Head,
    Headers,
    PeerAddress,
    Ping,
    Quiet,
    SmallBody,
    encode_weight,
)
from p2p.messages import encode_message as encode_peer_message
from p2p.saved import SavedPeers, write_saved
from storage.journal import FileReleaseJournal
from storage.keystore import KeyFiles
from tests.fuzz.learning_seeds import make_learning_seeds
from tests.fuzz.owndata import DEVICE, GROUP
from tests.fuzz.secrets import body, keys, part
from tests.fuzz.targets import EXAMPLES, encode_value, heart
from tests.p2p.objects import EMPTY, GENESIS, KEYS, make_chain, make_header, make_transaction, make_update

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "pow-v1"
KEY: Final = KeyPair(bytes([9]) * 32)
"""A key that guards nothing."""


def make_seeds() -> dict[str, list[bytes]]:
    """Return good inputs by target."""
    return {
        "records": _records(),
        "untyped": [encode_value(value) for value in ((), (1, b"x", "y", None, True, (-1, (2**63 - 1,))))],
        "signatures": [KEY.account + KEY.sign(b"said") + b"said"],
        "addresses": [format_account(KEY.account).encode(), format_account(KEY.account).upper().encode()],
        "genesis_files": [
            write_genesis(default_genesis("seed", {KEY.account: Amount(5)}, time_ms=1, block_ms=1000)).encode()
        ],
        "plan_bytes": [encode_plan(heart().plan)],
        "plan_texts": [read_plan_text(EXAMPLES / name / "plan.toml").encode() for name in ("heart", "mnist")],
        "configs": [render_config(Config()).encode()],
        "tables": _tables(),
        "models": [_file("model.npz", lambda file: save_model(file, heart().plan, _zeros()))],
        "payloads": _payloads(),
        "holdout_chunks": _chunks(),
        "frames": _frames(),
        "strangers": [*_frames(), b"GET / HTTP/1.1\r\n\r\n", bytes(5)],
        "peers": _frames(),
        "saved_peers": [write_saved(SavedPeers(bytes(32), (), (), ()))],
        "agreement": _agreement(),
        "snapshot_chunks": _snapshot(),
        "exports": [(GOLDEN / "chain.export").read_bytes()[:3000]],
        "journals": [_file("journal", lambda file: FileReleaseJournal(file).close())],
        "keys": [_key_file()],
        "rpc": _rpc(),
        "quiet_talk": [bytes((2, 0, 2, 3, 1, 2, 3)), bytes((0, 1, 0, 1, 3)) * 4],
        "small_bodies": _bodies(),
        "data_stores": [bytes([file, 0, 200, how, 9]) for file in range(5) for how in range(2)],
        "deliveries": make_deliveries(GROUP, DEVICE, 1, [Reading("a", (5,)), Reading("b", (None,))], bytes),
        **make_learning_seeds(),
        "member_keys": [encode(MemberKeys(keys().keys))],
        "encrypted_updates": [body()],
        "opened_sums": [part()],
    }


def _payloads() -> list[bytes]:
    counts = np.ones(heart().features, dtype=np.int64)
    return [bytes([0]) + write_payload(_zeros(), 5, counts), bytes([1]) + write_payload(_zeros())]


def _zeros() -> Any:
    return np.zeros(heart().dimension, dtype=np.int64)


def _file(name: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / name
        write(file)
        return file.read_bytes()


def _key_file() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        KeyFiles(Path(place)).add("node", KEY)
        (file,) = Path(place).iterdir()
        return file.read_bytes()


def _records() -> list[bytes]:
    """One of each kind in ``targets._RECORDS``."""
    genesis = default_genesis("seed", {KEY.account: Amount(5)}, time_ms=1, block_ms=1000)
    block: Block = genesis_block(genesis)
    objects = (block, block.header, make_transaction(1), make_update(b"payload", attesters=(KEYS[3],)), genesis)
    return [bytes([number]) + encode(record) for number, record in enumerate(objects)]


def _tables() -> list[bytes]:
    csv = (EXAMPLES / "heart" / "data" / "va.csv").read_bytes()[:600]
    return [b"\x00" + csv, b"\x01" + b"+1 1:1 3:0.5\n-1 2:1\n", b"\x02" + b"PAR1" + bytes(20) + b"PAR1"]


def _chunks() -> list[bytes]:
    rows = load_dataset(EXAMPLES / "heart" / "data" / "holdout.csv", heart().plan.roles[0])
    return [commit_holdout(rows, 6, bytes(32)).payloads[0]]


def _frames() -> list[bytes]:
    """A handshake's first words, and what peers say afterwards."""
    blocks = make_chain(2)
    head = Head(blocks[0][0], encode_weight(7))
    messages = [
        Ping(3),
        head,
        Headers(tuple([header for header, _ in blocks]), False),
        SmallBody(bytes(32), blocks[0][1]),
        Quiet(True),
        AnnounceTransactions((bytes(32),)),
        GetPayload(bytes(32), 0),
        Addresses((PeerAddress(bytes([10, 0, 0, 1]), 9000),)),
        Challenge((1,), "test", GENESIS, bytes(32)),
    ]
    frames = [encode_peer_message(message) for message in messages]
    return [*frames, b"".join(frames[:5])]


def _bodies() -> list[bytes]:
    """Bodies with nothing, with a transaction, and with too much, wanted and not."""
    bodies = (EMPTY, make_chain(1)[0][1], Body(tuple([make_transaction(number) for number in range(9)]), ()))
    return [bytes([when]) + encode(body) for body in bodies for when in range(3)]


def _agreement() -> list[bytes]:
    """Two votes that contradict each other, each alone and as evidence."""
    votes = []
    for block in (Hash(bytes([1]) * 32), Hash(bytes([2]) * 32)):
        signature = KEY.sign(vote_message(ZERO_HASH, 0, 1, VoteKind.NOTARIZE, block))
        votes.append(Vote(0, 1, VoteKind.NOTARIZE, block, KEY.account, signature))
    return [encode_message(votes[0]), encode(make_evidence(*votes)), encode_message(Proposal(make_header(None, EMPTY)))]


def _snapshot() -> list[bytes]:
    """A piece of a state under its root."""
    overlay = Overlay(EmptyView())
    values = {b"s/%d" % number: b"value %d" % number for number in range(5)}
    root = update(overlay, values)
    items = tuple(sorted(values.items(), key=lambda item: sha256(item[0]).digest()))
    return [root + encode(Chunk(items, (), ()))]


def _rpc() -> list[bytes]:
    call = {"jsonrpc": "2.0", "id": 1, "method": "node.status", "params": {}}
    bodies: list[object] = [call, [call, call], {"jsonrpc": "2.0", "method": "x"}, [], 7]
    return [json.dumps(body).encode() for body in bodies]
