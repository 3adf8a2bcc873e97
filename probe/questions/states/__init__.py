"""Questions about what the states hold, and how they move."""
