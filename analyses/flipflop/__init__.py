"""The 3-bit flip-flop, a second study of our own: rules first, then the networks, then the measurements."""
