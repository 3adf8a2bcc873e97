"""What goes wrong with learned alignments and erasure: leaks, wrong directions, controls that control nothing."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/causal/alignment.py",
        "test_causal_alignment.py",
        (
            "alignment: source and base swapped in the search",
            "(self._states.index_select(0, source) - own)",
            "(own - self._states.index_select(0, source))",
        ),
        (
            "alignment: source and base swapped in the patch",
            "(pairs.source_states - pairs.base_states)",
            "(pairs.base_states - pairs.source_states)",
        ),
        (
            "alignment: unchanged pairs are trained on",
            "kept.append(drawn[differ])",
            "kept.append(drawn)",
        ),
        (
            "alignment: pairs from all rows",
            "chosen = rows[torch.as_tensor(np.concatenate(kept)[:draws])]",
            "chosen = torch.as_tensor(np.concatenate(kept)[:draws])",
        ),
        (
            "alignment: Q not orthonormal",
            "bases = torch.linalg.qr(free)[0]",
            "bases = free",
        ),
        (
            "alignment: gradient not projected",
            "across = whole - q @ (q.transpose(1, 2) @ whole)",
            "across = whole",
        ),
        (
            "alignment: R not transposed",
            "solve_triangular(r.transpose(1, 2), across, upper=False",
            "solve_triangular(r, across, upper=True",
        ),
        (
            "alignment: units ignored on the way back",
            "along.transpose(1, 2) * scale",
            "along.transpose(1, 2)",
        ),
        ("alignment: Adam's mean is not corrected", "value=-rate / (1 - _MEAN ** (number + 1))", "value=-rate"),
        ("alignment: Adam's square is not corrected", "(square / (1 - _SQUARE ** (number + 1)))", "(square + 0)"),
        ("alignment: standardised patch without scale", "@ self.basis.T * self.scale", "@ self.basis.T"),
        ("alignment: a higher rank's columns leak", "q, scale = bases * self._mask", "q, scale = bases"),
        (
            "alignment: starts depend on searches beside",
            "normal(size=(self._most, size)).T",
            "normal(size=(size, self._most))",
        ),
    ),
    *mutations_of(
        "probe/causal/alignment_loss.py",
        "test_causal_alignment.py",
        ("alignment: any target is a class", "if bool(wrong.any()):", "if False:"),
        ("alignment: absolute error", "return (output - target) ** 2", "return (output - target).abs()"),
        ("alignment: a head that bends is linear", "if node.name() not in _LINEAR or", "if"),
        ("alignment: linear without its bias", "return cls(weights, bias,", "return cls(weights, 0 * bias,"),
        ("alignment: half a squared error", "(output - target).mul_(2)", "(output - target)"),
        ("alignment: any target is a class in a linear head", "if low < 0 or high >= len(scores) or", "if False and"),
        ("alignment: a loss may be anything", "if not wrong.sum().isfinite():", "if False:"),
    ),
    *mutations_of(
        "probe/causal/alignment_lstm.py",
        "test_causal_alignment.py",
        ("lean LSTM: candidate's slope", "[0.5, 0.5, 2.0, 1.0]", "[0.5, 0.5, 1.0, 1.0]"),
        ("lean LSTM: forget gate not applied on the way back", "            d_c.mul_(f)\n", ""),
        ("lean LSTM: slope of tanh", "d_c.addcmul_(d_o, h, value=-1)", "d_c.addcmul_(d_o, h, value=1)"),
    ),
    *mutations_of(
        "probe/causal/alignment_controls.py",
        "test_causal_alignment.py",
        ("halves: held-out prefixes leak into training", "return [Half(*parts), ", "return [Half(rows, parts[1]), "),
        ("halves: rows are split", "torch.isin(prefixes.group, torch", "torch.isin(rows % len(prefixes.rows), torch"),
        ("halves: one way twice", "Half(*reversed(parts))", "Half(*parts)"),
        ("halves: few prefixes are split", "if len(prefixes.rows) < least:", "if False:"),
        ("pairs: sources may be anywhere", "among[every.base] & among[every.source]", "among[every.base]"),
        ("wrong variable: base's own is kept", "now + given - own", "now + given"),
        (
            "relabelled: histogram lost",
            ".permutation(len(prefixes.rows))",
            ".integers(0, len(prefixes.rows), len(prefixes.rows))",
        ),
        ("closed form: a sum", "return gradient.mean(0).numpy()", "return gradient.sum(0).numpy()"),
    ),
    *mutations_of(
        "probe/causal/erasure.py",
        "test_causal_erasure.py",
        (
            "leace: concept not centred away",
            "directions = directions[:, sizes > _ROUNDING * spread]",
            "directions = directions[:, :1]",
        ),
        (
            "leace: no whitening",
            "return Eraser(mean, unwhiten @ directions, directions.T @ whiten)",
            "return Eraser(mean, directions, directions.T)",
        ),
        ("leace: zeros put in, not the mean", "(states - self.mean) @ self.right.T", "states @ self.right.T"),
        ("leace: rounding is a direction", "sizes > _ROUNDING * spread", "sizes > 0"),
        (
            "leace: constant numbers divided by",
            "kept = values > values[-1] * len(values) * np.finfo(float).eps",
            "kept = values > -1",
        ),
        ("projection: columns not made orthonormal", "q = np.linalg.qr(basis)[0]", "q = basis"),
    ),
    *mutations_of(
        "probe/questions/erasure.py",
        "test_questions_erasure.py",
        (
            "erasure: fitted on what it is scored on",
            "self.distinct(train) for train, _ in",
            "self.distinct(test) for _, test in",
        ),
        ("erasure: floor without the suffix", "table.max(1).sum()", "table.sum(0).max()"),
        ("erasure: labels not shuffled", "one_hot(generator.permutation(values))", "one_hot(values)"),
        (
            "erasure: scalar is one-hot",
            "ground.held_out([leace])",
            "ground.held_out([lambda s, v: leace(s, one_hot(v))])",
        ),
        ("erasure: excess below the floor", 'values["floor"], 0.0)', 'values["floor"], -1.0)'),
    ),
    *mutations_of(
        "probe/questions/alignment.py",
        "test_questions_alignment.py",
        (
            "alignment question: scored where it was fitted",
            "pairs_among(machine, step, way.test, seed=plan.seed) for way in ways]\n        experiments",
            "pairs_among(machine, step, way.train, seed=plan.seed) for way in ways]\n        experiments",
        ),
        ("alignment question: the smallest excess", '["value"].idxmax()', '["value"].idxmin()'),
        (
            "alignment question: closed form ignored",
            "                headline = _mean(experiment.scores(put)",
            "                _ = _mean(experiment.scores(put)",
        ),
    ),
)
