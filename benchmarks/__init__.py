"""What topwork claims of its speed and size, measured side by side with its peers on the machine at hand.

Run ``python -m benchmarks`` for all, or with names for some. Each module with a ``measure`` is one benchmark: it
runs all of its sides in one go, each in processes of their own, and gives a `Section` of ``RESULTS.md`` back.
Nothing in here is part of the package, and no test depends on how fast a machine is.
"""
