"""Runs a layer again with edits, from the first step that they change."""
