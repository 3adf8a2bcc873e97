"""Simpler systems that answer as a network does: automata, programs, recurrences of a few numbers."""
