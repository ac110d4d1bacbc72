"""Stake in the ledger: who is a validator, what leaves the stake and when, what offences and absence cost."""
