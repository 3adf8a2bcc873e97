"""Readers of file formats, one module each: a file becomes arrays by name."""
