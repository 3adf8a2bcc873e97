"""The networks under study: the counter, its training, networks built by hand, and trained weights.

Not part of the wheel: `models` is a name that other people's projects use.
"""

from probe.command_line import only_commands

only_commands(__file__)
