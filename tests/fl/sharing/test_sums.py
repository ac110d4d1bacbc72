"""Readings shared among gateways: the collector learns sums, and whoever lies is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.address import format_account
from chain.codec import encode
from chain.keys import KeyPair
from chain.sealing import unseal
from fl.errors import DataError, ShareError
from fl.secure import pedersen
from fl.secure.curve import scalar_bytes
from fl.sharing import sums
from fl.sharing.delivery import (
    Reading,
    Received,
    Rows,
    Shares,
    check_receipt,
    make_deliveries,
    open_delivery,
    read_head,
    sign_receipt,
)
from fl.sharing.readings import pack
from fl.sharing.sums import Answer, Held
from tests.fl.secure.masking import coins
from tests.fl.sharing.test_readings import ACCOUNTS, GROUP, group_with

KEYS = [KeyPair(bytes([number]) * 32) for number in range(1, 8)]
DEVICES, GATEWAYS = KEYS[:3], KEYS[3:6]
SEALED = GROUP.replace('mode = "shares"', 'mode = "sealed"').replace("threshold = 2", "threshold = 1")


def sealed_group():
    """Return the group whose first gateway sees every reading."""
    start, end = GROUP.index("[[gateways]]", GROUP.index("[[gateways]]") + 1), GROUP.index("[[fields]]")
    return group_with(GROUP, SEALED.replace(GROUP[start:end], ""))


def held_of(group, readings):
    """Return each gateway's shares of one label: what the devices with these places said, through real deliveries."""
    held = [{} for _ in group.gateways]
    for place, numbers in readings.items():
        data = make_deliveries(group, DEVICES[place], 1, [Reading("t", numbers)], coins(bytes([place])))
        for gateway, delivery in enumerate(data):
            found = open_delivery(group, GATEWAYS[gateway], delivery)
            assert isinstance(found, Received), found
            assert isinstance(found.content, Shares)
            (one,) = found.content.readings
            share = int.from_bytes(one.value, "little"), int.from_bytes(one.hiding, "little")
            held[gateway][found.device] = Held(one.commitment, share)
    return held


@given(
    st.dictionaries(st.integers(0, 2), st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2),
    st.sets(st.integers(1, 3), min_size=2),
)
@settings(max_examples=15, deadline=None)
def test_any_threshold_of_gateways_give_the_sum(readings, answering):
    """Whoever of the devices sent, and whichever gateways answer: the sum is exact."""
    group = group_with()
    held = held_of(group, readings)
    commitments = {device: found.commitment for device, found in held[0].items()}
    question = sums.ask(group, "t", commitments)
    answers = {number: sums.answer(group, question, held[number - 1], None) for number in answering}
    assert sums.open_sum(group, question, commitments, answers) == tuple(map(sum, zip(*readings.values(), strict=True)))


READINGS = {0: (10, 20), 1: (30, 40), 2: (50, 60)}


def asked(group, held):
    """Return the commitments that the collector has, and its question."""
    commitments = {device: found.commitment for device, found in held[0].items()}
    question = sums.ask(group, "t", commitments)
    assert question is not None
    return commitments, question


def test_a_gateway_answers_for_one_set_of_devices():
    """A second sum without one device would show its reading; the same question gets the same answer."""
    group = group_with()
    held = held_of(group, READINGS)
    commitments, question = asked(group, held)
    kept = sums.name_question(question)
    assert sums.answer(group, question, held[1], kept) == sums.answer(group, question, held[1], None)
    fewer = sums.ask(group, "t", {device: commitments[device] for device in list(commitments)[:2]})
    assert "show the difference" in sums.answer(group, fewer, held[1], kept).fault


def test_a_gateway_adds_up_no_fewer_devices_than_the_group_says():
    """The collector does not ask, and if it did, one reading alone would not be given; nor twice the same."""
    group = group_with()
    held = held_of(group, READINGS)
    commitments, question = asked(group, held)
    assert sums.ask(group, "t", dict(list(commitments.items())[:1])) is None
    first = question.terms[0]
    for terms, told in (
        ((first,), "a sum of 1 devices"),
        ((first, first), "named twice"),
        ((question.terms[1], first), "out of order"),
        ((first, sums.Term(3, first.name)), "none of the group"),
    ):
        assert told in sums.answer(group, sums.Question("t", terms), held[1], None).fault


def test_a_device_that_tells_gateways_different_things_is_named():
    """Commitments are compared by name; a gateway that lacks one says so."""
    group = group_with()
    held = held_of(group, READINGS)
    other = held_of(group, {1: (31, 40)})[1][DEVICES[1].account]
    _, question = asked(group, held)
    told = sums.answer(group, question, {**held[1], DEVICES[1].account: other}, None).fault
    assert told == f"{ACCOUNTS[1]} sent gateways different commitments"
    assert "there is no reading of" in sums.answer(group, question, {}, None).fault


def test_a_gateway_that_lies_is_named():
    """Its sum is not what the commitments add up to; the others give the sum without it."""
    group = group_with()
    held = held_of(group, READINGS)
    commitments, question = asked(group, held)
    answers = {number: sums.answer(group, question, held[number - 1], None) for number in (1, 2, 3)}
    answers[2] = Answer(scalar_bytes(5), answers[2].hiding, "")
    assert sums.open_sum(group, question, commitments, answers) == (90, 120)
    del answers[3]
    with pytest.raises(ShareError, match=f"1 of 2 gateways that are needed; {ACCOUNTS[4]}: its sum of shares is wrong"):
        sums.open_sum(group, question, commitments, answers)


def test_a_device_whose_shares_give_no_secret_is_named():
    """Each share is as committed, but they lie on no line: any two gateways would find another reading."""
    group = group_with()
    held = held_of(group, READINGS)
    shares, _ = pedersen.split(7, 3, 3, coins(b"x"))
    bent = pedersen.commit(0, 1) + b"".join(pedersen.commit(*share) for share in shares)
    liar = DEVICES[2].account
    for place, share in enumerate(shares):
        held[place][liar] = Held(bent, share)
    commitments, question = asked(group, held)
    answers = {number: sums.answer(group, question, held[number - 1], None) for number in (1, 2, 3)}
    with pytest.raises(ShareError, match=f"the shares of {ACCOUNTS[2]} give no one secret"):
        sums.open_sum(group, question, commitments, answers)


def test_a_commitment_does_not_show_a_reading():
    """The same reading commits to other points each time; and trying all readings finds none (g^s alone would)."""
    group = group_with()
    first, second = (pedersen.split(pack(group, (5, 5)), 2, 3, coins(seed))[1] for seed in (b"a", b"b"))
    assert all(first[place : place + 32] != second[place : place + 32] for place in range(0, 128, 32))
    assert pedersen.HIDING.hex() == "b06bf0d6c0bf308c693a0c5ad4779523263a4bf9494a366584d4911f15c5160c"


def test_a_delivery_is_for_one_gateway_group_and_device():
    """Nobody else opens it, and nothing of it can be changed or sent again for another group."""
    group = group_with()
    (data, *_), key = make_deliveries(group, DEVICES[0], 1, [Reading("t", (1, 2))], coins(b"")), GATEWAYS[0]
    assert isinstance(open_delivery(group, key, data), Received)
    assert "another group or gateway" in open_delivery(group, GATEWAYS[1], data)
    assert "another group or gateway" in open_delivery(group_with("least = 2", "least = 3"), key, data)
    head = read_head(data)
    assert unseal(head.body, GATEWAYS[1]) is None
    stranger = make_deliveries(group, KEYS[6], 1, [Reading("t", (1, 2))], coins(b""))[0]
    assert open_delivery(group, key, stranger) == "the device is not in the group"
    for place in range(0, len(data), 11):
        changed = bytearray(data)
        changed[place] ^= 1
        assert isinstance(open_delivery(group, key, bytes(changed)), str)


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_any_bytes_give_a_fault_in_words(data):
    """Deliveries, requests and replies of strangers raise nothing."""
    assert isinstance(open_delivery(group_with(), GATEWAYS[0], data), str)
    assert isinstance(sums.read_request(data), str)
    assert isinstance(sums.open_reply(GATEWAYS[0], GATEWAYS[1].account, b"", data), str)


def test_what_a_device_claims_to_share_is_checked_on_arrival():
    """A share that is not what the commitment says is refused with the time; a field that is missing is not sent."""
    group = group_with()
    good = make_deliveries(group, DEVICES[0], 1, [Reading("t", (1, 2))], coins(b""))[0]
    found = open_delivery(group, GATEWAYS[0], good)
    assert isinstance(found, Received)
    (one,) = found.content.readings
    from fl.sharing import delivery

    for changed in (
        sums_replace(one, value=scalar_bytes(1)),
        sums_replace(one, commitment=one.commitment[:-32]),
        sums_replace(one, value=b"\xff" * 32),
    ):
        body = delivery.seal(encode(Shares((changed,))), [GATEWAYS[0].account], bytes(32))
        told = open_delivery(group, GATEWAYS[0], delivery._sign(group, DEVICES[0], GATEWAYS[0].account, 2, body))
        assert told == "time 't': the share is not what the commitment says"
    with pytest.raises(DataError, match="a field is missing"):
        make_deliveries(group, DEVICES[0], 1, [Reading("t", (1, None))], coins(b""))
    with pytest.raises(DataError, match="letters, digits"):
        make_deliveries(group, DEVICES[0], 1, [Reading("=1+1", (1, 2))], coins(b""))


def sums_replace(reading, **fields):
    """Return a shared reading with other fields."""
    from msgspec.structs import replace

    return replace(reading, **fields)


def test_a_sealed_group_sends_readings_as_they_are():
    """One gateway reads every number, missing ones too; nobody else does."""
    group = sealed_group()
    (data,) = make_deliveries(group, DEVICES[0], 1, [Reading("t", (1, None)), Reading("u", (2, 3))], coins(b""))
    found = open_delivery(group, GATEWAYS[0], data)
    assert isinstance(found, Received)
    assert isinstance(found.content, Rows)
    assert [(row.label, row.numbers) for row in found.content.rows] == [("t", (1, None)), ("u", (2, 3))]
    (wide,) = make_deliveries(group, DEVICES[0], 2, [Reading("t", (1001, 0))], coins(b""))
    assert open_delivery(group, GATEWAYS[0], wide) == "time 't': PM2.5 is out of range"
    assert format_account(group.collector) == ACCOUNTS[3]


def test_requests_are_the_collectors_and_replies_the_gateways():
    """Both are signed and bound to each other, so neither can be replayed or made up by somebody else."""
    group = group_with()
    _, question = asked(group, held_of(group, READINGS))
    collector, gateway = GATEWAYS[0], GATEWAYS[1]
    data = sums.make_request(group, collector, gateway.account, (question,))
    request = sums.read_request(data)
    assert sums.check_request(group, gateway.account, request) is None
    assert sums.check_request(group, GATEWAYS[2].account, request) == "the request is for another group or gateway"
    forged = sums.read_request(sums.make_request(group, gateway, gateway.account, (question,)))
    assert sums.check_request(group, gateway.account, forged) == "the group's collector did not sign this"
    twice = sums.read_request(sums.make_request(group, collector, gateway.account, (question, question)))
    assert sums.check_request(group, gateway.account, twice) == "a time is asked for twice"
    answers = [Answer(bytes(32), bytes(32), "")]
    reply = sums.make_reply(group, gateway, data, answers, bytes(32))
    assert sums.open_reply(collector, gateway.account, data, reply) == tuple(answers)
    assert isinstance(sums.open_reply(collector, gateway.account, data + b"x", reply), str)
    assert isinstance(sums.open_reply(collector, GATEWAYS[2].account, data, reply), str)


def test_a_receipt_is_the_gateways_word_for_these_bytes():
    """So a device knows that nobody else swallowed what it sent."""
    receipt = sign_receipt(GATEWAYS[0], b"delivery")
    assert check_receipt(GATEWAYS[0].account, b"delivery", receipt)
    assert not check_receipt(GATEWAYS[0].account, b"another", receipt)
    assert not check_receipt(GATEWAYS[1].account, b"delivery", receipt)
