"""Sums under masks: exact for whoever drops out, closed below the threshold, and every wrong message found out."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from chain.ids import AccountId, Hash
from fl.errors import MaskError
from fl.secure import feldman, masks
from fl.secure.curve import scalar_bytes
from fl.secure.masks.body import pack, unpack
from fl.secure.masks.message import read_message
from fl.secure.masks.unmask import read_part
from tests.fl.secure.masking import (
    TORSION,
    VALUE_BITS,
    Run,
    forged_message,
    group_of,
    key_of,
    message_of,
    part_of,
    run_task,
    values_of,
)

OTHER_TASK = Hash(b"o" * 32)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Run, list[int]]:
    """A task in which any devices drop out at any step, as long as enough are left; and who revealed."""
    count = draw(st.integers(2, 6))
    threshold = masks.safe_threshold(count)
    numbers = list(range(1, count + 1))
    sharing = draw(st.permutations(numbers))[: draw(st.integers(threshold, count))]
    revealing = draw(st.permutations(sharing))[: draw(st.integers(threshold, len(sharing)))]
    helping = draw(st.permutations(numbers))[: draw(st.integers(threshold, count))]
    return run_task(count, sharing, revealing, helping), revealing


@given(runs())
@settings(max_examples=25, deadline=None)
def test_the_sum_is_exact_whoever_drops_out(drawn):
    """Every message passes every node's check, and the sum is that of those who revealed, to the last bit."""
    run, revealing = drawn
    for device, message in run.messages.items():
        assert masks.check_share_message(run.group, device, message) is None
    for body in run.bodies.values():
        assert masks.check_protected(body, run.dimension, run.slot_bits) is None
    for device, part in run.parts.items():
        assert masks.check_unmask(run.group, device, run.messages, run.bodies.keys(), part) is None
    assert run.open().tolist() == sum(values_of(number, run.dimension) for number in revealing).tolist()


@given(runs(), st.data())
@settings(max_examples=10, deadline=None)
def test_no_device_gives_both_shares_of_another(drawn, data):
    """A part has one share of each that shared: of the self-mask if it revealed, of the key if it did not."""
    run, _ = drawn
    helper = data.draw(st.sampled_from(sorted(run.parts)))
    number = run.group.number_of(helper)
    for device, share in read_part(run.group, run.messages, run.parts[helper]).shares.items():
        said = read_message(run.group, run.messages[device])
        is_own = feldman.check_share(number, share, said.own)
        assert is_own == (device in run.bodies)
        assert feldman.check_share(number, share, said.key) != is_own


def test_a_device_answers_one_question_of_a_task():
    """What it keeps durably holds it to who revealed; with other devices revealed it refuses for ever."""
    run = run_task(4, [1, 2, 3, 4], [1, 2, 3, 4], [])
    first = masks.admit(run.group, run.messages, run.bodies.keys(), None)
    assert masks.admit(run.group, run.messages, run.bodies.keys(), first) == first
    fewer = list(run.bodies)[:3]
    with pytest.raises(MaskError, match="answered for this task"):
        masks.admit(run.group, run.messages, fewer, first)
    with pytest.raises(MaskError, match="answered for this task"):
        masks.unmask(run.group, key_of(1), run.messages, fewer, first)
    without_last = {device: run.messages[device] for device in fewer}
    with pytest.raises(MaskError, match="answered for this task"):
        masks.admit(run.group, without_last, fewer, first)


def test_two_branches_do_not_open_one_device():
    """With t > 2n/3, honest devices asked in two ways reach the threshold for one of the two secrets at most."""
    for count in range(2, masks.MAX_COHORT + 1):
        threshold, together = masks.safe_threshold(count), (count - 1) // 3
        assert together < threshold <= count - together or count < 4
        assert (count - together) + 2 * together < 2 * threshold


def test_one_below_the_threshold_opens_nothing():
    """Parts of t - 1 devices are refused by name; the masks of one device need t shares of it."""
    run = run_task(5, [1, 2, 3, 4, 5], [1, 2, 3, 4], [1, 2, 3, 4])
    assert run.group.threshold == 4
    short = dict(list(run.parts.items())[:3])
    with pytest.raises(MaskError, match="3 devices gave their part; 4 of 5"):
        run.open(parts=short)
    one = AccountId(next(iter(run.bodies)))
    shares = {
        run.group.number_of(helper): read_part(run.group, run.messages, part).shares[one]
        for helper, part in short.items()
    }
    own = read_message(run.group, run.messages[one]).own
    with pytest.raises(MaskError, match="self-mask"):
        run.open(parts={**short, key_of(4).account: forged_part(run, 4, one)})
    assert feldman.reconstruct({**shares, 4: read_part_share(run, 4, one)}, 4, own)


def forged_part(run: Run, number: int, about: AccountId) -> bytes:
    """Return a device's part with another share of one device."""
    share = scalar_bytes(read_part_share(run, number, about))
    return run.part_of(number).replace(share, scalar_bytes(1))


def read_part_share(run: Run, number: int, about: AccountId) -> int:
    """Return the share of one device in another's part."""
    return read_part(run.group, run.messages, run.part_of(number)).shares[about]


def test_a_body_alone_looks_random():
    """Of numbers that are all the least or all the largest there are, nothing shows before the masks are off."""
    run = run_task(3, [1, 2, 3], [1, 2, 3], [1, 2, 3], dimension=400)
    first, second, third = (unpack(body, 400, run.slot_bits) for body in run.bodies.values())
    for numbers in (first, second, third, first + second + third):
        halves = (numbers & np.uint64((1 << run.slot_bits) - 1)) >> np.uint64(run.slot_bits - 1)
        assert 120 < int(halves.sum()) < 280, "the top bit of 400 numbers: 8 standard deviations around a half"


def test_wrong_shares_up_to_the_slack_do_no_harm():
    """A device seals wrong shares for n - t others: they prove it, it is named, and the sum opens all the same."""
    run = run_task(7, range(1, 8), range(1, 7), range(1, 8), forged={1: [2, 3], 7: [4, 5]})
    liars = key_of(1).account, key_of(7).account
    for device, message in run.messages.items():
        assert masks.check_share_message(run.group, device, message) is None, "only the receiver can see it"
    for device, part in run.parts.items():
        assert masks.check_unmask(run.group, device, run.messages, run.bodies.keys(), part) is None
    assert masks.find_cheats(run.group, run.messages, run.parts) == liars
    assert run.open().tolist() == sum(values_of(number, 5) for number in range(1, 7)).tolist()


def test_wrong_shares_beyond_the_slack_are_proven():
    """With one more the sum can't be opened, and everybody knows by whose fault."""
    run = run_task(4, range(1, 5), range(1, 5), range(1, 5), forged={2: [1, 3]})
    with pytest.raises(MaskError, match=f"self-mask of {key_of(2).account.hex()}.*2 devices have shown"):
        run.open()
    assert masks.find_cheats(run.group, run.messages, run.parts) == (key_of(2).account,)


def test_nobody_is_accused_falsely():
    """A complaint about a right share, or without the proof, is refused and names who complains."""
    run = run_task(4, range(1, 5), range(1, 5), [])
    group, liar, revealed = run.group, key_of(3), list(run.bodies)
    forged = {**run.messages, key_of(1).account: forged_message(group, 1, [3])}
    complaint = part_of(group, 3, forged, revealed)[:97]
    assert masks.check_unmask(group, liar.account, forged, revealed, complaint + run.part_of(3)[33:]) is None
    told = masks.check_unmask(group, liar.account, run.messages, revealed, complaint + run.part_of(3)[33:])
    assert "is false: the share is right" in (told or "")
    for place in range(1, 97, 8):
        changed = bytearray(complaint)
        changed[place] ^= 1
        told = masks.check_unmask(group, liar.account, forged, revealed, bytes(changed) + run.part_of(3)[33:])
        assert "complaint about" in (told or "")


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_every_changed_byte_of_a_message_is_seen(place, change):
    """A device's message is signed with the key it shares, and each share of a part stands against a commitment."""
    run = run_task(3, [1, 2, 3], [1, 2, 3], [3])
    sender = key_of(3).account
    message, part = bytearray(run.messages[sender]), bytearray(run.parts[sender])
    message[place % len(message)] ^= change
    part[place % len(part)] ^= change
    assert masks.check_share_message(run.group, sender, bytes(message)) is not None
    assert masks.check_unmask(run.group, sender, run.messages, run.bodies.keys(), bytes(part)) is not None


@given(st.binary(max_size=400))
@settings(max_examples=50, deadline=None)
def test_any_bytes_give_a_fault_in_words(message):
    """No bytes raise, whatever their size."""
    run = run_task(3, [1, 2, 3], [1, 2, 3], [])
    sender, size = key_of(1).account, masks.message_bytes(3)
    for tried in (message, message.ljust(size, b"\x05")[:size]):
        assert masks.check_share_message(run.group, sender, tried) is not None
    for tried in (message, message.ljust(99, b"\0")[:99], b"\1" + message.ljust(400, b"\1")):
        assert masks.check_unmask(run.group, sender, run.messages, run.bodies.keys(), tried) is not None


def test_messages_of_another_task_group_or_device_are_refused():
    """A message can't be sent again for another task, among other devices, under another threshold, or by another."""
    sender, message = key_of(1).account, message_of(group_of(4), 1)
    assert masks.check_share_message(group_of(4), sender, message) is None
    for group in (group_of(4, OTHER_TASK), group_of(5), group_of(4, threshold=4)):
        assert masks.check_share_message(group, sender, message) is not None
    assert masks.check_share_message(group_of(4), key_of(2).account, message) is not None
    told = masks.check_share_message(group_of(4), key_of(9).account, message)
    assert told == "the sender was not drawn for this task"
    swapped = masks.Group.of(b"t" * 32, group_of(4).devices[::-1])
    assert masks.check_share_message(swapped, sender, message) is not None


def test_a_body_of_another_task_or_device_adds_noise_alone():
    """Masks are of one task and device: with a replayed body the sum is another one, and shows nothing it was of."""
    now, before = (run_task(3, [1, 2, 3], [1, 2, 3], [1, 2, 3], task=task) for task in (b"n" * 32, b"b" * 32))
    assert set(now.bodies.values()).isdisjoint(before.bodies.values()), "the same numbers under other masks"
    right, one, two = now.open(), key_of(1).account, key_of(2).account
    for replayed in (before.bodies[one], now.bodies[two]):
        wrong = now.open(bodies={**now.bodies, one: replayed})
        assert not np.any(wrong == right)
        assert not np.any(wrong == right - values_of(1, 5) + values_of(2, 5))


def test_a_part_for_other_revealed_devices_is_refused():
    """A share of the wrong kind is not the one that was committed to."""
    run = run_task(4, range(1, 5), range(1, 5), [1])
    fewer = list(run.bodies)[:3]
    told = masks.check_unmask(run.group, key_of(1).account, run.messages, fewer, run.parts[key_of(1).account])
    assert told == f"its share of the key of {key_of(4).account.hex()} is not the right one"
    assert masks.check_unmask(run.group, key_of(9).account, run.messages, fewer, b"") is not None


def test_the_sum_of_few_is_not_opened():
    """Devices give nothing for fewer updates than the threshold, nor for one of a device that did not share."""
    run = run_task(4, [1, 2, 3], [1, 2, 3], [])
    with pytest.raises(MaskError, match="2 devices revealed; a sum is opened of 3 or more"):
        masks.admit(run.group, run.messages, list(run.bodies)[:2], None)
    with pytest.raises(MaskError, match="did not share"):
        masks.admit(run.group, run.messages, [*run.bodies, key_of(4).account], None)


@pytest.mark.parametrize(("count", "threshold"), [(1, 1), (4, 2), (4, 5), (masks.MAX_COHORT + 1, 100)])
def test_groups_that_hide_nothing_or_cost_too_much_are_refused(count, threshold):
    """One device has nobody to hide among; half of the devices could open two secrets; too many cost too much."""
    devices = [AccountId(number.to_bytes(32, "big")) for number in range(count)]
    with pytest.raises(MaskError, match="devices"):
        masks.Group.of(b"t" * 32, devices, threshold)
    with pytest.raises(MaskError, match="twice"):
        masks.Group.of(b"t" * 32, [*devices[:2], devices[0]], 2)


@given(st.integers(2, 57), st.integers(2, masks.MAX_COHORT))
@settings(max_examples=50)
def test_no_sum_wraps(value_bits, count):
    """The extreme sums of so many numbers of so many bits lie within a slot's range; one bit less would not do."""
    if value_bits + (count - 1).bit_length() > 63:
        with pytest.raises(MaskError, match="2 to 63"):
            masks.get_slot_bits(value_bits, count)
        return
    half = 1 << (masks.get_slot_bits(value_bits, count) - 1)
    least, most = -(1 << (value_bits - 1)), (1 << (value_bits - 1)) - 1
    assert -half <= count * least <= 0 <= count * most < half
    assert count * least < -(half // 2)


def test_numbers_that_could_wrap_are_refused():
    """And so is a device that has not shared with the secret it now masks with."""
    group, key = group_of(4), key_of(1)
    messages, secret = {key_of(n).account: message_of(group, n) for n in (1, 2, 3)}, masks.derive_secret(group, key)
    slot_bits = masks.get_slot_bits(VALUE_BITS, 4)
    with pytest.raises(MaskError, match="does not fit: -8388608 to 8388607"):
        masks.protect(group, key.account, secret, messages, np.array([1 << 23]), slot_bits)
    with pytest.raises(MaskError, match="did not share"):
        masks.protect(group, key.account, bytes(32), messages, np.array([1]), slot_bits)
    with pytest.raises(MaskError, match="did not share"):
        masks.protect(group, key_of(4).account, secret, messages, np.array([1]), slot_bits)


@given(st.integers(1, 63), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
@settings(max_examples=50)
def test_numbers_are_packed_without_a_gap(slot_bits, numbers):
    """What is unpacked is what was packed, in as few whole bytes as there can be; anything longer is refused."""
    packed = pack(np.array(numbers, np.uint64), slot_bits)
    assert masks.check_protected(packed, len(numbers), slot_bits) is None
    assert unpack(packed, len(numbers), slot_bits).tolist() == [number % (1 << slot_bits) for number in numbers]
    assert masks.check_protected(packed + b"\0", len(numbers), slot_bits) is not None
    if len(numbers) * slot_bits % 8:
        assert masks.check_protected(packed[:-1] + bytes([packed[-1] | 128]), len(numbers), slot_bits) is not None


def test_an_account_that_nothing_can_be_sealed_for_harms_itself_alone():
    """An account may be a point of mixed order; it gets empty boxes and the others' sum opens without it."""
    strange = AccountId(bindings.crypto_core_ed25519_add(key_of(9).account, TORSION))
    group = masks.Group.of(b"t" * 32, [*group_of(3).devices, strange])
    message = masks.share(group, key_of(1).account, bytes(32))
    assert masks.check_share_message(group, key_of(1).account, message) is None
    assert read_message(group, message).box(4) == bytes(64)
    assert read_message(group, message).box(3) != bytes(64)


def test_masks_are_the_same_wherever_they_are_made():
    """Known answers of a task of four, of whom one dropped out: any change of a format shows here."""
    run = run_task(4, [1, 2, 3, 4], [1, 2, 3], [1, 2, 4])
    parts = (run.messages, run.bodies, run.parts)
    found = [sha256(b"".join(each[device] for device in sorted(each))).hexdigest()[:16] for each in parts]
    assert found == ["99ce4956b0b2d507", "157d3852420b7333", "ed43cced1edd5bd1"]
    assert run.open().tolist() == [-6464292, -4539975, -2615658, -691341, 1232976]
