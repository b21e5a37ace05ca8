"""What a model is for: one file per task, each with its labels, metrics and answers.

A task knows nothing of networks, schedules or files.
"""
