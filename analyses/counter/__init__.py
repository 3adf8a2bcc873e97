"""Our study of the counter: a module asks one question of the committed networks, or sums up the answers.

`python -m analyses counter` answers all of `QUESTIONS`, then those of populations, and makes the summaries;
`python -m analyses counter NAME` answers one of `QUESTIONS` alone.
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
#: Asked of whole populations, after all of `QUESTIONS`: one recipe beside another, one seed beside another.
POPULATION_QUESTIONS = ("training_signal", "seed_agreement")
#: Asked for the second judgement, of networks that were trained after its rules were fixed.
SECOND = ("one_cell", "moving_zero", "relay", "own_line", "estimators", "drift_traces", "offset_law", "other_choices")
#: Every question that is asked of single networks, in the order of a page.
ASKED = (*QUESTIONS, *SECOND)
#: The questions whose rules are judged again there.
SECOND_AGAIN = (
    "accuracy",
    "single_units",
    "linear_readout",
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
    "other_lengths",
    "reduced_models",
    "quantised_states",
    "dynamics",
)
#: Asked of whole populations for the second judgement.
SECOND_POPULATION = ("over_training",)
#: A summary's module has `find(findings)`; they are made after all questions, in this order.
SUMMARIES = ("running_count", "mechanism", "verdicts", "robustness", "planted_networks")
