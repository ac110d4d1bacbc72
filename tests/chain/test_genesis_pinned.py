"""Genesis documents of today stay the documents they are: their bytes and their ids are pinned.

The figures were written down before the engine's parameters became a union; a network's identity must not change
because this program learned another engine.
"""

from chain.codec import decode, encode
from chain.genesis import Genesis, PowParameters
from chain.genesis_default import COIN, default_genesis
from tests.strategies import KEYS

PINNED_ID = "5e90184ef3978d6233a2244da56ac97e9b0c040a345a08e7fd07cf87134f7c61"
PINNED_ENGINE = (
    "96a3706f77cd1388c42000000fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffce0015f900cdea60cd03e8"
)


def pinned_genesis() -> Genesis:
    return default_genesis(
        "golden",
        {key.account: COIN * (index + 1) for index, key in enumerate(KEYS[:3])},
        time_ms=1_700_000_000_000,
        block_ms=5000,
    )


def test_the_id_of_a_proof_of_work_genesis_is_what_it_always_was() -> None:
    """The same document, the same id, for ever."""
    assert pinned_genesis().id.hex() == PINNED_ID


def test_the_bytes_of_the_work_engine_are_what_they_always_were() -> None:
    """Tag first, then five fields; and they are read back as the record they were."""
    genesis = pinned_genesis()
    assert encode(genesis.engine).hex() == PINNED_ENGINE
    assert len(encode(genesis)) == 291
    read = decode(encode(genesis), Genesis)
    assert read == genesis
    assert isinstance(read.engine, PowParameters)
