"""Runs a model with hooks on its recurrent layers: record, watch, intervene, sweep."""
