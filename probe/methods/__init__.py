"""What is computed on states: interchange, probes, exact shares, fixed points, automata. No prose, no drawing."""
