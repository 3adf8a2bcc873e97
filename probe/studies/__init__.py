"""A study asks all questions of one network that somebody brings, and writes the page."""
