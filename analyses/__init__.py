"""What is asked of the counter: one question, one module, each bound to the ten committed networks.

Run all of them with `python -m analyses`, one with `python -m analyses.NAME`. Not part of the wheel.
"""

#: In the order in which a page tells them.
QUESTIONS = (
    "accuracy",
    "gate_activity",
    "cell_trajectories",
    "single_units",
    "linear_readout",
    "other_lengths",
    "state_patching",
)
