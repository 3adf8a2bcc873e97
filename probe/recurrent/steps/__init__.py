"""Recurrences that torch does not have: steps, who has one, cells in loops, and what loops do to their states."""
