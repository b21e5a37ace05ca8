"""Blocks of a fit: the feature cache, the reading pass, the probe solver, the training loop.

This room knows arrays, losses and time. It knows no file format, no architecture and no label names.
"""
