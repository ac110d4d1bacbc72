"""Local randomisation: a row leaves its device only as an answer that any other row could have given nearly as likely.

thresholds.py   chances as whole numbers out of 2^64, rounded so that ε is never exceeded; exact draws
"""
