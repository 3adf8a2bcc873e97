"""The rows of a batch: which axis they lie on, and whether they depend on each other."""
