"""Our own study of the counter: one module asks one question of the committed networks.

Run all of them with `python -m analyses`, one with `python -m analyses NAME`. Not part of the wheel.
"""

#: In the order in which a page tells them.
QUESTIONS = (
    "accuracy",
    "single_units",
    "linear_readout",
    "cell_trajectories",
    "gate_activity",
    "class_means",
    "noise_margin",
    "unit_shares",
    "routes",
    "state_patching",
    "directions",
    "alignment",
    "erasure",
    "steering",
    "unit_ablation",
    "gate_shares",
    "bit_effects",
    "other_lengths",
    "programs",
    "reduced_models",
    "quantised_states",
    "dynamics",
)
#: Asked of whole populations: one recipe beside another, one seed beside another.
POPULATION_QUESTIONS = ("training_signal", "seed_agreement")
