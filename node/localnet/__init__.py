"""A whole network on one machine: separate processes, real sockets, one plan from submission to the trained model."""
