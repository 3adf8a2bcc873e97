"""Our study of the counter: a module asks one question of the committed networks.

`python -m analyses counter` answers all of `QUESTIONS`, then those of populations; `python -m analyses counter NAME`
answers one of `QUESTIONS` alone.
"""

#: Asked of single networks, in the order in which a page tells them.
QUESTIONS = (
    "accuracy",
    "single_units",
    "linear_readout",
    "gate_activity",
    "class_means",
    "noise_margin",
    "unit_shares",
    "routes",
    "directions",
    "alignment",
    "erasure",
    "steering",
    "unit_ablation",
    "gate_shares",
    "bit_effects",
    "inputs",
    "memory",
    "other_lengths",
    "programs",
    "reduced_models",
    "quantised_states",
    "dynamics",
    "one_cell",
    "moving_zero",
    "relay",
    "estimators",
    "offset_law",
)
#: Asked of whole populations, after all of `QUESTIONS`: one recipe beside another, one network over its training.
POPULATION_QUESTIONS = ("labels", "base_rate", "crossed", "training_signal", "over_training", "width")
#: Asked of the fresh networks alone, by rules that were written after the second judgement.
FRESH_QUESTIONS = ("drift_law", "few_states", "steps_swapped")
