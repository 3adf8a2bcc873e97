"""What goes wrong inside one layer's run."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/cells/lstm.py",
        "test_recording.py",
        (
            "lstm: i and f exchanged",
            "GATES = (Signal.INPUT_GATE, Signal.FORGET_GATE,",
            "GATES = (Signal.FORGET_GATE, Signal.INPUT_GATE,",
        ),
        (
            "lstm: pre-activations exchanged",
            "    Signal.INPUT_GATE_PREACTIVATION,\n    Signal.FORGET_GATE_PREACTIVATION,",
            "    Signal.FORGET_GATE_PREACTIVATION,\n    Signal.INPUT_GATE_PREACTIVATION,",
        ),
        (
            "lstm: tanh for a sigmoid",
            "functions = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid)",
            "functions = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.tanh)",
        ),
        (
            "lstm: sigmoid for tanh",
            "functions = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid)",
            "functions = (torch.sigmoid, torch.sigmoid, torch.sigmoid, torch.sigmoid)",
        ),
        ("lstm: one bias left out", "linear(h, weights.U, weights.b_hh)", "linear(h, weights.U)"),
        ("lstm: nothing is forgotten", "torch.mul(f[t], c, out=states[t])", "states[t].copy_(c)"),
        ("lstm: c not written", ".add_(written[t])", ""),
    ),
    *mutations_of(
        "probe/cells/lstm.py",
        "test_edits.py",
        ("lstm: h from c without tanh in an edited step", "lambda o, c: o * torch.tanh(c)", "lambda o, c: o * c"),
        ("lstm: c under autograd", "            c = f[t] * c + written[t]\n", "            c = f[t] * c\n"),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_recording.py",
        ("engine: previous h off by one", "torch.cat([initial[_h].unsqueeze(0).to(h.dtype), h[:-1]])", "h"),
        (
            "engine: initial h ignored",
            "torch.cat([initial[_h].unsqueeze(0).to(h.dtype), h[:-1]])",
            "torch.cat([torch.zeros_like(h[:1]), h[:-1]])",
        ),
        (
            "engine: initial c ignored",
            "lstm.cell_states(signals, initial[_c])",
            "lstm.cell_states(signals, torch.zeros_like(initial[_c]))",
        ),
        (
            "engine: h recomputed and not the module's",
            "    signals[_h] = h\n",
            "    signals[_h] = signals[Signal.OUTPUT_GATE] * torch.tanh(signals[_c])\n",
        ),
        (
            "engine: tolerance ignored",
            "if tolerance is None else tolerance",
            "if tolerance is None else _TOLERANCE.get(dtype, 1e-5)",
        ),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_recording_errors.py",
        ("engine: c_n not compared", "    by_step[-1] = torch.maximum(by_step[-1], last.detach())\n", ""),
        ("engine: h compared with itself", "(recomputed - h).abs_()", "(h - h).abs_()"),
        ("engine: error of NaN is small", 'float("inf")).argmax()', "0.0).argmax()"),
        ("engine: NaN passes the check", "if not opened.max_error <= allowed:", "if opened.max_error > allowed:"),
        ("engine: float64 checked as float32", "torch.float64: 1e-10", "torch.float64: 1e-5"),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_edits.py",
        (
            "engine: last step dropped",
            "stretch = slice(step + 1, following + 1)",
            "stretch = slice(step + 1, following)",
        ),
        (
            "engine: edit applied one step late",
            "at=step: change(signal, at, value)",
            "at=step: change(signal, at - 1, value)",
        ),
        (
            "engine: h stale after a patch of c",
            "result = _choose(value, formula(*inputs), differs, follows)",
            "result = _choose(value, formula(*inputs), differs & (signal != _h), follows)",
        ),
        (
            "engine: every unit recomputed",
            "result = _choose(value, formula(*inputs), differs, follows)",
            "result = formula(*inputs)",
        ),
        (
            "engine: untouched rows not kept",
            "_choose(natural.signals[signal][stretch], value, moved[:, None], reached[:, None])",
            "value",
        ),
        (
            "engine: only the latest edit's rows change",
            "moved, reached = moved | rows[0], reached | rows[1]",
            "moved, reached = rows",
        ),
        (
            "engine: c_n of untouched rows not kept",
            "    c_last = _choose(natural.c_last, c_last, moved[:, None], reached[:, None])\n",
            "",
        ),
        (
            "engine: c_n not updated",
            "c_last = _choose(natural.c_last, c_last, moved[:, None], reached[:, None])",
            "c_last = natural.c_last",
        ),
        (
            "engine: c_n of an edit at the last step",
            "        c_last = after[_c]\n",
            "        c_last = natural.c_last\n",
        ),
        (
            "engine: resumes from the unedited h",
            "state = {_h: after[_h], _c: after[_c]}",
            "state = {_h: before[_h], _c: after[_c]}",
        ),
        (
            "engine: resumes from the unedited c",
            "state = {_h: after[_h], _c: after[_c]}",
            "state = {_h: after[_h], _c: before[_c]}",
        ),
        (
            "engine: second edit starts from the natural run",
            "                before = {signal: value[-1] for signal, value in run.items()}",
            "                before = {signal: value[following] for signal, value in natural.signals.items()}",
        ),
        (
            "engine: steps before the edit are not kept",
            "value[: steps[0]] for signal",
            "value[: steps[0]] * 0 for signal",
        ),
        ("engine: rows that h alone changed are forgotten", "((mask[_c] | mask[_h]).any(-1)", "(mask[_c].any(-1)"),
        ("engine: the inner run ignores batch_first", "x.transpose(0, 1) if module.batch_first else x", "x"),
    ),
    *mutations_of(
        "probe/layers.py",
        "test_recording.py",
        ("layers: batch_first ignored in the input", "    elif layer.module.batch_first:\n", "    elif False:\n"),
        (
            "layers: batch_first ignored in the output",
            "return (h.transpose(0, 1) if layer.module.batch_first else h), c[0]",
            "return h, c[0]",
        ),
        ("layers: given states ignored", 'given.get("hx")', "None"),
        ("layers: h and c exchanged", "h, c = (part[0]", "c, h = (part[0]"),
        ("layers: bias ignored", "if module.bias else (None, None)", "if not module.bias else (None, None)"),
        ("layers: keywords ignored", "strict=False)) | dict(keywords)", "strict=False))"),
        ("layers: names ignored", "for name in found if name in wanted)", "for name in found)"),
        ("layers: wrappers' prefixes kept", '_WRAPPERS = ("_orig_mod.", "module.")', "_WRAPPERS = ()"),
    ),
    *mutations_of(
        "probe/layers.py",
        "test_edits.py",
        (
            "layers: batch_first ignored in the edited output",
            "output = h.transpose(0, 1) if layer.module.batch_first else h",
            "output = h",
        ),
        (
            "layers: edited h_n not updated",
            "return output, (h[-1:], c.unsqueeze(0))",
            "return output, (h[:1], c.unsqueeze(0))",
        ),
        (
            "layers: unbatched edits return a batch",
            "return h[:, 0], (h[-1], c)",
            "return h, (h[-1:], c.unsqueeze(0))",
        ),
    ),
    *mutations_of(
        "probe/layers.py",
        "test_recording_errors.py",
        ("layers: stacks misread", "plain = module.num_layers == 1 and ", "plain = "),
        ("layers: directions misread", "not module.bidirectional and ", ""),
        ("layers: projections misread", " and module.proj_size == 0", ""),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_edit_gradients.py",
        (
            "engine: no gradient through an edit that changes nothing",
            "_kept(natural, changed), natural))",
            "natural, natural))",
        ),
        ("engine: gradient of the natural run", "return None, gradients[0]", "return gradients[0], None"),
    ),
)
