"""Rules of transactions and local updates: what each may do to the ledger, and when it is refused."""
