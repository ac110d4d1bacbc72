"""Where the devices of a federation without a chain train: in threads of this process, or on a Ray cluster."""
