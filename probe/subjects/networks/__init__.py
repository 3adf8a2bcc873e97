"""The network of a subject: opened, what a run tells of its layers, and copies with random weights."""
