"""Small payloads, many to a file: what is found after cuts, flipped bits, deletions and moves."""

import os
import shutil
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.hashing import content_id
from chain.ids import Hash
from storage.payloads import PayloadFiles
from storage.segments import HEAD_BYTES, SMALL_BYTES, Damaged, PayloadSegments

PAYLOADS = [bytes([number]) * (10 + number) for number in range(12)]
IDS = [content_id(payload) for payload in PAYLOADS]


def open_small(path: Path) -> PayloadSegments:
    """Segments of three or so payloads, of which the dead may take little."""
    return PayloadSegments(path / "segments", segment_bytes=200, idle_bytes=300)


def filled(path: Path) -> PayloadSegments:
    segments = open_small(path)
    for id, payload in zip(IDS, PAYLOADS, strict=True):
        segments.put(id, payload, sync=False)
    return segments


def files(path: Path) -> list[Path]:
    return sorted(file for file in (path / "segments").iterdir() if file.name.isdecimal())


def held(segments: PayloadSegments) -> dict[Hash, bytes | Damaged | None]:
    return {id: segments.get(id) for id in segments.ids()}


def test_only_large_payloads_have_a_file_of_their_own(tmp_path):
    """Either is found, counted, listed in order and deleted in the same way, by the next process too."""
    payloads = [b"s" * SMALL_BYTES, b"l" * (SMALL_BYTES + 1), b""]
    store = PayloadFiles(tmp_path)
    ids = [store.put(payload) for payload in payloads]
    large = ids[1].hex()
    assert [file for file in tmp_path.rglob("*") if file.is_file() and "segments" not in file.parts] == [
        tmp_path / large[:2] / large[2:]
    ]
    for opened in (store, PayloadFiles(tmp_path)):
        assert list(opened.ids()) == sorted(ids)
        assert [opened.get(id) for id in ids] == payloads
        assert opened.total_bytes() == 2 * SMALL_BYTES + 1
    for id in ids:
        store.delete(id)
    assert (list(PayloadFiles(tmp_path).ids()), PayloadFiles(tmp_path).total_bytes()) == ([], 0)


def test_a_directory_of_an_earlier_release_is_read(tmp_path):
    """Small payloads that have files of their own are found, not stored twice, and go when they are deleted."""
    before = PayloadFiles(tmp_path, small_bytes=-1)
    ids = [before.put(payload) for payload in PAYLOADS]
    store = PayloadFiles(tmp_path)
    assert [store.put(payload) for payload in PAYLOADS] == ids
    assert store.total_bytes() == sum(map(len, PAYLOADS))
    assert [store.get(id) for id in ids] == PAYLOADS
    store.delete(ids[0])
    assert not store.has(ids[0])
    assert store.put(b"new") in store.ids()


@pytest.mark.parametrize("rest", [b"", b"\0" * 30, b"\xff" * 70])
def test_an_end_that_is_cut_off_or_torn_costs_what_was_in_it(tmp_path, rest):
    """Wherever the last segment ends, payloads before are there, and what is put next is found by the next process."""
    filled(tmp_path)
    last = files(tmp_path)[-1]
    data = last.read_bytes()
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"\xfcpay"]
    for cut in range(len(data)):
        shutil.rmtree(tmp_path / "again", ignore_errors=True)
        shutil.copytree(tmp_path / "segments", tmp_path / "again" / "segments")
        (tmp_path / "again" / "segments" / last.name).write_bytes(data[:cut] + rest)
        whole = len([end for end in [*starts[1:], len(data)] if end <= cut])
        segments = open_small(tmp_path / "again")
        found = held(segments)
        assert sum(isinstance(each, bytes) for each in found.values()) == len(IDS) - len(starts) + whole
        for id in [id for id, each in found.items() if isinstance(each, Damaged)]:
            segments.delete(id)
        for id, payload in zip(IDS, PAYLOADS, strict=True):
            if not segments.has(id):
                segments.put(id, payload, sync=False)
        assert held(open_small(tmp_path / "again")) == dict(zip(IDS, PAYLOADS, strict=True))


def test_a_flipped_bit_costs_one_payload(tmp_path):
    """In a head: it is missing; in a payload: it is damaged. All others are found, behind it too."""
    filled(tmp_path)
    first = files(tmp_path)[0]
    data = first.read_bytes()
    for at in range(HEAD_BYTES + len(PAYLOADS[0])):
        first.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        found = held(open_small(tmp_path))
        assert isinstance(found.pop(IDS[0], None), Damaged if at >= HEAD_BYTES else type(None))
        assert found == dict(zip(IDS[1:], PAYLOADS[1:], strict=True))


def test_a_segment_goes_when_nothing_in_it_is_alive(tmp_path):
    """And what was deleted of those that stay is not there in the next process either."""
    segments = filled(tmp_path)
    assert len(files(tmp_path)) >= 3
    for id in IDS[1:]:
        segments.delete(id)
    assert len(files(tmp_path)) <= 2
    again = open_small(tmp_path)
    assert held(again) == {IDS[0]: PAYLOADS[0]}
    assert again.alive_bytes == len(PAYLOADS[0])
    again.delete(IDS[0])
    open_small(tmp_path)
    assert files(tmp_path) == []


def test_the_dead_take_no_more_room_than_the_living(tmp_path):
    """The last of an almost empty segment moves on, flushed before the segment goes; it is found, once, ever after."""
    segments, room = open_small(tmp_path), 0
    for number in range(200):
        payload = b"%d" % number * 10
        segments.put(content_id(payload), payload, sync=False)
        if number % 5:
            segments.delete(content_id(payload))
        room = max(room, sum(file.stat().st_size for file in files(tmp_path)) - 2 * number // 5 * 80)
    assert room < 2 * (300 + 200)
    kept = {content_id(payload): payload for payload in [b"%d" % number * 10 for number in range(0, 200, 5)]}
    assert held(segments) == held(open_small(tmp_path)) == kept


def test_a_move_that_a_crash_cut_short_leaves_each_payload_once(tmp_path):
    """It stands in two segments then; deleted, it is in none."""
    segments = filled(tmp_path)
    before = {file.name: file.read_bytes() for file in files(tmp_path)}
    for number, id in enumerate(IDS):
        if number % 4:
            segments.delete(id)
    moved = [name for name in before if not (tmp_path / "segments" / name).exists()]
    assert moved
    for name in moved:
        (tmp_path / "segments" / name).write_bytes(before[name])
    again = open_small(tmp_path)
    assert held(again) == dict(zip(IDS[::4], PAYLOADS[::4], strict=True))
    for id in IDS[::4]:
        again.delete(id)
    assert held(open_small(tmp_path)) == {}


operations = st.lists(
    st.tuples(st.sampled_from(["put", "put", "delete", "open"]), st.integers(0, len(IDS) - 1)), max_size=40
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_segments_do_what_a_dictionary_does(tmp_path_factory, operations):
    """After any puts, deletions and restarts, however they make segments go and payloads move."""
    path = tmp_path_factory.mktemp("payloads")
    segments, expected = open_small(path), dict[Hash, bytes]()
    for name, number in operations:
        id, payload = IDS[number], PAYLOADS[number]
        if name == "put" and not segments.has(id):
            segments.put(id, payload, sync=False)
            expected[id] = payload
        elif name == "delete":
            segments.delete(id)
            expected.pop(id, None)
        elif name == "open":
            segments = open_small(path)
        assert held(segments) == expected
        assert segments.alive_bytes == sum(map(len, expected.values()))


def test_who_reads_is_not_disturbed_by_moves(tmp_path):
    """A payload that stays is read at every moment while all around it others come, go and move it."""
    segments = filled(tmp_path)
    wrong: list[object] = []
    is_over = False

    def read() -> None:
        while not is_over:
            found = segments.get(IDS[0])
            if found != PAYLOADS[0]:
                wrong.append(found)

    reader = Thread(target=read)
    reader.start()
    kept = list(IDS[1:])
    for number in range(1500):
        payload = b"%d" % number * 9
        segments.put(content_id(payload), payload, sync=False)
        kept.append(content_id(payload))
        segments.delete(kept.pop(0 if number % 3 else -1))
    is_over = True
    reader.join()
    assert wrong == []
    assert int(files(tmp_path)[0].name) > 1  # it did move


def test_a_write_that_fails_spoils_nothing(tmp_path, monkeypatch):
    """A full disk leaves part of a record: what was there stays, and what comes later is found."""
    segments = filled(tmp_path)

    def write_half(file: int, data: bytes) -> None:
        os.write(file, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("storage.segments.write_all", write_half)
        with pytest.raises(OSError, match="No space"):
            segments.put(content_id(b"lost"), b"lost", sync=False)
    segments.put(content_id(b"found"), b"found", sync=False)
    expected = dict(zip(IDS, PAYLOADS, strict=True)) | {content_id(b"found"): b"found"}
    assert held(segments) == held(open_small(tmp_path)) == expected


def test_nothing_goes_while_segments_are_copied(tmp_path):
    """Their files stay as they are until the copy is made, whatever is put and deleted; then the empty ones go."""
    segments = filled(tmp_path)
    with segments.copying() as (found, _):
        before = [file.read_bytes() for file in found]
        segments.put(content_id(b"later"), b"later", sync=False)
        for id in IDS:
            segments.delete(id)
        assert [file.read_bytes() for file in found] == before
    assert [file.exists() for file in found] == [False] * len(found)
    assert held(open_small(tmp_path)) == {content_id(b"later"): b"later"}
