"""The round machine: plans from enrolment through rounds and phases to their end (docs/ledger.md), driven by blocks."""
