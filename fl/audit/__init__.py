"""Audits: repeating random parts of a device's training on the rows it committed to, bit for bit (docs/learning.md).

rows       the salted Merkle commitment of a device's rows, made when it joins
trace      the states a training goes through, segment by segment, and one segment on its own
challenge  which segments must be opened, drawn by a beacon that did not exist when the states were committed
opening    what a device shows its verifiers, and whether that is honest work
"""
