"""Readers of files, one module a format: a file becomes arrays by name."""
