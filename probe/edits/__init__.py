"""Edits as values (clamp, ablate, patch, steer, edit), their files, and where each one acts in a run."""
