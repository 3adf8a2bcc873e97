"""What goes wrong in the modules of our own: peepholes, the reset gate, functions, learned states."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/cells/activations.py",
        "test_custom_cells.py",
        (
            "functions: Keras 2's hard sigmoid is Keras 3's",
            "(0.2 * a + 0.5).clamp(0, 1)",
            "(a / 6 + 0.5).clamp(0, 1)",
        ),
        (
            "functions: a hard sigmoid without its upper end",
            "(0.2 * a + 0.5).clamp(0, 1)",
            "(0.2 * a + 0.5).clamp(0)",
        ),
        ("functions: Keras 3's hard sigmoid from -2.5", "(a + 3).clamp(0, 6) / 6", "(a + 2.5).clamp(0, 5) / 5"),
    ),
    *mutations_of(
        "probe/cells/lstm.py",
        "test_custom_cells.py",
        ("peepholes: i looks through f's", "_peeping(_a_i, self.weights.p_i)", "_peeping(_a_i, self.weights.p_f)"),
        (
            "peepholes: o sees the previous cell state",
            "_peeping_at_new(_a_o, self.weights.p_o)",
            "_peeping(_a_o, self.weights.p_o)",
        ),
        (
            "functions: o has the candidate's",
            "o = Formula(_o, (_a_o,), lambda _, a: gate(a))",
            "o = Formula(_o, (_a_o,), lambda _, a: candidate(a))",
        ),
        ("functions: c goes out through tanh", "lambda _, o, c: o * output(c)", "lambda _, o, c: o * torch.tanh(c)"),
        ("lstm: the fast path for any function", " and activations == STANDARD", ""),
        ("peepholes: every step opened from the first c", "            c = steps[-1][_c]\n", ""),
    ),
    *mutations_of(
        "probe/cells/lstm.py",
        "test_custom_cell_edits.py",
        (
            "peepholes: an edited c does not reach o",
            "Formula(signal, (_c,), lambda moment, c: moment.given[signal] + p * c)",
            "Formula(signal, (), lambda moment: moment.given[signal])",
        ),
    ),
    *mutations_of(
        "probe/cells/gru.py",
        "test_custom_cells.py",
        (
            "gru: nothing is reset before the product",
            "affine(r * moment.previous[HIDDEN],",
            "affine(moment.previous[HIDDEN],",
        ),
        (
            "gru: the gates' rows for the candidate",
            "slice(2 * self.units, None)",
            "slice(self.units, 2 * self.units)",
        ),
        (
            "gru: functions ignored",
            "Formula(_n, (_a_n,), lambda _, a: candidate(a))",
            "Formula(_n, (_a_n,), lambda _, a: a.tanh())",
        ),
    ),
    *mutations_of(
        "probe/cells/gru.py",
        "test_custom_cell_edits.py",
        (
            "gru: one unit's reset reaches that unit only",
            "self._recurrent_of_reset, mixes=True)",
            "self._recurrent_of_reset)",
        ),
        (
            "gru: an edited recurrent part does not reach the candidate",
            "Formula(_a_n, (_v,), lambda moment, v: moment.given[_a_n] + v)",
            "Formula(_a_n, (_r, _v), lambda moment, r, v: moment.given[_a_n] + r * v)",
        ),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_custom_cells.py",
        (
            "calls: a learned state ignored",
            "zeros | {signal: value.expand(x.shape[1], -1) for signal, value in layer.learned.items()}",
            "zeros",
        ),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_custom_cell_errors.py",
        ("calls: not checked", "        module.check_call(x, state)\n", "        pass\n"),
    ),
    *mutations_of(
        "probe/layers.py",
        "test_custom_cells.py",
        ("layers: h_0 for c_0", "Signal.CELL_STATE: self.module.c_0}", "Signal.CELL_STATE: self.module.h_0}"),
        ("layers: modules of our own not found", "(nn.LSTM, nn.GRU, nn.RNN, OwnModule)", "(nn.LSTM, nn.GRU, nn.RNN)"),
    ),
    *mutations_of(
        "probe/kernels.py",
        "test_custom_cell_edits.py",
        ("kernels: torch's kernel for modules of our own", "if isinstance(module, OwnModule):", "if False:"),
    ),
    *mutations_of(
        "probe/free_running.py",
        "test_custom_cells.py",
        ("check=False: modules of our own refused", "for kind in (*_KINDS, CustomModule)]", "for kind in _KINDS]"),
    ),
    *mutations_of(
        "probe/inspection.py",
        "test_custom_cells.py",
        ("inspect: learned states not counted", ", *layer.learned.values())", ")"),
    ),
    *mutations_of(
        "probe/custom.py",
        "test_custom_cells.py",
        (
            "custom: learned states drawn",
            "                parameter.zero_()\n",
            "                parameter.uniform_(-bound, bound)\n",
        ),
        (
            "custom: f's peephole for i",
            "            self.weight_peephole_i,\n            self.weight_peephole_f,",
            "            self.weight_peephole_f,\n            self.weight_peephole_i,",
        ),
        ("custom: reset after", 'self.options["reset"] == "before"', "False"),
        (
            "custom: the gate's function for all",
            "(ACTIVATIONS[self.options.get(name, usual)] for",
            '(ACTIVATIONS[self.options.get("gate_activation", usual)] for',
        ),
        ("custom: a narrower draw", "self.hidden_size**-0.5", "self.hidden_size**-1"),
        (
            "custom: initial states ignored",
            "run(call.x, call.initial[0], (HIDDEN,))",
            "run(call.x, {s: 0 * v for s, v in call.initial[0].items()}, (HIDDEN,))",
        ),
    ),
    *mutations_of(
        "probe/custom.py",
        "test_custom_cell_errors.py",
        ("custom: packed input let in", "        if isinstance(x, PackedSequence):\n", "        if False:\n"),
        ("custom: no step let in", " or 0 in shape:", ":"),
        ("custom: any hx let in", "if found != [wanted] * self.states:", "if False:"),
        ("custom: any size let in", "not isinstance(size, int) or size < 1", "not isinstance(size, int) or size < 0"),
    ),
)
