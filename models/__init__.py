"""What is studied: the counter, its tasks, its training, planted counters and trained checkpoints.

Not part of the wheel: `models` is a name that other people's projects use.
"""
