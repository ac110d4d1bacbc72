"""An eclipse attack on the address book, counted: how many of a victim's outbound peers an attacker gets.

After Heilman et al. (2015, §3). The attacker has addresses in k networks (/16), all of them answer, and callers in
each of them tell the victim of all of them, round after round, for as long as the victim runs; the victim's feelers
test them. Then the victim restarts, and dials. ``python -m tests.p2p.eclipse`` prints the table of docs/wire.md.

Rules of this file: the book and the dialer themselves are attacked, not a model of them.
"""

from dataclasses import dataclass
from random import Random

from chain.ids import AccountId, Millis
from p2p.addressbook import AddressBook
from p2p.dialer import Dialer
from p2p.endpoints import Endpoint
from p2p.limits import FEELER_MS

OUTBOUND = 8
DAY_MS = 24 * 3_600_000
START = Millis(100 * DAY_MS)


@dataclass(frozen=True)
class Attack:
    """What the attacker has, and what the victim had before: honest addresses that worked, and some heard of."""

    groups: int
    addresses_each: int = 256
    honest_tried: int = 200
    honest_new: int = 1_000
    honest_alive: float = 0.7
    hours: int = 48


def honest(number: int) -> Endpoint:
    """Return an honest address; four in a network."""
    return Endpoint(f"{20 + number // 4 // 250}.{number // 4 % 250}.0.{number % 4 + 1}", 7000)


def hostile(group: int, number: int) -> Endpoint:
    """Return an attacker's address."""
    return Endpoint(f"{100 + group // 250}.{group % 250}.{number // 250}.{number % 250}", 7000)


def is_hostile(endpoint: Endpoint) -> bool:
    """Is it the attacker's?"""
    return int(endpoint.host.partition(".")[0]) >= 100


def _answers(endpoint: Endpoint, attack: Attack) -> bool:
    """All of the attacker's answer, and the same part of the honest ones always."""
    return is_hostile(endpoint) or Random(str(endpoint)).random() < attack.honest_alive


def _dial(dial: Dialer, book: AddressBook, attack: Attack, now: Millis, *, feels: bool) -> None:
    for endpoint in dial.next_dials(lambda endpoint, peer: False, now):
        if not _answers(endpoint, attack):
            dial.failed(endpoint, now)
            continue
        dial.connected(endpoint)
        dial.worked(endpoint, AccountId(bytes(32)), now)
        if feels:
            dial.closed(endpoint, now, was_of_use=True)


def prepare(attack: Attack, random: Random) -> AddressBook:
    """Return the victim's book before the attack."""
    book = AddressBook(random)
    number = 0
    while book.tried < attack.honest_tried:
        if _answers(honest(number), attack):
            book.add(honest(number), honest(number + 7).host, START)
            book.worked(honest(number), START)
        number += 1
    for other in range(number, number + attack.honest_new):
        book.add(honest(other), honest(other * 13 % number).host, START)
    return book


def flood(attack: Attack, book: AddressBook, random: Random) -> None:
    """Have callers in all the attacker's networks tell of all its addresses, hour after hour, with feelers between."""
    dial = Dialer(book, random, [], 0)
    dial.connected(Endpoint("127.0.0.1", 1))  # the line is there
    dial._outbound = 1
    now = START
    mine = [hostile(group, number) for group in range(attack.groups) for number in range(attack.addresses_each)]
    for _ in range(attack.hours):
        for endpoint in random.sample(mine, min(len(mine), 2_000)):
            book.add(endpoint, hostile(random.randrange(attack.groups), 0).host, now)
        for _ in range(3_600_000 // FEELER_MS * 2):
            now = Millis(now + FEELER_MS // 2)
            _dial(dial, book, attack, now, feels=True)


def restart(attack: Attack, book: AddressBook, random: Random, anchors: list[Endpoint]) -> list[Endpoint]:
    """Return whom the victim is connected to after a restart."""
    dial = Dialer(book, random, [], OUTBOUND, anchors)
    now = Millis(START + attack.hours * 3_600_000)
    while len(dial._connected) < OUTBOUND:
        now = Millis(now + 1_000)
        _dial(dial, book, attack, now, feels=False)
    return list(dial._connected)


def run(attack: Attack, seed: int, restarts: int = 20) -> list[int]:
    """Return how many outbound peers are the attacker's, restart by restart, each from the book after the attack."""
    random = Random(seed)
    book = prepare(attack, random)
    alive = [endpoint for endpoint in map(honest, range(100)) if _answers(endpoint, attack)]
    flood(attack, book, random)
    anchors = random.sample(alive, 2)
    return [sum(map(is_hostile, restart(attack, book, random, anchors))) for _ in range(restarts)]


def main() -> None:
    """Print how many of eight outbound peers the attacker has, on average and at worst, and how often all."""
    print("| attacker's networks | addresses | of 8 peers, mean | at worst | bound | all 8 |")
    print("|---|---|---|---|---|---|")
    for groups in (1, 2, 4, 8, 16, 32, 64):
        counts = [count for seed in range(3) for count in run(Attack(groups), seed)]
        mean, all_eight = sum(counts) / len(counts), sum(count == OUTBOUND for count in counts)
        most = min(groups, OUTBOUND - 2)
        print(f"| {groups} | {groups * 256:,} | {mean:.1f} | {max(counts)} | {most} | {all_eight} of {len(counts)} |")


if __name__ == "__main__":
    main()
