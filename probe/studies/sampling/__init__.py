"""Which states are looked at, of the network and of its controls, and how well a concept is told from them."""
