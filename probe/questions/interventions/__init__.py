"""Questions about what a network answers when its state, or a part of it, is replaced."""
