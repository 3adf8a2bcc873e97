"""A network under study: what it reads, what its states may hold, how it answers, and its controls."""
