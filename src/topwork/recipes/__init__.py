"""How a model is fitted: one short function per method, read from top to bottom.

A recipe is given features or a trunk, goals and a budget as objects. It imports no task, no trunk and no data.
"""
