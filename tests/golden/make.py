"""Write a golden chain: ``python -m tests.golden.make pow-v1 DIRECTORY`` (``NAMES`` lists those of work; ``pos-v2``).

A directory of stake holds ``genesis.json``, ``chain.export`` and ``home.tar.gz``, the data directory of a validator
that made it. One of work holds besides ``blocks.bin``, every sealed block in the order in which a node heard it, each
after the payloads it needs, and ``home.tar.gz`` is the data directory of the node that heard. A golden chain is written
once, by the code of its day, and never again: its worth is that later code did not make it.
"""

import shutil
import sys
import tarfile
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from chain.codec import encode
from chain.genesis_file import write_genesis
from chain.ids import Hash
from consensus.engines import make_engine
from node.simulator.population import genesis_data
from node.world import World
from storage.directory import DataDirectory
from storage.export import export_chain
from tests.golden.stakestory import StakeStory
from tests.golden.story import GoldenChain, make_pow_genesis, make_upgraded_genesis, tell
from tests.node.core.lonely import Lonely
from tests.node.core.town import key_of
from tests.storage.chains import make_release

NAMES = {"pow-v1": make_pow_genesis, "pow-v2": make_upgraded_genesis}


def framed(data: bytes) -> bytes:
    """A record of ``blocks.bin``: length, 4 bytes big-endian, and bytes."""
    return len(data).to_bytes(4, "big") + data


def blocks_file(chain: GoldenChain) -> bytes:
    """All payloads, then all blocks, ``P`` or ``B`` before each."""
    payloads = b"".join(b"P" + framed(payload) for payload in chain.store.values())
    return payloads + b"".join(b"B" + framed(encode(found.block)) for found in chain.found)


def make_home(chain: GoldenChain, path: Path) -> None:
    """Let a node with its data directory at ``path`` hear the whole story."""
    directory = DataDirectory.create(path, chain.genesis)
    with directory.lock() as lock:
        first = genesis_data(chain.genesis)
        store, payloads, journal = directory.open_chain(lock, first), directory.open_payloads(lock), None
        journal = directory.open_journal()
        journal.record(make_release())
        world = World(chain.genesis, make_engine(chain.genesis), store, payloads, journal, key_of(77), Random(1))
        node = Lonely(chain.genesis, world, now=chain.blocks[-1].header.time_ms)
        bodies = {found.block.id: found.block for found in chain.found}
        for found in chain.found:
            node.headers(found.block)
            node.settle()
            while node.give_wanted(bodies, {Hash(id): payload for id, payload in chain.store.items()}, 0):
                node.settle()
        assert node.head == chain.blocks[-1].id, (node.core.chain.height, node.halts())
        store.keep_transaction(chain.blocks[1].body.transactions[0])
        export_chain(store, payloads, path.parent / "chain.export")
        journal.close()
        store.close()


def pack(path: Path, out: Path) -> None:
    """Pack a data directory, the same bytes each time."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
        return info

    with tarfile.open(out, "w:gz", compresslevel=9) as archive:
        archive.add(path, arcname="home", filter=plain)


def write_stake(out: Path) -> None:
    """Write the golden chain of stake."""
    out.mkdir(parents=True)
    with TemporaryDirectory() as scratch:
        story = StakeStory(Path(scratch) / "home")
        story.tell()
        head, id = story.town.houses[0].core.chain.head, story.town.houses[0].core.chain.head_id
        story.end(out / "chain.export")
        (out / "genesis.json").write_text(write_genesis(story.genesis))
        pack(Path(scratch) / "home", out / "home.tar.gz")
    print(
        f"genesis {story.genesis.id.hex()}\nhead    {id.hex()}\nheight  {head.height}\nstate   {head.state_root.hex()}"
    )


def main(name: str, out: Path) -> None:
    if name == "pos-v2":
        write_stake(out)
        return
    chain = tell(NAMES[name]())
    out.mkdir(parents=True)
    (out / "genesis.json").write_text(write_genesis(chain.genesis))
    (out / "blocks.bin").write_bytes(blocks_file(chain))
    with TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        make_home(chain, home)
        pack(home, out / "home.tar.gz")
        shutil.copy(Path(scratch) / "chain.export", out / "chain.export")
    head = chain.blocks[-1].header
    print(f"genesis {chain.genesis.id.hex()}\nhead    {chain.blocks[-1].id.hex()}\nheight  {head.height}")
    print(f"state   {head.state_root.hex()}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
