"""Questions about what a network answers: how well, at which lengths, like which program."""
