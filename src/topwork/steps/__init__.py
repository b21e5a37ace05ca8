"""What verbs and proof share: the order, and what carries it out from reading to the record.

A step joins rooms below and hands a value on; in which order steps are taken is for the verbs.
"""
