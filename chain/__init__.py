"""The room of the chain's objects: what they are and when they are well formed. No rules of the ledger, no I/O."""
