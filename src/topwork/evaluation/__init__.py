"""Metrics and intervals over arrays.

Pure NumPy: two arrays go in, numbers with their 95 % intervals come out. The room knows no data set, no
file, no network and no name of a class; it does not decide which number matters.
"""
