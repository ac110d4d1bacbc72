"""The benchmark of encrypted sums: its parts at a small size, what is compared, and what is refused."""

from collections.abc import Sequence

import pytest

from bench import bench_he, he_own, phe_side
from bench.bench_he import Ours, Side, Sizes, WrongSumError, byte_rows, find_missed, run_ours, run_phe, time_rows
from bench.he_round import WrongRoundError, find_heart, make_rows, measure
from fl.secure.paillier import PublicKey

SMALL = Sizes(devices=3, coordinates=40, bits=512)


def test_our_side_opens_the_exact_sum_and_says_what_it_took() -> None:
    """All parts of it, checks included."""
    ours = run_ours(SMALL)
    assert ours.side.processor > 0
    assert ours.checking < ours.side.adding[0] + ours.side.decrypting[0]
    assert 0 < ours.combining < ours.side.decrypting[0]
    assert ours.seeing > 0


def test_a_wrong_sum_publishes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device's ciphertexts are lost on their way to the node."""
    add = bench_he.add

    def lose_one(key: PublicKey, bodies: Sequence[bytes]) -> bytes:
        return add(key, bodies[1:])

    monkeypatch.setattr(bench_he, "add", lose_one)
    with pytest.raises(WrongSumError, match="not exact"):
        run_ours(SMALL)


def test_without_the_peer_there_is_only_our_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment of phe, no ratio."""
    monkeypatch.setattr(bench_he, "PYTHON", bench_he.Path("nowhere/python"))
    assert run_phe(SMALL, 10) is None
    rows = byte_rows(SMALL, None) + time_rows(Ours(Side((1, 1), (1, 1), (1, 1)), 0.5, 1.0, 0.4, 0.1), None)
    assert not any("phe" in str(each["peers"]) for each in rows)
    assert find_missed(rows) == []


def test_the_goal_is_fifty_times_less() -> None:
    """Of processor time together, and of bytes."""
    peer = Side((98, 98), (1, 1), (1, 1))
    fast, slow = (Ours(Side((part, 0), (0, 0), (1, 0)), 0.0, 0.0, 0.0, 0.0) for part in (0.9, 1.1))
    assert find_missed(time_rows(fast, peer)) == []
    assert find_missed(time_rows(slow, peer)) == ["encrypt, sum, decrypt: processor"]
    assert find_missed(byte_rows(Sizes(), 512)) == []
    assert find_missed(byte_rows(Sizes(), 256)) == ["an encrypted update, proof included"]


def test_the_peers_side_needs_no_module_of_ours() -> None:
    """It runs where only phe is installed."""
    assert phe_side.timed(lambda: 5)[0] == 5
    assert not any(name in vars(phe_side) for name in ("np", "chain", "fl", "paillier"))


def test_a_round_in_the_clear_and_encrypted_settles_the_same_sum() -> None:
    """Four hospitals, under a key too small to hide anything: both exchanges, all checks; encryption has its share."""
    spent = measure(find_heart(), 512)
    assert spent.training > 0
    assert spent.sent_plain > 0
    rows = {str(each["measure"]): each["ours"] for each in make_rows(find_heart(), spent)}
    share = rows["… share of it that encryption costs"]
    assert isinstance(share, float)
    assert 0 < share < 100


def test_a_round_that_does_not_open_publishes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that was made for another sum is refused, and the measurement with it."""
    monkeypatch.setattr("fl.secure.paillier_scheme.paillier.check_partial", lambda *_: "the proof is wrong")
    with pytest.raises(WrongRoundError, match="the proof is wrong"):
        measure(find_heart(), 512)


def test_a_sum_without_a_dealer_is_measured_where_it_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has its row; a wrong sum has none."""
    vectors = SMALL.make_values()
    rows = he_own.measure(vectors, 24, 512, 3, 2)
    assert [each["measure"] for each in rows][-2:] == ["an encrypted update", "a member's part"]
    monkeypatch.setattr(he_own, "combine_own", lambda *_: (0, 0, 0, 0))
    with pytest.raises(WrongSumError, match="not exact"):
        he_own.measure(vectors, 24, 512, 3, 2)
