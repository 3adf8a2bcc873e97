"""Which states of the network and of its controls a study looks at, and the probes fitted to them."""
