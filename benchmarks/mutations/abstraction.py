"""What goes wrong with automata, programs, reduced models and fixed points."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/abstraction/automata.py",
        "test_abstraction_automata.py",
        (
            "automata: states merged although a suffix tells them apart",
            "np.unique(below.reshape(-1, symbols), axis=0, return_inverse=True)",
            "np.unique(below.reshape(-1, symbols).max(1)[:, None].repeat(symbols, 1), axis=0, return_inverse=True)",
        ),
        (
            "automata: every prefix a state",
            "np.unique(below.reshape(-1, symbols), axis=0, return_inverse=True)",
            "(below.reshape(-1, symbols), np.arange(len(below) // symbols))",
        ),
        ("automata: few symbols as they come", "zip(places, number.ravel(), strict=True)", "zip(places, range(99))"),
        (
            "automata: the first few are all",
            "            return None\n        places",
            "            break\n        places",
        ),
        ("automata: rows in the order given", "minimal_automaton(given[order]", "minimal_automaton(given"),
        ("automata: any inputs are all of them", "if np.array_equal(place[order], np.arange(batch)) else None", ""),
    ),
    *mutations_of(
        "probe/questions/accuracy.py",
        "test_questions_accuracy.py",
        ("accuracy: the automaton of the right answers", "automaton_of(x, given)", "automaton_of(x, truth)"),
    ),
    *mutations_of(
        "probe/abstraction/quantised.py",
        "test_abstraction_quantised.py",
        ("quantised: the run goes on from its own state", "        states = codebook.means[step][chosen]\n", ""),
        (
            "quantised: raw distances",
            "torch.cdist(states / scale, self.means[step] / scale)",
            "torch.cdist(states, self.means[step])",
        ),
        (
            "quantised: means over all rows",
            "[prefixes.rows for prefixes in machine.prefixes]",
            "[prefixes.rows[:5] for prefixes in machine.prefixes]",
        ),
        (
            "quantised: late steps weigh more",
            "torch.full((len(rows),), 1 / len(rows)",
            "torch.full((len(rows),), 1.0",
        ),
        ("quantised: rounding decides", "torch.where(constant, torch.inf, deviation)", "deviation"),
        (
            "quantised: the first state is not counted",
            "return 1 + sum(map(len, self.values))",
            "return sum(map(len, self.values))",
        ),
    ),
    *mutations_of(
        "probe/questions/quantised_states.py",
        "test_questions_quantised_states.py",
        ("quantised: accuracy not over own", "found / own", "found"),
        ("quantised: both over steps", 'by_step=name == "by_step"', "by_step=False"),
    ),
    *mutations_of(
        "probe/abstraction/programs.py",
        "test_abstraction_programs.py",
        ("programs: near lengths weigh as far ones", ".mean()) * (self.reference - length)", ".mean())"),
        ("programs: seed ignored", "np.random.default_rng([seed, length])", "np.random.default_rng([0, length])"),
        ("programs: a whole count off agrees", "<= 0.5 + 1e-9", "<= 1.0"),
        ("programs: drawn shares are exact", "(share, share) if exhaustive else", "(share, share) if True else"),
        (
            "programs: forbidden sequences are drawn",
            "kept.append(x if allowed is None else x[allowed(x)])",
            "kept.append(x)",
        ),
    ),
    *mutations_of(
        "probe/questions/programs.py",
        "test_questions_programs.py",
        ("programs: training lengths used for the test", "        if length not in used:\n", "        if True:\n"),
        ("programs: fitted lengths used for the test", "used |= set(program.fitted_on)", "pass"),
        ("programs: the drift is not used", "program.at(drift, own)", "program.at(0.0, own)"),
    ),
    *mutations_of(
        "probe/questions/other_lengths.py",
        "test_questions_other_lengths.py",
        (
            "lengths: drift weighted wrongly",
            "excess[length] * (reference - length) for length in used) / weight",
            "excess[length] for length in used) / weight",
        ),
    ),
    *mutations_of(
        "probe/abstraction/reduced.py",
        "test_abstraction_reduced.py",
        ("reduced: the first symbol's map for all", "self.maps[codes], z)", "self.maps[0 * codes], z)"),
        (
            "reduced: the start is not refined",
            "            theta, error = theta + step, reached",
            "            _, error = theta + step, reached",
        ),
        ("reduced: long lengths weigh more", "1 / (own.sum() * len(wanted))", "1 / len(wanted)"),
        ("reduced: all lengths fitted", "own = tree.length == length\n", "own = tree.length > 0\n"),
        (
            "reduced: prefixes in the order of the rows",
            "order = np.argsort(key[rows])",
            "order = np.arange(len(rows))",
        ),
    ),
    *mutations_of(
        "probe/questions/reduced_models.py",
        "test_questions_reduced_models.py",
        ("reduced: training lengths used for the test", "if n not in used]", "if n]"),
        ("reduced: the worst named program is the null", "fixed = max(", "fixed = min("),
        ("reduced: law against the wrong length", "truth[n] + d * (reference - n)", "truth[n] + d * (n - reference)"),
        ("reduced: twins have a null", 'if network.subject == "trained":', "if True:"),
    ),
    *mutations_of(
        "probe/dynamics.py",
        "test_dynamics.py",
        (
            "dynamics: fixed point of the wrong input",
            "fixed_input.double().expand",
            "(0 * fixed_input).double().expand",
        ),
        ("dynamics: points are not merged", "axis=1).min() > merged", "axis=1).min() > 0"),
        ("dynamics: slow points called fixed", "q[kept] < fixed,", "q[kept] < slow,"),
        ("dynamics: every end is a point", "if q[row] < slow]", "]"),
        (
            "dynamics: the Jacobian's rows are its columns",
            "found.view(rows, size, size).numpy()",
            "found.view(rows, size, size).mT.numpy()",
        ),
        ("dynamics: a path's inputs one step early", "machine.inputs[row, t])", "machine.inputs[row, t - 1])"),
        (
            "dynamics: states of rows and not of prefixes",
            "for row in one.rows.tolist()]",
            "for row in range(len(machine.inputs))]",
        ),
        ("dynamics: unstable points called stable", ".max(axis=1, initial=0) < 1", ".min(axis=1, initial=9) < 1"),
    ),
    *mutations_of(
        "probe/questions/dynamics.py",
        "test_questions_dynamics.py",
        (
            "dynamics: silent and driven exchanged",
            '("silent", means[:1]), ("driven", means[1:])',
            '("driven", means[:1]), ("silent", means[1:])',
        ),
        ("dynamics: changes without their sign", "float(change.mean()), name", "float(change.abs().mean()), name"),
        ("dynamics: points under a driving input", "_points(machine, inputs[0]", "_points(machine, inputs[1]"),
    ),
)
