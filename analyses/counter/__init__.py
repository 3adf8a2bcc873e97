"""Our study of the counter: a module asks one question of the committed networks.

`python -m analyses counter` answers all of `QUESTIONS`, then those of populations and of the second judgement;
`python -m analyses counter NAME` answers one of `QUESTIONS` alone.
"""

#: In the order in which a page tells them.
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
    "other_lengths",
    "programs",
    "reduced_models",
    "quantised_states",
    "dynamics",
)
#: Asked of whole populations, after all of `QUESTIONS`: one recipe beside another.
POPULATION_QUESTIONS = ("training_signal",)
#: Asked for the second judgement, of networks that were trained after its rules were fixed.
SECOND = ("one_cell", "moving_zero", "relay", "estimators", "offset_law")
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
