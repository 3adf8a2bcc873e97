"""Recurrent layers: what they compute, one run of them, and the same run again with changes."""
