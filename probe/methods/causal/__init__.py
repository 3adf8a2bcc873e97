"""Interventions on states: what the model answers when a state, or a part of one, is another."""
