"""Sums of readings: the collector asks the other gateways for the sums of their shares, and learns nothing else.

    Question   a label, the devices whose readings are added up, and what each of them committed to
    Answer     the sum of the gateway's shares, or the fault in words
    Request    questions, signed by the collector; Reply answers, sealed for the collector, signed by the gateway

A gateway adds up no fewer devices than the group says, and for a label one set of devices only, which it keeps
durably: two sets that differ in one device would show its reading. An answer is checked against the sum of the
commitments, so a gateway that lies is named, and any ``threshold`` right answers give the sum.

Rules of this file: pure; what strangers send gives a fault in words or None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from chain.address import format_account
from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.hashing import digest
from chain.ids import AccountField, AccountId, Hash, HashField, Natural, SignatureField
from chain.keys import KeyPair, verify
from chain.sealing import seal, unseal
from fl.errors import ShareError
from fl.secure import pedersen
from fl.secure.curve import read_scalar, scalar_bytes
from fl.sharing.delivery import Label
from fl.sharing.group import MAX_DEVICES, SharingGroup
from fl.sharing.readings import unpack

MAX_QUESTIONS: Final = 256
MAX_REQUEST_BYTES: Final = 1 << 23
_DOMAIN: Final = b"fedchain/sum-question"
_DOMAIN_REQUEST: Final = b"fedchain/sum-request"
_DOMAIN_REPLY: Final = b"fedchain/sum-reply"
_NAME_BYTES: Final = 16

NameField = Annotated[bytes, Meta(min_length=_NAME_BYTES, max_length=_NAME_BYTES)]
Half = Annotated[bytes, Meta(max_length=32)]


@dataclass(frozen=True, slots=True)
class Held:
    """A gateway's share of one reading, and the commitment it came with."""

    commitment: bytes
    share: pedersen.Share


class Term(Record):
    """A device of a sum, by its place in the group, and the name of the commitment that the collector has of it."""

    device: Natural
    name: NameField


class Question(Record):
    """What is asked for one label; devices ascending."""

    label: Label
    terms: Annotated[tuple[Term, ...], Meta(min_length=1, max_length=MAX_DEVICES)]


class Answer(Record):
    """A sum of shares; both halves are empty and ``fault`` says why where there is none."""

    value: Half
    hiding: Half
    fault: Annotated[str, Meta(max_length=300)]


class Request(Record):
    """Questions of the collector to a gateway."""

    group: HashField
    gateway: AccountField
    questions: Annotated[tuple[Question, ...], Meta(min_length=1, max_length=MAX_QUESTIONS)]
    signature: SignatureField


class Answers(Record):
    """What a reply holds, in the questions' order."""

    answers: Annotated[tuple[Answer, ...], Meta(max_length=MAX_QUESTIONS)]


class Reply(Record):
    """Answers sealed for the collector, signed by the gateway together with the request."""

    body: bytes
    signature: SignatureField


def name_commitment(commitment: bytes) -> bytes:
    """Return the name of a commitment."""
    return digest(_DOMAIN, commitment)[:_NAME_BYTES]


def ask(group: SharingGroup, label: str, commitments: Mapping[AccountId, bytes]) -> Question | None:
    """Return the question for a label; None with fewer devices than the group adds up."""
    terms = [
        Term(place, name_commitment(commitments[device]))
        for place, device in enumerate(group.devices)
        if device in commitments
    ]
    return Question(label, tuple(terms)) if len(terms) >= group.least else None


def find_bent(group: SharingGroup, commitments: Mapping[AccountId, bytes]) -> tuple[AccountId, ...]:
    """Return the devices whose commitments give no one secret: to be left out before a sum is asked for.

    All are tried in one: in a sum that is right terms are right, or wrong ones cancel out and do no harm.
    """
    count = len(group.gateways)
    total = pedersen.add_commitments(commitments.values(), count)
    if total is not None and pedersen.is_commitment(total, group.threshold, count):
        return ()
    return tuple([one for one in commitments if not pedersen.is_commitment(commitments[one], group.threshold, count)])


def name_question(question: Question) -> Hash:
    """Return what a gateway keeps of the question that it answered for a label."""
    return digest(_DOMAIN, encode(question))


def answer(group: SharingGroup, question: Question, held: Mapping[AccountId, Held], kept: Hash | None) -> Answer:
    """Return a gateway's answer. ``held``: its shares for the label; ``kept``: what it answered for it before.

    An answer without a fault may leave only once ``name_question`` is kept durably.
    """
    places = [term.device for term in question.terms]
    if places != sorted(set(places)) or places[-1] >= len(group.devices):
        return _refuse("devices are named twice, out of order, or are none of the group")
    if len(places) < group.least:
        return _refuse(f"a sum of {len(places)} devices; this group adds up {group.least} or more")
    if kept is not None and kept != name_question(question):
        return _refuse("other devices were added up for this time before; two sums would show the difference")
    shares = []
    for term in question.terms:
        device = group.devices[term.device]
        found = held.get(device)
        if found is None:
            return _refuse(f"there is no reading of {format_account(device)} here")
        if name_commitment(found.commitment) != term.name:
            return _refuse(f"{format_account(device)} sent gateways different commitments")
        shares.append(found.share)
    value, hiding = pedersen.add_shares(shares)
    return Answer(scalar_bytes(value), scalar_bytes(hiding), "")


def _refuse(told: str) -> Answer:
    return Answer(b"", b"", told)


def open_sum(
    group: SharingGroup, question: Question, commitments: Mapping[AccountId, bytes], answers: Mapping[int, Answer]
) -> tuple[int, ...]:
    """Return the sum of each field, in units above the lowest. ``answers``: by the gateways' numbers.

    ``ShareError`` names the device whose commitment is of no secret, or the gateways whose answers are wrong.
    """
    devices = [group.devices[term.device] for term in question.terms]
    count = len(group.gateways)
    total = pedersen.add_commitments([commitments[device] for device in devices], count)
    if total is None or not pedersen.is_commitment(total, group.threshold, count):
        wrong = find_bent(group, {device: commitments[device] for device in devices})
        raise ShareError(f"the shares of {', '.join(map(format_account, wrong))} give no one secret")
    shares, faults = {}, []
    for number, given in answers.items():
        pair = read_scalar(given.value), read_scalar(given.hiding)
        if pair[0] is None or pair[1] is None:
            faults.append(f"{format_account(group.gateways[number - 1].account)}: {given.fault or 'no share'}")
            continue
        share = pair[0], pair[1]
        if pedersen.check_share(number, share, total):
            shares[number] = share
        else:
            faults.append(f"{format_account(group.gateways[number - 1].account)}: its sum of shares is wrong")
    if len(shares) < group.threshold:
        told = "".join(f"; {fault}" for fault in faults)
        raise ShareError(f"{len(shares)} of {group.threshold} gateways that are needed{told}")
    return unpack(group, pedersen.reconstruct(shares, group.threshold, total), len(devices))


def make_request(group: SharingGroup, key: KeyPair, gateway: AccountId, questions: tuple[Question, ...]) -> bytes:
    """Return the collector's request to a gateway."""
    return encode(Request(group.id, gateway, questions, key.sign(_asked(group.id, gateway, questions))))


def _asked(group: Hash, gateway: AccountId, questions: tuple[Question, ...]) -> Hash:
    return digest(_DOMAIN_REQUEST, group, gateway, *(encode(question) for question in questions))


def read_request(data: bytes) -> Request | str:
    """Return a request, to see which group it is for; a fault in words for any other bytes."""
    try:
        return decode(data, Request, MAX_REQUEST_BYTES)
    except CodecError as error:
        return str(error)


def check_request(group: SharingGroup, gateway: AccountId, request: Request) -> str | None:
    """Return what is wrong with a request: it must be for this gateway, and signed by the collector."""
    if request.group != group.id or request.gateway != gateway or group.number_of(gateway) is None:
        return "the request is for another group or gateway"
    asked = _asked(group.id, gateway, request.questions)
    if not verify(group.collector, request.signature, asked):
        return "the group's collector did not sign this"
    labels = [question.label for question in request.questions]
    return "a time is asked for twice" if len(set(labels)) != len(labels) else None


def make_reply(group: SharingGroup, key: KeyPair, request: bytes, answers: list[Answer], secret: bytes) -> bytes:
    """Return a gateway's reply. ``secret``: 32 random bytes."""
    body = seal(encode(Answers(tuple(answers))), [group.collector], secret)
    return encode(Reply(body, key.sign(digest(_DOMAIN_REPLY, request, body))))


def open_reply(key: KeyPair, gateway: AccountId, request: bytes, reply: bytes) -> tuple[Answer, ...] | str:
    """Return a gateway's answers to a request of this collector; a fault in words for any other bytes."""
    try:
        read = decode(reply, Reply, MAX_REQUEST_BYTES)
        if not verify(gateway, read.signature, digest(_DOMAIN_REPLY, request, read.body)):
            return "the gateway did not sign this reply"
        plain = unseal(read.body, key)
        return decode(b"" if plain is None else plain, Answers).answers
    except CodecError as error:
        return str(error)
