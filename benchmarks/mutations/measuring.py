"""What goes wrong where networks are measured and judged: scores, controls, claims, and networks that are planted."""

from __future__ import annotations

from .mutation import Mutation, of

JUDGING: tuple[Mutation, ...] = (
    *of(
        "probe.evidence.intervals",
        "tests/wheel/test_statistics.py",
        ("statistics: another quantile for the median", "median_interval", "0.5", "0.4"),
        ("statistics: a level that few networks do not reach", "median_interval", "np.isfinite(ends).all()", "True"),
        ("statistics: a share by Wilson", "share_interval", '"exact"', '"wilson"'),
    ),
    *of(
        "probe.evidence.claims",
        "tests/wheel/test_claims.py",
        (
            "claims: the difference to a control unpaired",
            "_paired",
            "[(value, others[pair]) for (_, pair), value in values.items() if pair in others]",
            "list(zip(values.values(), others.values()))",
        ),
        ("claims: the level not shared by the family", "judge", "1 - 0.05 / max(size, 1)", "0.95"),
        (
            "claims: the margin ignored",
            "_against",
            "difference[0] > control.margin",
            "difference[0] > 0",
        ),
        (
            "claims: a control that may do as well counts as one that does",
            "_against",
            "difference[1] <= control.margin",
            "True",
        ),
        (
            "claims: the median decides, not the interval",
            "_verdict",
            "rule.established_if.covers(interval)",
            "sum(interval) / 2 in rule.established_if",
        ),
        ("claims: a changed rule is read", "Claim.from_dict", "rule.digest != digest", "False"),
    ),
    *of(
        "probe.methods.decomposition.shapley",
        "tests/wheel/test_decomposition_shapley.py",
        (
            "shapley: weights off by one",
            "shapley_values",
            "factorial(players - s - 1)",
            "factorial(players - s)",
        ),
        (
            "shapley: complements of the subsets",
            "subsets",
            "(np.arange(2**players)[:, None] >> np.arange(players)) & 1 == 1",
            "(np.arange(2**players)[:, None] >> np.arange(players)) & 1 == 0",
        ),
    ),
    *of(
        "probe.methods.decomposition.gates",
        "tests/wheel/test_decomposition_tables.py",
        (
            "gates: frozen at another step's mean",
            "with_constant_gates.freeze",
            "means[signal][step]",
            "means[signal][0]",
        ),
    ),
    *of(
        "probe.methods.decomposition.algebra",
        "tests/wheel/test_decomposition_algebra_and_noise.py",
        ("algebra: a GRU writes z n", "recorded_contributions", "(1 - z) * n", "z * n"),
    ),
)
CAUSES: tuple[Mutation, ...] = (
    *of(
        "probe.methods.probing.splits",
        "tests/wheel/test_probing.py",
        ("probing: scored on what it was fitted on", "training_rows", "number != held_out", "True"),
    ),
    *of(
        "probe.methods.probing.controls",
        "tests/wheel/test_probing.py",
        (
            "probing: a code fitted on what it sends",
            "online_codelength",
            'LogisticRegression(C=1.0, solver="newton-cholesky").fit(inputs[:start], labels[:start])',
            'LogisticRegression(C=1.0, solver="newton-cholesky").fit(inputs, labels)',
        ),
    ),
    *of(
        "probe.methods.causal.task",
        "tests/wheel/test_causal_interchange.py",
        (
            "interchange: base and source swapped",
            "Task.target",
            "self.so_far(source, step)",
            "self.so_far(base, step)",
        ),
    ),
    *of(
        "probe.methods.causal.pairs",
        "tests/wheel/test_causal_interchange.py",
        (
            "interchange: h stale beside a patched c",
            "cell_with_its_hidden",
            "gate * cell.tanh()",
            "parts[Signal.HIDDEN_STATE]",
        ),
    ),
    *of(
        "probe.methods.causal.interchange",
        "tests/wheel/test_causal_interchange.py",
        (
            "interchange: pairs counted that ask for no change",
            "Goal.hits",
            "(right & self.counted).sum()",
            "right.sum()",
        ),
        ("interchange: no patch not subtracted", "Scores.score", "self.iia - self.unpatched", "self.iia"),
    ),
    *of(
        "probe.questions.interventions.patched_runs",
        "tests/wheel/test_questions_state_patching.py::test_splice_takes_the_source_up_to_and_including_the_step",
        (
            "interchange: spliced one step late",
            "splice",
            "[source[:, : step + 1], base[:, step + 1 :]]",
            "[source[:, : step + 2], base[:, step + 2 :]]",
        ),
    ),
    *of(
        "probe.methods.causal.erasure",
        "tests/wheel/test_causal_erasure.py",
        (
            "leace: no whitening",
            "leace",
            "Eraser(mean, unwhiten @ directions, directions.T @ whiten)",
            "Eraser(mean, directions, directions.T)",
        ),
        (
            "leace: not around the mean",
            "Eraser.__call__",
            "(states - self.mean) @ self.right.T",
            "states @ self.right.T",
        ),
    ),
    *of(
        "probe.methods.causal.alignment",
        "tests/wheel/test_causal_alignment.py::test_a_patch_in_standardised_units_is_an_orthogonal_one_there",
        (
            "alignment: base and source swapped",
            "Alignment.put",
            "pairs.source_states - pairs.base_states",
            "pairs.base_states - pairs.source_states",
        ),
    ),
    *of(
        "probe.methods.causal.alignment_controls",
        "tests/wheel/test_causal_alignment.py::test_halves_split_prefixes_and_not_rows",
        ("alignment: held-out prefixes leak into training", "halves", "Half(*parts)", "Half(rows, parts[1])"),
    ),
)
MACHINES: tuple[Mutation, ...] = (
    *of(
        "probe.methods.abstraction.automata",
        "tests/wheel/test_abstraction_automata.py",
        (
            "automata: states merged that a suffix tells apart",
            "minimal_automaton",
            "below.reshape(-1, symbols)",
            "np.sort(below.reshape(-1, symbols), axis=1)",
        ),
    ),
    *of(
        "probe.methods.fixed_points",
        "tests/wheel/test_dynamics.py",
        (
            "dynamics: the Jacobian's rows are its columns",
            "jacobians",
            "found.view(rows, size, size)",
            "found.view(rows, size, size).mT",
        ),
    ),
    *of(
        "probe.methods.probing.prefixes",
        "tests/wheel/test_studies_parts.py::test_each_prefix_stands_once_and_padding_never",
        ("studies: padding is data", "prefix_groups", "np.flatnonzero(lengths > step)", "np.arange(len(x))"),
    ),
    *of(
        "probe.methods.probing.fits",
        "tests/wheel/test_studies_rare.py::test_the_score_of_a_category_does_not_depend_on_how_rare_it_is",
        ("studies: a rare category weighs less in the fit", "Logistic._model", '"balanced"', "None"),
    ),
    *of(
        "probe.subjects.computed.splices",
        "tests/wheel/test_studies_splices.py::test_what_is_interchanged_is_what_the_module_answers_to_the_splice",
        ("studies: a splice one step off", "inputs", "to_come < left", "to_come <= left"),
    ),
    *of(
        "probe.subjects.computed.splices",
        "tests/wheel/test_studies_splices.py::test_the_scale_ends_at_the_networks_own_answers",
        ("studies: pairs that the network answers wrong count", "spliced_pairs", "_only(rest, right)", "rest"),
    ),
    *of(
        "probe.subjects.random_weights",
        "tests/wheel/test_studies_parts.py::test_shuffled_weights_keep_each_gates_numbers_and_fresh_ones_torchs_bounds",
        ("studies: the gates of shuffled weights are mixed", "_shuffle", "parameter.split(units)", "(parameter,)"),
    ),
    *of(
        "models.planted.counting",
        "tests/repo/test_planted.py::test_every_planted_network_is_right_on_every_string",
        ("planted: no drift", "drift_counter", "STEP * (1 - drift)", "STEP"),
    ),
    *of(
        "models.data",
        "tests/repo/test_models_recipes.py::test_a_cut_strings_label_is_that_of_its_own_end",
        (
            "data: a label past the end",
            "Strings.last_labels",
            "self.labels.gather(1, self.lengths[:, None] - 1)[:, 0]",
            "self.labels[:, -1]",
        ),
    ),
    *of(
        "analyses.counter.offset_law",
        "tests/repo/test_offset_law.py::test_the_offset_law_is_exact_where_the_drift_is_a_whole_number",
        ("counter: a longer string misses bits", "measure", "LENGTH - TRIED", "TRIED - LENGTH"),
    ),
)
MUTATIONS = (*JUDGING, *CAUSES, *MACHINES)
