"""Somebody's own network: what it is given, what is asked of it, and the page that says what came out."""
