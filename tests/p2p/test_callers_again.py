"""Who calls again, and from where: budgets outlast a connection, a /64 is one host, a look costs nobody his place."""

import pytest

from chain.ids import Millis
from p2p.bans import Bans
from p2p.budget import Budget, Debts
from p2p.dialer import Purpose
from p2p.events import Closed
from p2p.limits import BAN_POINTS, DEBT_MS, MAX_DEBTS, MAX_DEBTS_PER_SITE, WORK_RATE
from p2p.messages import Addresses, GetAddresses
from tests.p2p.objects import KEYS
from tests.p2p.puppet import Puppet, Stage
from tests.p2p.town import Town


def count_answers(puppet: Puppet) -> int:
    puppet.say(GetAddresses())
    return sum(isinstance(message, Addresses) for message in puppet.heard)


def test_hanging_up_pays_no_debt() -> None:
    """A host that had its share and calls again, under another key, waits like before; after a while it need not."""
    stage = Stage()
    first = Puppet(stage, 1).greet()
    for number in range(3):
        assert count_answers(first) == min(number + 1, 2)
    stage.take(stage.network.handle(Closed(1, "gone"), stage.now))
    again = Puppet(stage, 251, KEYS[21]).greet()
    assert count_answers(again) == 0
    other = Puppet(stage, 2, KEYS[22]).greet()
    assert count_answers(other) == 1, "another host owes nothing"
    stage.take(stage.network.handle(Closed(251, "gone"), stage.now))
    stage.now = Millis(stage.now + DEBT_MS)
    assert count_answers(Puppet(stage, 501, KEYS[23]).greet()) == 1


def test_several_connections_of_one_host_leave_as_many_debts() -> None:
    """Nobody trades an empty budget for a full one by having two; what is remembered is bounded."""
    debts, now = Debts(), Millis(5)
    spent = [Budget(now) for _ in range(3)]
    for budget in spent:
        budget.look_up(WORK_RATE.burst + 1, now)
        debts.leave("9.9.9.9", budget, now)
    assert [debts.take("9.9.9.9", now) for _ in range(3)] == spent
    assert not debts.take("9.9.9.9", now).is_in_debt(now)
    debts.leave("127.0.0.1", spent[0], now)
    assert debts.take("127.0.0.1", now) is not spent[0], "every node of a machine has this host"
    for number in range(2 * MAX_DEBTS):
        for _ in range(2 * MAX_DEBTS_PER_SITE if number == MAX_DEBTS else 1):
            debts.leave(f"9.{number >> 8}.{number & 255}.1", spent[0], now)
    assert len(debts._left) == MAX_DEBTS
    assert max(map(len, debts._left.values())) <= MAX_DEBTS_PER_SITE


@pytest.mark.parametrize(("host", "is_same"), [("2600:1f00:0:1::2", True), ("2600:1f00:0:2::1", False)])
def test_one_customer_of_ipv6_is_one_host(host: str, is_same: bool) -> None:
    """Who is banned at one of his 2⁶⁴ addresses is banned at all; his neighbour is not."""
    bans, now = Bans(1000), Millis(0)
    bans.punish(None, "2600:1f00:0:1::1", BAN_POINTS, "lies", now)
    assert bans.has("2600:1f00:0:1::1", now)
    assert bans.has(host, now) == is_same
    assert bans.points(host, now) == (BAN_POINTS if is_same else 0)
    (ban,) = bans.listed(now)
    again = Bans(1000)
    again.restore(ban, now)
    assert again.has(host, now) == is_same
    assert again.unban("2600:1f00:0:1::77")
    assert not again.has("2600:1f00:0:1::1", now)


def test_a_look_at_a_full_door_takes_nobody_s_place(seed: int) -> None:
    """The door would let its only caller go for one who has proven himself; who only looks does not get so far."""
    town = Town(seed)
    full = town.add(1, max_inbound=1, outbound=0)
    caller = town.add(2, connect=("10.0.0.1:7000",))
    town.run(3_000)
    assert [caller.key.account] == full.ups
    looking = town.add(3, outbound=0)
    dialer = looking.network._doorman.dialer
    endpoint = next(iter(caller.network._doorman.dialer.kept))
    chosen: list[object] = []
    dialer._start(endpoint, Purpose.FEELER, chosen, town.now)  # type: ignore[arg-type]
    town._dial(looking, "10.0.0.1:7000")
    town.run(3_000)
    assert "only looked whether somebody is here" in looking.closes
    assert looking.network._book.is_tried(endpoint)
    assert not full.downs
    assert full.ups == [caller.key.account]
