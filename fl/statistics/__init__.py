"""Frequencies of values under local differential privacy: what plans of kind ``statistics`` compute.

base.py       what a mechanism is: reports, their sum, estimates and their errors
hashing.py    the public hash functions, and what stands for a value
cms.py        count mean sketch
hcms.py       its Hadamard form, one bit a row
olh.py        optimal local hashing
krr.py        randomised response over all values
counters.py   the bytes of a device's summed reports, and what may stand in them
estimates.py  from the settled sums to frequencies
run.py        a whole plan in one process
"""
