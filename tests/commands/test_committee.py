"""``keys committee`` and ``plan deal``: who opens a plan's sums, with a dealer and without one."""

from pathlib import Path

import pytest

from chain.codec import decode
from chain.wholefile import write_text
from fl.plan.bind import load_plan
from fl.plan.schema import PaillierOwn
from fl.secure.paillier.member import MemberKeys
from tests.commands.conftest import QUICK
from tests.commands.terminal import HEART, done, fedchain

OWN, DEALT = HEART / "committee.toml", HEART / "paillier.toml"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What two members send, one of whom keeps its key under a password."""
    place = tmp_path_factory.mktemp("members")
    (place / "password").write_text("open sesame\n")
    locked = ("--password-file", place / "password")
    for name, options in (("alice", ()), ("bob", locked)):
        done("init", "--home", place / name, *QUICK, *options)
        done("keys", "committee", "--home", place / name, "--out", place / f"{name}.member", *options)
    return place / "alice.member", place / "bob.member"


def test_members_bring_their_keys(members: tuple[Path, Path], tmp_path: Path) -> None:
    """The plan with them can be submitted, and says what a device sends and who is trusted."""
    ready, again = tmp_path / "ready.toml", tmp_path / "again.toml"
    options = [option for file in members for option in ("--own", file)]
    told = done("plan", "deal", OWN, *options, "--out", ready)
    assert told["members"] == 2
    assert told["bits"] == 2048
    assert told["update_bytes"] == 2 * 6 * 256, "for each member a ciphertext and a proof"
    how = load_plan(ready).plan.aggregation
    assert isinstance(how, PaillierOwn)
    accounts = [done("keys", "show", "--home", file.parent / file.stem)["public_key"] for file in members]
    assert [each.account.hex() for each in decode(how.key, MemberKeys).members] == accounts
    shown = " ".join(fedchain("plan", "validate", ready).out.split())
    assert "nobody dealt their keys" in shown
    assert "a device sends 3,072 bytes a phase, once for each of 2 members" in shown
    done("plan", "deal", ready, *reversed([members[0], "--own", members[1], "--own"]), "--out", again)
    assert again.read_text().count("key =") == 1, "what stood there is replaced"


def test_what_is_no_key_of_a_member_is_refused_by_its_file(members: tuple[Path, Path], tmp_path: Path) -> None:
    """Half a file, a changed one, the same one twice, too few, one that belongs to the other way."""
    text, spoilt = members[0].read_text(), tmp_path / "spoilt.member"

    def refused(*options: object, plan: Path = OWN) -> str:
        answer = fedchain("plan", "deal", plan, *options, "--out", tmp_path / "out.toml")
        assert answer.code != 0
        return " ".join(answer.err.split())

    for data, said in (
        (text[:-9], "is no member's key"),
        ("no hex", "is no member's key"),
        (text[:80] + ("0" if text[80] != "0" else "1") + text[81:], "another account signed the key"),
    ):
        write_text(spoilt, data)
        assert said in refused("--own", spoilt, "--own", members[1])
    assert "an account is a member twice" in refused("--own", members[0], "--own", members[0])
    assert "1 member for a threshold of 2" in refused("--own", members[0])
    assert "aggregation.type = 'paillier'" in refused("--own", members[0], "--own", members[1], plan=DEALT)
    assert "aggregation.type = 'paillier-own'" in refused("--member", "fed1x", "--member", "fed1y")
    assert "either --member or --own" in refused("--member", "fed1x", "--own", members[0])
    assert "asks for no committee" in refused("--own", members[0], "--own", members[1], plan=HEART / "plan.toml")
    assert not (tmp_path / "out.toml").exists()


def test_a_dealt_key_says_what_it_costs(members: tuple[Path, Path], tmp_path: Path) -> None:
    """A third of the bytes of three members' own keys, and one more to trust."""
    accounts = [done("keys", "show", "--home", file.parent / file.stem)["account"] for file in members]
    told = done("plan", "deal", DEALT, "--member", accounts[0], "--member", accounts[1], "--out", tmp_path / "r.toml")
    assert told["update_bytes"] == 6 * 256
    assert "who dealt the key forgot it" in " ".join(fedchain("plan", "validate", tmp_path / "r.toml").out.split())
    twice = fedchain("plan", "deal", DEALT, "--member", accounts[0], "--member", accounts[0], "--out", tmp_path / "x")
    assert "named twice" in twice.err
