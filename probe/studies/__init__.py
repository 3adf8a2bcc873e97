"""A study asks its questions of one network or many, keeps what it measured, and writes the page."""
