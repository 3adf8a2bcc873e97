"""Changes inside a recurrence as values: clamp, ablate, patch, steer, edit; and where they act in a run."""
