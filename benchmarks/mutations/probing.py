"""What goes wrong with probes and their controls."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/probing/splits.py",
        "test_probing.py",
        ("splits: probe fitted on its test fold", "if number != held_out", "if True"),
        ("splits: seed ignored", "np.random.default_rng(seed)", "np.random.default_rng(0)"),
    ),
    *mutations_of(
        "probe/probing/prefixes.py",
        "test_probing.py",
        (
            "prefixes: every row is a state",
            "found.append((first[order], group))",
            "found.append((np.arange(len(values)), group))",
        ),
        ("prefixes: rows of the wrong step", "value[rows, step]", "value[rows, step - 1]"),
        (
            "prefixes: float32",
            "copy.deepcopy(model).double(),\n        x.double()",
            "copy.deepcopy(model),\n        x",
        ),
        ("prefixes: points weigh the same", "[1 / (size * len(sizes)) for size in sizes]", "[1.0 for size in sizes]"),
        ("prefixes: any concept fits", "concept.shape != x.shape[:2]", "False"),
    ),
    *mutations_of(
        "probe/probing/monotone.py",
        "test_probing.py",
        ("monotone: clock left in", "columns[rows] -= columns[rows].mean(0)", "columns[rows] -= 0"),
        ("monotone: increasing only", "for increasing in (True, False):", "for increasing in (True,):"),
        ("monotone: the worst unit", "int(np.argmin([", "int(np.argmax(["),
    ),
    *mutations_of(
        "probe/probing/linear.py",
        "test_probing.py",
        ("linear: weight ignored", "np.ones(len(states)) if weight is None else weight", "np.ones(len(states))"),
        ("linear: in-sample score", "rows = training_rows(parts, number)", "rows = np.arange(len(states))"),
    ),
    *mutations_of(
        "probe/probing/controls.py",
        "test_probing.py",
        (
            "controls: the same signs whatever the seed",
            "    generator = np.random.default_rng(seed)\n    signs",
            "    generator = np.random.default_rng(0)\n    signs",
        ),
        ("controls: signs need not cancel", "abs(drawn.sum()) <= largest and ", ""),
        ("controls: clock without steps", "        by_step[rows] = np.average", "        by_step[:] = np.average"),
        ("controls: curve counted as line", "clock, linear, between - linear,", "clock, between, between - between,"),
        ("controls: code fitted on what it sends", "fit(inputs[:start], labels[:start])", "fit(inputs, labels)"),
    ),
    *mutations_of(
        "probe/questions/linear_readout.py",
        "test_questions_probing.py",
        ("readout: the larger of the two", "network, min(last), step", "network, max(last), step"),
        ("readout: memories left in", "explained[0] - float(np.mean(explained[1:]))", "explained[0]"),
    ),
)
