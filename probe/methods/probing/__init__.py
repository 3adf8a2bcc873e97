"""Linear and monotone probes with the controls that tell a code from a side effect."""
