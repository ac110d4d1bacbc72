"""The round machine: plans from enrolment through rounds and phases to their end (DESIGN §4), driven by blocks."""
