"""What a server tells of itself: numbers, log, traces, drift."""
