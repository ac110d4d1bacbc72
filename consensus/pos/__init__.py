"""Proof of stake: election, seals, votes, and the agreement that makes blocks final (docs/consensus-pos.md)."""
