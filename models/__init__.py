"""The networks under study: the counter, its training, networks built by hand, and trained weights.

Not part of the wheel: `models` is a name that other people's projects use.
"""
