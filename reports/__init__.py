"""Builders of pages: each reads the folders that the analyses wrote, computes nothing, and writes HTML."""

from probe.command_line import only_commands

only_commands(__file__)
