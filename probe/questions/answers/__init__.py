"""Questions about what a network answers: how well, at which lengths, and as which program."""
