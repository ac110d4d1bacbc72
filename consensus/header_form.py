"""What every engine asks of a header before its own rules: that it belongs to this chain and follows its parent."""

from chain.block import Header
from chain.genesis import Genesis
from chain.ids import ZERO_HASH


def find_form_fault(genesis: Genesis, header: Header) -> str | None:
    """Return what is wrong with a header by itself, or None."""
    if header.chain_id != genesis.chain_id:
        return f"chain id {header.chain_id!r}; this chain is {genesis.chain_id!r}"
    version = genesis.rules_at(header.height).version
    if header.version != version:
        return f"version {header.version}; height {header.height} has version {version}"
    if header.height == 0:
        return "height 0; there is one genesis block"
    if header.extension != ZERO_HASH:
        return "extension is not zero; no rule gives it a meaning"
    return None


def find_link_fault(header: Header, parent: Header) -> str | None:
    """Return why this header can't follow its parent, or None."""
    if header.height != parent.height + 1:
        return f"height {header.height} on a parent of height {parent.height}"
    return None
