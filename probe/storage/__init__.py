"""Reads and writes files safely: written whole or not at all, with a digest inside."""
