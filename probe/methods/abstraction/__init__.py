"""What a network's behaviour and states come down to: automata, programs, laws of a few numbers."""
