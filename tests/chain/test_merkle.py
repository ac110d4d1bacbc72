"""Merkle trees: the published vectors, and proofs that show inclusion and nothing else."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import ProofError
from chain.ids import Hash
from chain.merkle import Inclusions, MerkleTree, is_included, merkle_proof, merkle_root

# The eight leaves, roots and audit paths of the Certificate Transparency reference implementation; its tree is that
# of RFC 6962 and RFC 9162 §2.1.
LEAVES = tuple(
    map(
        bytes.fromhex,
        ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
PATHS = (
    (0, 1, ()),
    (
        0,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        5,
        8,
        (
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (2, 3, ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",)),
    (
        1,
        5,
        (
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
)


def leaf_lists(min_size: int = 0) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.binary(max_size=8), min_size=min_size, max_size=40)


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    """The roots of the first 0 … 8 leaves are the published ones."""
    assert merkle_root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_published_proofs(index: int, size: int, path: tuple[str, ...]) -> None:
    """Proofs are the published audit paths, and hold."""
    proof = merkle_proof(LEAVES[:size], index)
    assert tuple(part.hex() for part in proof) == path
    assert is_included(merkle_root(LEAVES[:size]), LEAVES[index], index, size, proof)


@given(leaf_lists(min_size=1))
def test_every_leaf_has_a_proof_that_holds(leaves: list[bytes]) -> None:
    """Whatever the list, each of its leaves can be shown to be in it, with a path of logarithmic length."""
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = merkle_proof(leaves, index)
        assert is_included(root, leaf, index, len(leaves), proof)
        assert is_included(root, leaf[3:], index, len(leaves), proof, salt=leaf[:3])
        assert len(proof) <= (len(leaves) - 1).bit_length()


@given(leaf_lists(min_size=1), st.data())
def test_a_proof_shows_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    """Another leaf, place, size of list, root or path is refused."""
    root, size = merkle_root(leaves), len(leaves)
    index = data.draw(st.integers(0, size - 1))
    leaf, proof = leaves[index], merkle_proof(leaves, index)
    assert not is_included(root, leaf + b"x", index, size, proof)
    assert not is_included(Hash(sha256(root).digest()), leaf, index, size, proof)
    assert not is_included(root, leaf, index, size, (*proof, root))
    for other in range(-1, size + 1):
        if other != index:
            assert not is_included(root, leaf, other, size, proof) or leaves[other] == leaf
    assert not is_included(root, leaf, index, index, proof)
    if proof:
        assert not is_included(root, leaf, index, size, proof[1:])
        at = data.draw(st.integers(0, len(proof) - 1))
        bent = Hash(bytes([proof[at][0] ^ 1]) + proof[at][1:])
        assert not is_included(root, leaf, index, size, (*proof[:at], bent, *proof[at + 1 :]))
        cut = Hash(proof[at][:31])
        assert not is_included(root, leaf, index, size, (*proof[:at], cut, *proof[at + 1 :]))


@given(leaf_lists(), leaf_lists())
def test_different_lists_have_different_roots(first: list[bytes], second: list[bytes]) -> None:
    """A root stands for one list: order, repetition and length count."""
    assert (merkle_root(first) == merkle_root(second)) == (first == second)
    assert merkle_root(first) != merkle_root([*first, *first[-1:]]) or not first
    assert merkle_root([*first, b"a", b"b"]) != merkle_root([*first, b"b", b"a"])


def test_a_node_cannot_pass_for_a_leaf() -> None:
    """Leaves and inner nodes hash under different prefixes, so a list of two can't pose as one leaf."""
    left, right = (sha256(b"\x00" + leaf).digest() for leaf in (b"a", b"b"))
    assert merkle_root([left + right]) != merkle_root([b"a", b"b"])
    assert merkle_root([b"\x01" + left + right]) != merkle_root([b"a", b"b"])


@pytest.mark.parametrize(("size", "index"), [(0, 0), (3, 3), (3, -1)])
def test_a_leaf_that_is_not_there_has_no_proof(size: int, index: int) -> None:
    """The error names the leaf and the size of the list."""
    with pytest.raises(ProofError, match=f"leaf {index} of {size}"):
        merkle_proof(LEAVES[:size], index)


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_a_kept_tree_gives_the_same_root_and_proofs(leaves: list[bytes]) -> None:
    """It is for many proofs of one list; what it says is what the plain functions say."""
    tree = MerkleTree(leaves)
    assert (len(tree), tree.root) == (len(leaves), merkle_root(leaves))
    assert [tree.proof(index) for index in range(len(leaves))] == [
        merkle_proof(leaves, index) for index in range(len(leaves))
    ]
    for index in (-1, len(leaves)):
        with pytest.raises(ProofError):
            tree.proof(index)


def leads_to(root: bytes, leaf: bytes, index: int, size: int, proof: tuple[Hash, ...]) -> bool:
    """RFC 9162 §2.1.3.2 to the letter, each path on its own."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, sha256(b"\x00" + leaf).digest()
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = sha256(b"\x01" + p + r).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\x01" + r + p).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


@given(st.integers(1, 70), st.data())
def test_many_leaves_are_judged_as_each_alone(size: int, data: st.DataObject) -> None:
    """In any order, twice, wrong ones among them: what was shown before helps no path that leads elsewhere."""
    leaves = [bytes([number]) for number in range(size)]
    tree = MerkleTree(leaves)
    inclusions, number = Inclusions(tree.root, size), st.integers(0, size - 1)
    for index in data.draw(st.lists(number, min_size=2, max_size=12)):
        leaf, proof = leaves[index], tree.proof(index)
        assert leads_to(tree.root, leaf, index, size, proof)
        change = data.draw(st.sampled_from(("none", "none", "a hash", "one too few", "one too many", "another leaf")))
        at = data.draw(st.integers(0, max(len(proof) - 1, 0)))
        if change == "a hash" and proof:
            other = data.draw(st.sampled_from([*proof, tree.root, sha256(b"\x00" + leaf).digest()]))
            proof = (*proof[:at], Hash(other), *proof[at + 1 :])
        elif change == "one too few":
            proof = proof[:at] + proof[at + 1 :]
        elif change == "one too many":
            proof = (*proof[:at], tree.root, *proof[at:])
        elif change == "another leaf":
            leaf = leaves[data.draw(number)]
        assert inclusions.holds(leaf, index, proof) == leads_to(tree.root, leaf, index, size, proof)


@pytest.mark.parametrize("size", range(2, 18))
def test_a_path_that_leaves_a_neighbours_is_refused(size: int) -> None:
    """Each pair of leaves, and each hash of the second path bent: below where they meet, there, and above."""
    leaves = [bytes([number]) for number in range(size)]
    tree = MerkleTree(leaves)
    for first in range(size):
        for second in range(size):
            proof = tree.proof(second)
            for at in range(len(proof)):
                inclusions = Inclusions(tree.root, size)
                assert inclusions.holds(leaves[first], first, tree.proof(first))
                bent = (*proof[:at], Hash(bytes([proof[at][0] ^ 1]) + proof[at][1:]), *proof[at + 1 :])
                assert not inclusions.holds(leaves[second], second, bent)
                assert not inclusions.holds(leaves[second], second, proof[:at] + proof[at + 1 :])
                assert not inclusions.holds(b"another", second, proof)
                assert inclusions.holds(leaves[second], second, proof)
