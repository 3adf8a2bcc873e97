"""Questions about what follows when a state, or a part of it, is another."""
