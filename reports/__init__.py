"""Builders of pages: each reads the folders that the analyses wrote, computes nothing, and writes HTML."""
