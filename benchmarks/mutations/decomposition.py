"""What goes wrong with exact decompositions: Shapley values, contexts, units, gates, routes, algebra, noise."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/decomposition/shapley.py",
        "test_decomposition_shapley.py",
        (
            "shapley: weight off by one",
            "factorial(s) * factorial(players - s - 1) / factorial(players)",
            "factorial(s) * factorial(players - s) / factorial(players)",
        ),
        ("shapley: all subsets weigh the same", ".sum(1)]", ".sum(1) * 0]"),
        ("shapley: source and base exchanged", "paired[..., 1, :] - paired[..., 0, :]", "-paired[..., 1, :]"),
        ("shapley: players from the other end", "values[..., player] =", "values[..., players - player - 1] ="),
        ("shapley: complements of the subsets", "& 1 == 1", "& 1 == 0"),
        ("shapley: the largest share takes part alone", "1 / np.square(shares).sum()", "1 / np.square(shares).max()"),
        ("shapley: positive shares count as negative", "np.maximum(-self.values, 0)", "np.maximum(self.values, 0)"),
        ("shapley: contexts weigh the same", "axis=0, weights=weight)", "axis=0)"),
        ("shapley: shares of rounding", "if abs(whole) > _NOTHING else", "if whole != 0 or True else"),
    ),
    *mutations_of(
        "probe/decomposition/contexts.py",
        "test_decomposition_tables.py",
        (
            "contexts: base and source exchanged",
            "[None, :] > amount[members][:, None]",
            "[None, :] < amount[members][:, None]",
        ),
        (
            "contexts: the source's inputs are left out",
            "read = [inputs[base, : step + 1], inputs[source, : source_step + 1]]",
            "read = [inputs[base, : step + 1]]",
        ),
        (
            "contexts: the step after is read twice",
            "enumerate(self._levels, self.step + 1)",
            "enumerate(self._levels, self.step)",
        ),
        ("contexts: continuations weigh the same", "y * self._leaf_weight[start:stop, None]", "y"),
        (
            "contexts: pieces are read from the start",
            "level.parent[low:high] - start",
            "level.parent[low:high]",
        ),
        (
            "contexts: a continuation of another context",
            "start, stop, root = int(low), int(high), root[parent]",
            "start, stop = int(low), int(high)",
        ),
        ("contexts: sums and not means", "found.numpy() / self.weight[:, None]", "found.numpy()"),
    ),
    *mutations_of(
        "probe/decomposition/units.py",
        "test_decomposition_tables.py",
        ("units: source and base exchanged", "torch.where(mask, sources[", "torch.where(~mask, sources["),
        ("units: one number of a unit only", "taken[machine.unit(unit)]", "taken[machine.unit(unit)[-1:]]"),
        ("units: of the step before", "(machine.states[rows, step].T", "(machine.states[rows, step - 1].T"),
    ),
    *mutations_of(
        "probe/decomposition/gates.py",
        "test_decomposition_tables.py",
        (
            "gates: source and base exchanged",
            "moment = source if formula.signal in given else base",
            "moment = base if formula.signal in given else source",
        ),
        (
            "gates: the state after is the one before",
            "machine.states[contexts.base, step - 1] if step",
            "machine.states[contexts.base, step] if step",
        ),
        (
            "gates: the first step starts from the state after it",
            "if step else machine.initial[contexts.base]",
            "if step else machine.states[contexts.base, 0]",
        ),
        ("gates: frozen at another step's mean", "means[signal][step].expand_as", "means[signal][0].expand_as"),
        ("gates: nothing is frozen", "if signal in means else value", "if signal not in means else value"),
        (
            "gates: an LSTM's i and g exchanged",
            "Signal.INPUT_GATE: Signal.INPUT_GATE_PREACTIVATION",
            "Signal.INPUT_GATE: Signal.CELL_CANDIDATE_PREACTIVATION",
        ),
    ),
    *mutations_of(
        "probe/decomposition/routes.py",
        "test_decomposition_tables.py",
        (
            "routes: the step reads the source's input",
            "machine.inputs[contexts.base, step + 1]",
            "machine.inputs[contexts.base, step]",
        ),
        (
            "routes: a GRU's h into n is what is reset",
            "Signal.CANDIDATE: Signal.CANDIDATE_RECURRENT",
            "Signal.CANDIDATE: Signal.CANDIDATE_PREACTIVATION",
        ),
        (
            "routes: f * c left out",
            "Signal.CELL_STATE: Signal.CELL_STATE,",
            "Signal.CELL_STATE: Signal.HIDDEN_STATE,",
        ),
        ("routes: the last step has one", "0 <= step < length - 1", "0 <= step < length"),
    ),
    *mutations_of(
        "probe/decomposition/algebra.py",
        "test_decomposition_algebra_and_noise.py",
        (
            "algebra: a step forgets what it writes",
            "torch.cat([gate[:, 1:], torch.ones_like(gate[:, :1])], dim=1)",
            "gate",
        ),
        ("algebra: the first state is kept whole", "(initial * gate.prod(1))", "(initial * gate[:, 0])"),
        ("algebra: a GRU writes z n", "contributions((1 - z) * n, z,", "contributions(z * n, z,"),
        (
            "algebra: a reverse layer read from its start",
            "value[:, last:].flip(1) if backwards",
            "value[:, last:] if backwards",
        ),
        ("algebra: the state of the step before", "value[:, : last + 1]", "value[:, : max(last, 1)]"),
    ),
    *mutations_of(
        "probe/decomposition/noise.py",
        "test_decomposition_algebra_and_noise.py",
        ("noise: not scaled by the unit's sd", " * spread[:, :, None]", ""),
        ("noise: one sd for all steps", "* spread[:, :, None]", "* spread[-1, :, None]"),
        ("noise: seed ignored", "np.random.default_rng(seed)", "np.random.default_rng(0)"),
        ("noise: dose ignored", "noise[step, :, None] * amounts", "noise[step, :, None] * amounts**0"),
        ("noise: all doses drawn as often", "if draw < draws]", "]"),
    ),
    *mutations_of(
        "probe/questions/unit_shares.py",
        "test_questions_unit_shares.py",
        ("unit shares: changed one step before", "at - 2 if changed", "at - 1 if changed"),
        (
            "unit shares: the smallest is the largest",
            "int(np.argmax(shares.values))",
            "int(np.argmin(shares.values))",
        ),
        (
            "unit shares: a signed correlation",
            "np.argmax(np.abs(within_step_correlation",
            "np.argmin(np.abs(within_step_correlation",
        ),
    ),
    *mutations_of(
        "probe/questions/routes.py",
        "test_questions_routes.py",
        ("routes: changed one step before", "at - 2 if changed", "at - 1 if changed"),
    ),
    *mutations_of(
        "probe/questions/gate_shares.py",
        "test_questions_gate_shares.py",
        (
            "gate shares: pairs of the next step",
            "changed_at(x, concept, step, step)",
            "changed_at(x, concept, step - 1, step)",
        ),
        (
            "gate shares: the last step alone",
            "for parts in zip(*tables.values(), strict=True)",
            "for parts in zip(*list(tables.values())[-1:], strict=True)",
        ),
        ("gate shares: the least lasting unit", '["units"].last()', '["units"].first()'),
    ),
    *mutations_of(
        "probe/questions/bit_effects.py",
        "test_questions_bit_effects.py",
        ("bit effects: steps weigh as their prefixes", "np.full(len(here), 1 / len(change))", "np.ones(len(here))"),
        ("bit effects: before and after exchanged", "(after - before).numpy()", "(before - after).numpy()"),
        (
            "bit effects: the smaller deviation",
            '"largest_effect_sd", max(spreads)',
            '"largest_effect_sd", min(spreads)',
        ),
        (
            "bit effects: what the step before added",
            "step: grown[prefixes[step], step - 1] for",
            "step: grown[prefixes[step], step - 2] for",
        ),
    ),
    *mutations_of(
        "probe/questions/noise_margin.py",
        "test_questions_noise_margin.py",
        ("noise margin: as many draws for the curve", "fromkeys(doses, curve_draws)", "fromkeys(doses, draws)"),
        ("noise margin: seed ignored", "correct, wanted, seed=seed", "correct, wanted, seed=0"),
    ),
)
