"""Loads networks of other frameworks: a file becomes arrays (formats/), arrays become modules (layouts/)."""
