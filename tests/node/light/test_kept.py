"""A light device comes back where it was: it asks for new headers alone, and goes on from no file it can't trust."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

from chain.block import Header, block_id
from chain.genesis import Genesis
from chain.ids import Hash, Height
from node.client import Client
from node.config import DeviceSettings
from node.core.checkpoint import Checkpoint
from node.core.serving import Serving
from node.errors import KeptError
from node.light.kept import MAX_HEADERS, FinalTail, Kept, WorkTail, read_kept, write_kept
from tests.node.core.plans import halts, submit
from tests.node.core.town import MINER, key_of, make_world
from tests.node.light.towns import EPOCH, PLAN, LightHouse, LightTown, device_world, stake_town, work_town
from tests.node.service.houses import RICH, make_config, make_genesis, make_home, read_log_lines, running_service, until

MAKES = pytest.mark.parametrize("make", [work_town, stake_town], ids=["pow", "pos"])


def grown_town(make: Any, height: int = 2 * EPOCH + 3, **options: Any) -> tuple[LightTown, LightHouse]:
    """A town with a light device that has followed its chain for a while."""
    town = make(0, 1, **options)
    light = town.lights[0]
    assert town.run(lambda: light.core.chain.height >= height, 900)
    return town, light


def kept_by(light: LightHouse) -> Kept:
    kept = light.core.keep()
    assert kept is not None
    return kept


@pytest.fixture(scope="module", params=[work_town, stake_town], ids=["pow", "pos"])
def kept_and_genesis(request: pytest.FixtureRequest) -> tuple[Kept, Genesis]:
    """What a light device keeps, and of which network."""
    town, light = grown_town(request.param)
    return kept_by(light), town.genesis


def mark(points: Sequence[Header], place: int) -> Checkpoint:
    return Checkpoint(points[place].height, block_id(points[place]))


# --- coming back ----------------------------------------------------------------------------------


@MAKES
def test_after_a_restart_only_new_headers_are_asked_for(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins at the head it had; no full node gives it headers or ends of epochs from before that again."""
    town, light = grown_town(make)
    kept = read_kept(write_kept(kept_by(light)), town.genesis, None)
    given, epochs = list[int](), list[int]()
    headers_after, epoch_proofs = Serving.headers_after, Serving.epoch_proofs

    def note_headers(serving: Serving, locator: Sequence[Hash], limit: int) -> tuple[Header, ...]:
        found = headers_after(serving, locator, limit)
        given.extend(header.height for header in found)
        return found

    def note_epochs(serving: Serving, first: int, limit: int) -> tuple[bytes, ...]:
        epochs.append(first)
        return epoch_proofs(serving, first, limit)

    monkeypatch.setattr(Serving, "headers_after", note_headers)
    monkeypatch.setattr(Serving, "epoch_proofs", note_epochs)
    town.restart_light(light, kept)
    assert light.core.source.best == kept.best
    goal = kept.best.height + EPOCH + 2
    assert town.run(lambda: light.core.chain.height >= goal, 300)
    assert light.core.status(town.now).state == "synced"
    assert light.core.liars() == ()
    siblings = 8
    assert all(height > kept.best.height - siblings for height in given)
    assert all(first >= kept.best.height // EPOCH for first in epochs)
    assert given if make is work_town else epochs, "this saw what was asked"


@MAKES
def test_a_device_that_comes_back_finishes_its_plan(make: Any) -> None:
    """Restarted between two rounds with what it kept, it takes part in the next as if it had never gone."""
    town = make(1, 1)
    light = town.lights[0]
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    plan = submit(town, PLAN)
    assert town.run(lambda: light.core.device_status().releases >= 2, 200)
    town.restart_light(light, read_kept(write_kept(kept_by(light)), town.genesis, None))
    town.learn(plan)
    assert halts(town) == []
    assert len(list(light.core.world.journal.entries())) == 4


def test_the_end_of_a_long_chain_is_kept_and_memory_stays_small() -> None:
    """Below the reorganisation limit a bounded number of headers is kept; the weight below them is not lost."""
    town, light = grown_town(work_town, 160, max_reorg=10)  # version 1: some of its rules look 128 headers back
    kept = kept_by(light)
    assert isinstance(kept.tail, WorkTail)
    assert kept.tail.lowest >= 160 - 10 - 64 - 2
    full = town.houses[0].core.chain.tree
    town.restart_light(light, read_kept(write_kept(kept), town.genesis, None))
    assert town.run(lambda: light.core.chain.height >= kept.best.height + 4, 100)
    tree = light.core.source.tree  # type: ignore[union-attr]
    assert len(tree) <= 10 + 64 + 8
    assert tree.weight(tree.head) == full.weight(tree.head)
    again = kept_by(light)
    assert isinstance(again.tail, WorkTail)
    assert again.tail.headers[0].height == kept.tail.headers[0].height == 1


def test_the_stale_headers_that_later_ones_are_judged_by_are_kept() -> None:
    """A header may refer to a sibling that refers to one of before: without that one it could never be judged."""
    town = work_town(0, 1, miners=3)
    light = town.lights[0]
    references = light.core.world.engine.references

    def named() -> list[Hash]:
        kept = light.core.keep()
        return [] if kept is None else [id for header in kept.tail.headers for id in references(header)]

    assert town.run(lambda: len(named()) >= 2, 600), "miners' blocks lose races now and then"
    kept = read_kept(write_kept(kept_by(light)), town.genesis, None)
    assert isinstance(kept.tail, WorkTail)
    assert {block_id(sibling) for sibling in kept.tail.siblings} == set(named())
    town.restart_light(light, kept)
    tree = light.core.source.tree  # type: ignore[union-attr]
    assert all(tree.header(id) is not None for id in named())
    assert town.run(lambda: light.core.chain.height >= kept.best.height + 4, 100)
    fault = with_fields(kept.tail, siblings=(with_fields(kept.tail.siblings[0], parent=Hash(bytes(32))),))
    with pytest.raises(KeptError, match="sibling"):
        read_kept(write_kept(with_fields(kept, tail=fault)), town.genesis, None)


def test_what_was_kept_is_no_floor() -> None:
    """A device that comes back on a branch that lost goes over to the heavier one, below where it came back."""
    _, light = grown_town(work_town, 6)
    away = kept_by(light)
    town = LightTown(light.core.world.genesis, seed=2)
    town.add(make_world(town.genesis, key_of(1)), MINER)
    stranger = town.add_light(device_world(town, 0), connect=[0])
    chain = town.houses[0].core.chain
    assert town.run(lambda: chain.height >= away.best.height + 6, 200)
    town.restart_light(stranger, read_kept(write_kept(away), town.genesis, None))
    assert stranger.core.source.best == away.best
    assert chain.tree.header(block_id(away.best)) is None, "these are two branches"
    assert town.run(lambda: stranger.core.chain.height >= away.best.height + 6, 100)
    assert chain.tree.ancestor_id(chain.head_id, stranger.core.chain.height) == stranger.core.chain.head_id


# --- what is refused ------------------------------------------------------------------------------


def test_nothing_is_kept_before_anything_is_known() -> None:
    """A device that never met anybody leaves no file."""
    town = LightTown(work_town(0, 0).genesis)
    light = town.add_light(device_world(town, 0), connect=())
    town.run(lambda: False, 2)
    assert light.core.keep() is None


@given(st.data())
def test_a_damaged_file_is_refused(kept_and_genesis: tuple[Kept, Genesis], data: st.DataObject) -> None:
    """One byte changed, cut off, or put behind: no node goes on from there."""
    kept, genesis = kept_and_genesis
    whole = write_kept(kept)
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    for spoiled in (flipped, whole[:place], whole + b"\0"):
        with pytest.raises(KeptError):
            read_kept(spoiled, genesis, None)


@given(st.binary(max_size=200))
def test_a_file_of_anything_is_refused(data: bytes) -> None:
    """Whatever stands there, with a true checksum or without: an error with words, and no other."""
    town_genesis = make_genesis()
    for file in (data, b"fedlight" + data, write_kept_bytes(data)):
        with pytest.raises(KeptError, match=r".+"):
            read_kept(file, town_genesis, None)


def write_kept_bytes(data: bytes) -> bytes:
    return b"fedlight" + sha256(data).digest() + data


def test_a_file_of_another_network_is_refused(kept_and_genesis: tuple[Kept, Genesis]) -> None:
    """The genesis in it must be this node's; a device moved to another network begins anew."""
    kept, _ = kept_and_genesis
    with pytest.raises(KeptError, match="headers of another network"):
        read_kept(write_kept(kept), make_genesis("elsewhere"), None)


def test_headers_that_do_not_fit_together_are_refused(kept_and_genesis: tuple[Kept, Genesis]) -> None:
    """A gap, a wrong order, an end below its beginning, a set out of order, other rules: each has its words."""
    kept, genesis = kept_and_genesis
    tail = kept.tail
    newer = with_fields(tail.headers[-1], version=99)
    wrong: list[tuple[WorkTail | FinalTail, str]] = [
        (with_fields(tail, headers=(*tail.headers[:-1], newer)), "rules version 99"),
    ]
    if isinstance(tail, WorkTail):
        wrong += [
            (with_fields(tail, headers=tail.headers[:3] + tail.headers[4:]), "do not stand on each other"),
            (with_fields(tail, lowest=Height(tail.headers[-1].height + 1)), "begins at"),
        ]
    else:
        members = tail.validators.members
        shuffled = with_fields(tail.validators, members=members[::-1])
        wrong += [
            (with_fields(tail, headers=tail.headers[::-1]), "do not ascend"),
            (with_fields(tail, boundary_height=Height(tail.headers[-1].height + 1)), "end below the epoch"),
            (with_fields(tail, validators=shuffled), "ascending order"),
        ]
    for changed, words in wrong:
        with pytest.raises(KeptError, match=words):
            read_kept(write_kept(with_fields(kept, tail=changed)), genesis, None)


def test_a_checkpoint_speaks_against_what_was_kept(kept_and_genesis: tuple[Kept, Genesis]) -> None:
    """One that the headers contradict, or that lies where they can't tell, is a reason to begin anew."""
    kept, genesis = kept_and_genesis
    headers, file = kept.tail.headers, write_kept(kept)
    assert read_kept(file, genesis, mark(headers, -2)) == kept
    assert read_kept(file, genesis, Checkpoint(Height(10**6), Hash(bytes(32)))) == kept, "looked at when it gets there"
    with pytest.raises(KeptError, match="contradicts the trusted checkpoint"):
        read_kept(file, genesis, Checkpoint(headers[2].height, Hash(bytes(32))))
    if isinstance(kept.tail, FinalTail):
        below = Checkpoint(Height(1), Hash(bytes(32)))
        boundary = Checkpoint(kept.tail.boundary_height, Hash(kept.tail.boundary))
        wrong = Checkpoint(kept.tail.boundary_height, Hash(bytes(32)))
        assert read_kept(file, genesis, boundary) == kept
        with pytest.raises(KeptError, match="checkpoint"):
            read_kept(file, genesis, wrong)
    else:
        below = mark(headers, 0)
        kept = with_fields(kept, tail=with_fields(kept.tail, headers=headers[2:], lowest=headers[2].height))
    with pytest.raises(KeptError, match="does not reach down"):
        read_kept(write_kept(kept), genesis, below)
    gathered_under = with_fields(kept, checkpoint=str(below))
    assert read_kept(write_kept(gathered_under), genesis, below) == gathered_under


def test_an_end_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where reorganisations may be of thousands of blocks nothing is written, and headers are asked for anew."""
    _, light = grown_town(work_town, 12)
    assert MAX_HEADERS >= 1000 + 64 + 512, "the usual limit of a reorganisation fits"
    monkeypatch.setattr("node.light.workheaders.MAX_HEADERS", 10)
    assert light.core.keep() is None


# --- on disk --------------------------------------------------------------------------------------


async def test_a_service_keeps_its_headers_in_a_file_and_sets_a_spoiled_one_aside(tmp_path: Path) -> None:
    """Written when it stops; read when it starts; damaged: said in the log, moved away, and it follows all the same."""
    genesis = make_genesis()
    (tmp_path / "rows.csv").write_text("a,b,y\n0,1,1\n")
    full_home = make_home(tmp_path / "full", genesis, make_config(mine=True), key=RICH)
    async with running_service(full_home, make_config(mine=True)) as full:
        device = DeviceSettings(data=str(tmp_path / "rows.csv"), consent=True, any_plan=True, light=True)
        config = replace(make_config(connect=[full.running.listening]), device=device)
        home = make_home(tmp_path / "light", genesis, config)
        file = home / "light.dat"
        async with running_service(home, config):
            await until(lambda: _follows(home, 3))
        kept = read_kept(file.read_bytes(), genesis, None)
        assert kept.best.height >= 3
        assert file.stat().st_mode & 0o777 == 0o600
        lonely = replace(config, network=replace(config.network, connect=()))
        (home / "peers.dat").unlink()
        async with running_service(home, lonely), Client.from_home(home) as client:
            assert (await client.status()).target == kept.best.height, "it needs nobody to know where it was"
        file.write_bytes(file.read_bytes()[:-1])
        async with running_service(home, config):
            await until(lambda: _follows(home, kept.best.height))
        told = [line for line in read_log_lines(home) if line["event"] == "the headers kept can't be used"]
        assert len(told) == 1
        assert "checksum" in str(told[0]["reason"])
        assert (home / "light.dat.refused").exists()
        assert read_kept(file.read_bytes(), genesis, None).best.height >= kept.best.height


async def _follows(home: Path, height: int) -> bool:
    async with Client.from_home(home) as client:
        return (await client.status()).target >= height
