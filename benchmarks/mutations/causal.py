"""What goes wrong where states are put into other runs."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/machines.py",
        "test_machines.py",
        (
            "machine: goes on with the step that was read",
            "self.inputs[rows[part], step + 1 :]",
            "self.inputs[rows[part], step:]",
        ),
        (
            "machine: a unit without its other numbers",
            "for signal in self.signals]\n\n    def parts",
            "for signal in self.signals[:1]]\n\n    def parts",
        ),
        ("machine: float32", "copy.deepcopy(model).double().eval()", "copy.deepcopy(model).eval()"),
        (
            "machine: any output will do",
            "if found.shape != wanted.shape or not torch.allclose(",
            "if found.shape != wanted.shape and not torch.allclose(",
        ),
        ("machine: forward left behind", 'own.pop("forward")', "pass"),
    ),
    *mutations_of(
        "probe/machines.py",
        "test_causal_interchange.py",
        ("machine: another suffix", "self.inputs[rows, step + 1].repeat", "self.inputs[rows, step].repeat"),
        ("machine: states of the wrong parent", "index_select(0, parent)", "index_select(0, parent.flip(0))"),
        ("machine: the wrong parent's, numbers first", "index_select(1, parent)", "index_select(1, parent.flip(0))"),
        ("machine: each for all and all for each", "expand(-1, times, -1, each)", "expand(-1, each, -1, times)"),
        (
            "machine: answers of distinct sequences as rows",
            "if len(prefixes.rows) == len(prefixes.group):",
            "if True:",
        ),
    ),
    *mutations_of(
        "probe/outputs.py",
        "test_outputs.py",
        (
            "outputs: zero for the initial state",
            "call.x, call.initial[0], keep",
            "call.x, read_call(layers, arguments[:1], {}).initial[0], keep",
        ),
        (
            "outputs: h for c",
            "signals[HIDDEN], [last], call)",
            "signals[HIDDEN], [last | {s: last[HIDDEN] for s in last}], call)",
        ),
        ("outputs: packed sequences too", "call.packed is not None or not", "not"),
    ),
    *mutations_of(
        "probe/probing/prefixes.py",
        "test_causal_interchange.py",
        ("prefixes: of the step alone", "np.column_stack([group, values", "np.column_stack([0 * group, values"),
    ),
    *mutations_of(
        "probe/causal/task.py",
        "test_causal_interchange.py",
        ("task: target of the unpatched base", "return source + final - base", "return final"),
        ("task: target without the suffix", "return source + final - base", "return source"),
        (
            "task: base and source swapped",
            "self.so_far(source, step), base, step)",
            "self.so_far(base, step), base, step)",
        ),
    ),
    *mutations_of(
        "probe/causal/pairs.py",
        "test_causal_interchange.py",
        ("pairs: base and source swapped", "[:, self.step], self.source)", "[:, self.step], self.base)"),
        ("pairs: crossed in another order", "[:: max(1, each)], each)", "[:: max(1, each)], times=each)"),
        (
            "pairs: sources without equal frequency",
            "return prefixes.rows if equal else",
            "return prefixes.rows if True else",
        ),
        ("pairs: seed ignored", "np.random.default_rng(seed)", "np.random.default_rng(0)"),
        ("pairs: drawn ones called exhaustive", "base, source, exhaustive=False)", "base, source)"),
        ("pairs: the other columns", "states[:, column] = taken[:, column]", "taken[:, column] = states[:, column]"),
        ("pairs: basis not orthonormal", "q = torch.as_tensor(found)", "q = matrix"),
        (
            "pairs: stale h",
            "Signal.HIDDEN_STATE: gate * cell.tanh()",
            "Signal.HIDDEN_STATE: parts[Signal.HIDDEN_STATE]",
        ),
        (
            "pairs: the source's output gate",
            "gate = pairs.of_bases(machine.recorded(Signal.OUTPUT_GATE)[:, pairs.step])",
            "gate = machine.recorded(Signal.OUTPUT_GATE)[pairs.source, pairs.step]",
        ),
    ),
    *mutations_of(
        "probe/causal/runs.py",
        "test_causal_interchange.py",
        ("runs: suffix of the source", "self._suffix[pairs.base]", "self._suffix[pairs.source]"),
        ("runs: prefix of the base", "self._prefix[pairs.source]", "self._prefix[pairs.base]"),
    ),
    *mutations_of(
        "probe/causal/interchange.py",
        "test_causal_interchange.py",
        ("interchange: unchanged pairs counted", "(right & goal.counted).sum()", "right.sum()"),
        (
            "interchange: every pair counted",
            "counted = so_far[base] != so_far[part.source]",
            "counted = so_far[base] == so_far[base]",
        ),
        ("interchange: null not subtracted", "(self.iia - self.unpatched) / way", "self.iia / way"),
        ("interchange: score of the whole way", "way = self.whole - self.unpatched", "way = 1 - self.unpatched"),
        (
            "interchange: shift of the answer itself",
            "(answers.expected - own[part.base]) @ goal.way",
            "answers.expected @ goal.way",
        ),
        (
            "interchange: shift over what moved",
            "way_squared += float(way @ way)",
            "way_squared += float(way.abs().sum())",
        ),
        (
            "interchange: own answers as the target",
            "self._goals.append(_Goal(target,",
            "self._goals.append(_Goal(right_before[base],",
        ),
    ),
    *mutations_of(
        "probe/causal/class_means.py",
        "test_causal_states.py",
        (
            "class means: states of the step before",
            "machine.states[prefixes.rows, step]",
            "machine.states[prefixes.rows, step - 1]",
        ),
        ("class means: sums", "return sums / self.sizes[:, None]", "return sums"),
        ("class means: any concept", "if not torch.equal(concept[prefixes.group], at_rows):", "if False:"),
    ),
    *mutations_of(
        "probe/causal/support.py",
        "test_causal_states.py",
        ("support: raw units", "scale = sd[kept]", "scale = np.ones(kept.sum())"),
        ("support: constant units kept", "kept = sd > _CONSTANT * sd.max(initial=0.0)", "kept = sd > -1"),
        ("support: not in spacings", "return nearest / self.spacing", "return nearest"),
        (
            "support: the second nearest state",
            "nearest, _ = KDTree(self.natural).query(states[:, self.kept] / self.scale)",
            "nearest = KDTree(self.natural).query(states[:, self.kept] / self.scale, 2)[0][:, 1]",
        ),
        ("support: the mean spacing", "float(np.median(np.linalg.norm(", "float(np.mean(np.linalg.norm("),
        (
            "support: unchanged pairs counted",
            "so_far[pairs.base] != so_far[pairs.source]",
            "so_far[pairs.base] == so_far[pairs.base]",
        ),
    ),
    *mutations_of(
        "probe/causal/directions.py",
        "test_causal_states.py",
        ("directions: slope not centred", "return values - values.mean(0)", "return values"),
        (
            "directions: penalty in raw units",
            "penalty * np.trace(covariance) / size * np.eye(size)",
            "penalty * np.eye(size)",
        ),
        (
            "directions: step not by the variance",
            "return encoding_slope(classes) / variance",
            "return encoding_slope(classes)",
        ),
        (
            "directions: last singular vector",
            "np.linalg.svd(coefficients)[0][:, 0]",
            "np.linalg.svd(coefficients)[0][:, -1]",
        ),
    ),
    *mutations_of(
        "probe/causal/ablation.py",
        "test_questions_unit_ablation.py",
        (
            "ablation: its own prefix among the others",
            "generator.integers(1, size, (size, draws))",
            "generator.integers(0, size, (size, draws))",
        ),
        (
            "ablation: at the last step alone",
            "            for column in columns:",
            "            for column in columns if step + 1 == len(machine.prefixes) else ():",
        ),
        (
            "ablation: states of the step before",
            "machine.states[:, step].index_select(0, other)",
            "machine.states[:, step - 1].index_select(0, other)",
        ),
        ("ablation: what comes is given", "enumerate(self._drawn[:-1], start", "enumerate(self._drawn[1:], start"),
        (
            "ablation: given to another prefix",
            "drawn[hidden].index_select(1, machine.parents(step))",
            "drawn[hidden].index_select(1, machine.parents(step).flip(0))",
        ),
        ("ablation: a unit in part is a unit", "machine.numbers_first and whole", "machine.numbers_first"),
        ("ablation: the first draws in every piece", "[step - 1][:, :, draws]", "[step - 1][:, :, :width]"),
        ("ablation: seed ignored", "np.random.default_rng(seed)", "np.random.default_rng(0)"),
    ),
    *mutations_of(
        "probe/questions/directions.py",
        "test_questions_directions.py",
        ("directions: the worst unit", "best = max(known,", "best = min(known,"),
        ("directions: far is near", 'far = (rows["off_support"] > FAR)', 'far = (rows["off_support"] < FAR)'),
        ("directions: a score of nothing kept", "if not math.isnan(value):", "if True:"),
    ),
    *mutations_of(
        "probe/questions/class_means.py",
        "test_questions_class_means.py",
        ("class means: single prefixes counted", "classes.sizes > 1)", "classes.sizes > 0)"),
        ("class means: the best step", "*min(ratios))", "*max(ratios))"),
        ("class means: accuracy for the ratio", "float(hits.mean() / own.mean())", "float(hits.mean())"),
        ("class means: rows for values", "float(balanced / own_balanced)", "float(hits.mean() / own.mean())"),
    ),
    *mutations_of(
        "probe/questions/steering.py",
        "test_questions_steering.py",
        ("steering: one way only", "for dose in (-1.0, 1.0):", "for dose in (1.0,):"),
        ("steering: to the mean, not by it", "own + means[new] - means[self.classes.of_row[rows]]", "means[new]"),
        ("steering: values beyond those that occur", "(new <= values[-1] + 1e-9)", "(new <= values[-1] + 99)"),
        ("steering: unit ignored", "unit * shift_by_one(classes)", "shift_by_one(classes)"),
    ),
    *mutations_of(
        "probe/questions/unit_ablation.py",
        "test_questions_unit_ablation.py",
        ("unit ablation: the score of the whole way", "(alone[best] - none) / (own - none)", "alone[best] / own"),
        ("unit ablation: the worst unit kept", "best = int(np.argmax(alone))", "best = int(np.argmin(alone))"),
        ("unit ablation: kept for ablated", "if unit not in units], draws)[0]", "if unit in units], draws)[0]"),
        ("unit ablation: gains for drops", "drops.append(own - accuracy)", "drops.append(accuracy - own)"),
    ),
    *mutations_of(
        "probe/questions/state_patching.py",
        "test_questions_state_patching.py",
        (
            "state patching: cell and hidden state swapped",
            '"cell_state_alone": lambda machine: columns(machine.columns(Signal.CELL_STATE))',
            '"cell_state_alone": lambda machine: columns(machine.columns(Signal.HIDDEN_STATE))',
        ),
        (
            "state patching: most ignored",
            "all_pairs(machine, step, most=most, seed=seed)",
            "all_pairs(machine, step, seed=seed)",
        ),
        ("state patching: no patch for the whole", '"none": (one.unpatched, 0.0)', '"none": (one.whole, 0.0)'),
    ),
    *mutations_of(
        "probe/questions/patched_runs.py",
        "test_questions_state_patching.py",
        (
            "patched runs: stale h is the source's",
            "Signal.HIDDEN_STATE: own}",
            "Signal.HIDDEN_STATE: sources.tolist()}",
        ),
        (
            "patched runs: splice one step late",
            "source[:, : step + 1], base[:, step + 1 :]",
            "source[:, : step + 2], base[:, step + 2 :]",
        ),
    ),
)
