"""The collector: asks the other gateways for sums, keeps what comes out, and writes it as a table to train on.

A label is ready once every device of the group has sent its reading for it, or one for a later label. What is asked is
kept before it is sent: if a gateway is away, the very same question goes to it later.

Rules of this file: no sum is asked for in two ways; what can't be opened is told with the label and who is to blame.
"""

import asyncio
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from chain.address import format_account
from chain.keys import KeyPair
from fl.errors import ShareError
from fl.sharing import sums
from fl.sharing.group import Gateway, SharingGroup
from fl.sharing.readings import show_number
from node.errors import GatewayError
from node.gateway.client import GatewayClient
from node.gateway.door import answer_all
from node.gateway.store import GatewayStore

_CHUNK: Final = 128
_SHOWN: Final = 20


@dataclass(slots=True)
class Collected:
    """How many sums were learnt now, how many labels had too few devices, and what went wrong, in words."""

    learnt: int = 0
    too_few: int = 0
    faults: list[str] = field(default_factory=list)


async def collect_sums(
    group: SharingGroup, key: KeyPair, store: GatewayStore, client: GatewayClient, *, everything: bool = False
) -> Collected:
    """Ask for the sum of every label that is ready and has none. ``everything``: of those that are not ready, too."""
    found = Collected()
    questions = _questions(group, store, everything, found)
    for start in range(0, len(questions), _CHUNK):
        chunk = questions[start : start + _CHUNK]
        answers = {group.number_of(key.account) or 0: answer_all(store, chunk)}
        others = [gateway for gateway in group.gateways if gateway.account != key.account]
        for gateway, given in zip(
            others, await asyncio.gather(*(_ask(group, key, gateway, chunk, client) for gateway in others)), strict=True
        ):
            if isinstance(given, str):
                found.faults.append(given)
            else:
                answers[group.number_of(gateway.account) or 0] = list(given)
        _open(group, store, chunk, answers, found)
    found.faults = list(dict.fromkeys(found.faults))[:_SHOWN]
    return found


def _questions(group: SharingGroup, store: GatewayStore, everything: bool, found: Collected) -> list[sums.Question]:
    latest, ready = store.latest(), []
    horizon = min((latest.get(device, "") for device in group.devices), default="")
    new: dict[str, sums.Question] = {}
    for label in store.labels(unsummed=True):
        question = store.asked(label)
        if question is None:
            if label > horizon and not everything:
                continue
            commitments = {device: held.commitment for device, held in store.held(label).items()}
            for device in sums.find_bent(group, commitments):
                found.faults.append(f"time {label}: the shares of {format_account(device)} give no one secret")
                del commitments[device]
            question = sums.ask(group, label, commitments)
            if question is None:
                found.too_few += 1
                continue
            new[label] = question
        ready.append(question)
    store.keep_asked(new)
    return ready


async def _ask(
    group: SharingGroup, key: KeyPair, gateway: Gateway, chunk: Sequence[sums.Question], client: GatewayClient
) -> tuple[sums.Answer, ...] | str:
    request = sums.make_request(group, key, gateway.account, tuple(chunk))
    try:
        reply = await client.post(gateway.url, "/sum", request, sums.MAX_REQUEST_BYTES)
    except GatewayError as error:
        return str(error)
    given = sums.open_reply(key, gateway.account, request, reply)
    if isinstance(given, str) or len(given) != len(chunk):
        return f"{gateway.url}: {given if isinstance(given, str) else 'not an answer to each question'}"
    return given


def _open(
    group: SharingGroup,
    store: GatewayStore,
    chunk: Sequence[sums.Question],
    answers: Mapping[int, Sequence[sums.Answer]],
    found: Collected,
) -> None:
    learnt: dict[str, tuple[int, tuple[int, ...]]] = {}
    for place, question in enumerate(chunk):
        commitments = {device: held.commitment for device, held in store.held(question.label).items()}
        given = {number: each[place] for number, each in answers.items()}
        try:
            learnt[question.label] = len(question.terms), sums.open_sum(group, question, commitments, given)
        except ShareError as error:
            found.faults.append(f"time {question.label}: {error}")
    store.keep_sums(learnt)
    found.learnt += len(learnt)


def write_sums(group: SharingGroup, store: GatewayStore, after: str = "") -> str:
    """Return the sums learnt of times after one as CSV: time, number of devices, the mean of each field."""
    columns = [each.name for each in group.fields]
    rows = (
        [label, count, *(show_number(column, total, count) for column, total in zip(group.fields, totals, strict=True))]
        for label, count, totals in store.sums()
        if label > after
    )
    return _table(["time", "devices", *columns], rows)


def write_rows(group: SharingGroup, store: GatewayStore, after: str = "") -> str:
    """Return a sealed group's readings of times after one as CSV: time, device, fields, empty where there is none."""
    columns = [each.name for each in group.fields]
    rows = (
        [
            row.label,
            format_account(device),
            *(
                "" if number is None else show_number(column, number, 1)
                for column, number in zip(group.fields, row.numbers, strict=True)
            ),
        ]
        for device, row in store.rows()
        if row.label > after
    )
    return _table(["time", "device", *columns], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
