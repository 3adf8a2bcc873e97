"""What is measured about the project itself: speed, memory, robustness to damage, tests that notice defects."""

from probe.command_line import only_commands

only_commands(__file__)
