"""The authenticated tree: one root for one state, and proofs that only the truth has."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.ids import Hash
from consensus.tree import EMPTY_ROOT, get_root, prove, verify_state_proof
from consensus.treeupdate import update
from consensus.view import EmptyView, Overlay

KEYS = [bytes([number]) for number in range(24)]
BATCHES = st.lists(
    st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=2), min_size=1, max_size=10), max_size=6
)


def grown(batches: list[dict[bytes, bytes | None]]) -> tuple[Overlay, dict[bytes, bytes]]:
    overlay, state = Overlay(EmptyView()), {}
    for batch in batches:
        update(overlay, batch)
        for key, value in batch.items():
            state.pop(key, None)
            if value is not None:
                state[key] = value
    return overlay, state


def slow_root(items: dict[bytes, bytes], depth: int = 0) -> bytes:
    """The definition, read off: zero for none, a leaf for one, else a branch of the halves."""
    if not items:
        return EMPTY_ROOT
    if len(items) == 1:
        ((key, content),) = items.items()
        return sha256(b"\x00" + key + content).digest()
    halves = [{k: v for k, v in items.items() if k[depth // 8] >> (7 - depth % 8) & 1 == side} for side in (0, 1)]
    return sha256(b"\x01" + slow_root(halves[0], depth + 1) + slow_root(halves[1], depth + 1)).digest()


@given(BATCHES)
def test_the_root_is_the_definitions(batches):
    """Batch updates reach the root that the definition gives for the final state."""
    overlay, state = grown(batches)
    digests = {sha256(key).digest(): sha256(value).digest() for key, value in state.items()}
    assert get_root(overlay) == slow_root(digests)


@given(BATCHES)
def test_nodes_depend_on_the_state_alone(batches):
    """However a state was reached, the stored nodes are the same: nothing is left behind."""
    overlay, state = grown(batches)
    fresh = Overlay(EmptyView())
    update(fresh, state)
    assert overlay.changes() == fresh.changes()


@given(BATCHES, st.sampled_from(KEYS), st.none() | st.binary(max_size=2))
def test_a_proof_shows_the_truth_and_nothing_else(batches, key, claim):
    """A key's proof verifies for its value or its absence, and for no other claim."""
    overlay, state = grown(batches)
    proof = prove(overlay, key)
    assert verify_state_proof(get_root(overlay), key, claim, proof) == (claim == state.get(key))


@given(BATCHES, st.sampled_from(KEYS), st.data())
def test_a_spoilt_proof_fails(batches, key, data):
    """Changing, adding or dropping a sibling, or naming another leaf, breaks a proof."""
    overlay, state = grown(batches)
    root, proof = get_root(overlay), prove(overlay, key)
    zero = Hash(bytes(32))
    spoilt = [replace(proof, siblings=(*proof.siblings, zero)), replace(proof, other=(zero, zero))]
    if proof.siblings:
        at = data.draw(st.integers(0, len(proof.siblings) - 1))
        other = Hash(sha256(proof.siblings[at]).digest())
        spoilt.append(replace(proof, siblings=(*proof.siblings[:at], other, *proof.siblings[at + 1 :])))
        spoilt.append(replace(proof, siblings=proof.siblings[1:]))
    assert not any(verify_state_proof(root, key, state.get(key), each) for each in spoilt)


def test_absence_cannot_be_shown_with_a_leaf_from_elsewhere():
    """A leaf counts for absence only where the key's own path ends."""
    overlay = Overlay(EmptyView())
    root = update(overlay, {b"only": b"1"})
    proof = prove(overlay, b"absent")
    assert verify_state_proof(root, b"absent", None, proof)
    assert not verify_state_proof(root, b"only", None, proof)


def test_the_deepest_path_works():
    """Proofs have at most 256 siblings."""
    overlay = Overlay(EmptyView())
    root = update(overlay, {b"x": b"1", b"y": b"2"})
    proof = prove(overlay, b"x")
    long = replace(proof, siblings=(Hash(bytes(32)),) * 257)
    assert verify_state_proof(root, b"x", b"1", proof)
    assert not verify_state_proof(root, b"x", b"1", long)
