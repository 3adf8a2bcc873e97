"""Linear and monotone probes, with the controls that a probe's score needs."""
