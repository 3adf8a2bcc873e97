"""Builders of pages: each reads the folders that analyses wrote, recomputes nothing, and writes one file."""
