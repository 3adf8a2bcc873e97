"""Interventions on states: what a model answers when its state, or a part of it, is replaced."""
