"""Blocks of a fit: the feature cache, the reading pass, and the probe solver.

This room knows arrays, losses and time. It knows no file format, no architecture and no label names.
"""
