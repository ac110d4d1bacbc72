"""Readings of small devices that never train: sealed for a gateway, or shared among several (paper, section IV).

    group      who sends, who holds shares, what a reading is; one file that all of them have
    readings   a reading as fixed-point numbers, packed into one scalar; sums of them
    delivery   what a device sends to a gateway: signed, sealed, numbered
    sums       what gateways ask each other for, so that one of them learns sums of readings and nothing else
    keyshares  a device's key, split so that t of n keep it safe for its owner

Rules of this package: pure; bytes of strangers give a fault in words or None.
"""
