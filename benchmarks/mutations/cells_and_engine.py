"""What goes wrong inside one layer's run: the cells, opening a call, running it again with changes."""

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
            "i = Formula(_i, (_a_i,), lambda _, a: gate(a))",
            "i = Formula(_i, (_a_i,), lambda _, a: candidate(a))",
        ),
        (
            "lstm: sigmoid for tanh",
            "g = Formula(_g, (_a_g,), lambda _, a: candidate(a))",
            "g = Formula(_g, (_a_g,), lambda _, a: gate(a))",
        ),
        ("lstm: nothing is forgotten", "written[t].add_(torch.mul(f[t], c, out=product))", "written[t].add_(c)"),
        ("lstm: c not carried on", "written[t].add_(torch.mul(f[t], c, out=product))", "written[t]"),
        (
            "lstm: a gate of another function",
            "_FUNCTIONS = (torch.sigmoid, torch.sigmoid, torch.tanh,",
            "_FUNCTIONS = (torch.sigmoid, torch.tanh, torch.tanh,",
        ),
        (
            "lstm: a stretch starts from the first c",
            "c = _scan(cells, f, c)[-1]",
            "_ = _scan(cells, f, c)",
        ),
        ("lstm: a stretch starts from the first h", "            previous = h[part][-1:]\n", ""),
        (
            "lstm: a free run without its initial c",
            "c, h = initial[_c], initial[HIDDEN]",
            "c, h = torch.zeros_like(initial[_c]), initial[HIDDEN]",
        ),
    ),
    *mutations_of(
        "probe/cells/lstm.py",
        "test_edit_kinds.py",
        (
            "lstm: nothing is forgotten in an edited step",
            "f * moment.previous[_c] + i * g",
            "moment.previous[_c] + i * g",
        ),
    ),
    *mutations_of(
        "probe/cells/lstm.py",
        "test_edits.py",
        ("lstm: h from c without tanh in an edited step", "lambda _, o, c: o * output(c)", "lambda _, o, c: o * c"),
        ("lstm: c under autograd", "            c = f[t] * c + written[t]\n", "            c = f[t] * c\n"),
    ),
    *mutations_of(
        "probe/cells/lstm.py",
        "test_layers_of_every_kind.py",
        (
            "lstm: projection left out",
            "torch.nn.functional.linear(u, P), mixes=True",
            "u[..., : len(P)], mixes=True",
        ),
    ),
    *mutations_of(
        "probe/cells/lstm.py",
        "test_sweep.py",
        (
            "lstm: one unit's projection reaches one unit",
            "torch.nn.functional.linear(u, P), mixes=True",
            "torch.nn.functional.linear(u, P)",
        ),
    ),
    *mutations_of(
        "probe/cells/cell.py",
        "test_recording.py",
        (
            "cells: one bias left out",
            "return affine(h, self.weights.U, self.weights.b_hh)",
            "return affine(h, self.weights.U, None)",
        ),
        (
            "cells: previous h off by one",
            "torch.cat([state[HIDDEN].to(h.dtype).unsqueeze(0), h[:-1]])",
            "h",
        ),
        (
            "cells: initial h ignored",
            "torch.cat([state[HIDDEN].to(h.dtype).unsqueeze(0), h[:-1]])",
            "torch.cat([torch.zeros_like(h[:1]), h[:-1]])",
        ),
        (
            "cells: a stretch starts from the first states",
            "signals, errors[part], state = self._open_part",
            "signals, errors[part], _ = self._open_part",
        ),
    ),
    *mutations_of(
        "probe/cells/cell.py",
        "test_layers_of_every_kind.py",
        (
            "cells: a free run does not hand its state on",
            "state = {signal: after[signal] for signal in self.states}",
            "state = dict(initial)",
        ),
    ),
    *mutations_of(
        "probe/cells/cell.py",
        "test_watch.py",
        ("cells: h recomputed and not the module's", "        signals[HIDDEN] = h\n", ""),
    ),
    *mutations_of(
        "probe/cells/cell.py",
        "test_traps.py",
        (
            "cells: h compared with itself",
            "_difference(signals[HIDDEN].detach(), h.detach())",
            "_difference(h.detach(), h.detach())",
        ),
    ),
    *mutations_of(
        "probe/cells/gru.py",
        "test_layers_of_every_kind.py",
        ("gru: r and z exchanged in x", "x_r, x_z, x_n = inputs", "x_z, x_r, x_n = inputs"),
        ("gru: r and n exchanged in h", "h_r, h_z, h_n = self", "h_n, h_z, h_r = self"),
        ("gru: nothing is reset", "moment.given[_a_n] + r * v)", "moment.given[_a_n] + v)"),
        ("gru: the whole candidate is reset", "moment.given[_a_n] + r * v)", "r * (moment.given[_a_n] + v))"),
        (
            "gru: z for 1 - z",
            "(moment.previous[HIDDEN] - n) * z + n",
            "(n - moment.previous[HIDDEN]) * z + moment.previous[HIDDEN]",
        ),
        ("gru: reset before the product in torch's", "reset_before: bool = False", "reset_before: bool = True"),
    ),
    *mutations_of(
        "probe/cells/rnn.py",
        "test_layers_of_every_kind.py",
        ("rnn: tanh for any function", "lambda _, a: activation(a)", "lambda _, a: torch.tanh(a)"),
        ("rnn: h left out", "{_a: inputs + self.recurrent(previous)}", "{_a: inputs}"),
    ),
    *mutations_of(
        "probe/cells/narrow.py",
        "test_edits.py",
        (
            "narrow: f for g",
            "doubled[2 * units : 3 * units] = 2",
            "doubled[units : 2 * units] = 2",
        ),
        ("narrow: initial c ignored", "state[_c][rows].T", "torch.zeros_like(state[_c][rows].T)"),
        (
            "narrow: the first input at every step",
            "            read[:inputs] = x[t, rows].T\n            torch",
            "            read[:inputs] = x[0, rows].T\n            torch",
        ),
        (
            "narrow: rows of the first block only",
            "slice(start, min(start + _BLOCK, batch))",
            "slice(0, min(_BLOCK, batch))",
        ),
    ),
    *mutations_of(
        "probe/cells/narrow.py",
        "test_machines.py",
        ("narrow: the last of the first input", "if t:\n", "if t < 0:\n"),
        ("narrow: c of the start at every step", "            before = now\n", "            pass\n"),
        ("narrow: half of the candidate", "addcmul_(i, g, value=2)", "addcmul_(i, g, value=1)"),
        (
            "narrow: rows of a block left out",
            "for first in range(0, batch, _BLOCK)",
            "for first in range(0, batch, 2 * _BLOCK)",
        ),
        (
            "narrow: other units in the layer's order",
            "for unit in (*units, *others)",
            "for unit in range(cell.units)",
        ),
        ("narrow: a head without its bias", "torch.addmm(bias.unsqueeze(1), weight, x.T)", "(weight @ x.T)"),
        ("narrow: a softmax over the other axis", "torch.softmax(x.T, 0).T", "torch.softmax(x, 0)"),
        ("narrow: an argmax over the other axis", "x.T.max(0).indices", "x.max(0).indices"),
        ("narrow: the first of several for the stack", "len(tensors) > 1 or args", "args"),
    ),
    *mutations_of(
        "probe/cells/narrow.py",
        "test_layers_of_every_kind.py",
        ("narrow: opened without its initial h", "read[inputs:, 0] = state[HIDDEN].T", "read[inputs:, 0] = 0"),
        ("narrow: opened without its initial c", "cells, c = i * g, state[_c].T", "cells, c = i * g, f[:, 0] * 0"),
        ("narrow: opened from the same step's h", "= h[:-1].permute(2, 0, 1)", "= h[1:].permute(2, 0, 1)"),
        ("narrow: nothing compared", "recomputed.sub_(h.permute(2, 0, 1)).abs_()", "recomputed.mul_(0)"),
    ),
    *mutations_of(
        "probe/traces.py",
        "test_recording.py",
        ("traces: tolerance ignored", "if tolerance is None else tolerance", "if tolerance is None else 1e-5"),
    ),
    *mutations_of(
        "probe/traces.py",
        "test_recording_errors.py",
        ("traces: c_n not compared", "        by_step[-1] = torch.maximum(by_step[-1], last)\n", ""),
        ("traces: error of NaN is small", 'nan_to_num(nan=float("inf"))', "nan_to_num(nan=0.0)"),
        ("traces: float64 checked as float32", "torch.float64: 1e-10", "torch.float64: 1e-5"),
    ),
    *mutations_of(
        "probe/traces.py",
        "test_packed.py",
        (
            "traces: padding compared",
            "        errors = errors.masked_fill(~valid.to(errors.device), 0)\n",
            "",
        ),
        ("traces: the last step but one is last", "(lengths - 1).to", "(lengths - 2).clamp(min=0).to"),
        (
            "traces: h_n of a row that is not its own end",
            "state = {signal: last_valid(signals[signal], self.lengths)",
            "state = {signal: signals[signal][-1]",
        ),
    ),
    *mutations_of(
        "probe/traces.py",
        "test_layers_of_every_kind.py",
        (
            "traces: directions exchanged",
            "h.chunk(len(sides), dim=-1), strict",
            "h.chunk(len(sides), dim=-1)[::-1], strict",
        ),
        (
            "traces: the first layer's output is the module's",
            "h = top if level == layers[-1].level else ",
            "h = top if level == 0 else ",
        ),
        ("traces: last states of the first layer", "finals[layer.place],", "finals[0],"),
        ("traces: initial states by level", "call.initial[layer.place],", "call.initial[level],"),
        ("traces: a reverse layer reads forwards", "own_order(x, layer, call.lengths),", "x,"),
    ),
    *mutations_of(
        "probe/traces.py",
        "test_edit_kinds.py",
        (
            "traces: resumes from the h after the step",
            "self.h[step - 1] if signal == HIDDEN",
            "self.h[step] if signal == HIDDEN",
        ),
        (
            "traces: resumes from the c after the step",
            "else self.signals[signal][step - 1]",
            "else self.signals[signal][step]",
        ),
        ("traces: the first step resumes from the last", "if step == 0:", "if step < 0:"),
        (
            "traces: a reverse layer is read in its own order",
            "sides = [own_order(trace.h, trace.layer, trace.lengths) for trace in traces]",
            "sides = [trace.h for trace in traces]",
        ),
    ),
    *mutations_of(
        "probe/traces.py",
        "test_left_as_found.py",
        ("traces: dropout between layers ignored", "x = dropped(h, masks[level])", "x = h"),
    ),
    *mutations_of(
        "probe/kernels.py",
        "test_layers_of_every_kind.py",
        (
            "kernels: states of the lowest level",
            "part[layers[0].place : layers[-1].place + 1]",
            "part[: len(layers)]",
        ),
        ("kernels: tanh for relu", '"tanh") == "relu"', '"tanh") == "none"'),
        (
            "kernels: biases left out",
            "module.bias, 1, 0.0, module.training, False, False",
            "False, 1, 0.0, module.training, False, False",
        ),
    ),
    *mutations_of(
        "probe/kernels.py",
        "test_packed.py",
        (
            "kernels: states not sorted as the input is",
            "part if order is None else part.index_select(1, order)",
            "part",
        ),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_edits.py",
        (
            "engine: steps before the edit are not kept",
            "hidden = [natural.h[: steps[0]]]",
            "hidden = [natural.h[: steps[0]] * 0]",
        ),
        ("engine: last step dropped", "slice(step + 1, following)", "slice(step + 1, following - 1)"),
        (
            "engine: h stale after a patch of c",
            "_choose(value, computed, differs, reached[signal])",
            "_choose(value, computed, differs & (signal != HIDDEN), reached[signal])",
        ),
        ("engine: every unit recomputed", "_choose(value, computed, differs, reached[signal])", "computed"),
        ("engine: second edit starts from the natural run", "if step != steps[0]:", "if False:"),
        ("engine: rows that an edit left are not kept", "            h = rows.choose(natural.h[stretch], h)\n", ""),
        (
            "engine: of few rows that an edit left none is kept",
            "changed.index_copy_(-2, stayed, natural.index_select(-2, stayed)) if len(stayed) else changed",
            "changed",
        ),
        ("engine: only the latest edit's rows change", "        rows = rows | own\n", "        rows = own\n"),
        (
            "engine: c_n of rows that an edit left",
            "final=rows.choose_each(natural.final, final))",
            "final=final)",
        ),
        ("engine: c_n not updated", "final=rows.choose_each(natural.final, final))", "final=natural.final)"),
        (
            "engine: resumes from the unedited h",
            "state = {signal: after[signal] if signal in after else",
            "state = {signal: after[signal] if signal in after and signal != HIDDEN else",
        ),
        (
            "engine: resumes from the unedited c",
            "state = {signal: after[signal] if signal in after else",
            "state = {signal: after[signal] if signal in after and signal == HIDDEN else",
        ),
        (
            "engine: rows that h alone changed are forgotten",
            "for signal in cell.states:\n        if signal in marked",
            "for signal in cell.states[1:]:\n        if signal in marked",
        ),
        (
            "engine: rows that c alone changed are forgotten",
            "for signal in cell.states:\n        if signal in marked",
            "for signal in cell.states[:1]:\n        if signal in marked",
        ),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_edit_kinds.py",
        ("engine: resumes from the first state", "natural.before(steps[0]), torch", "natural.initial, torch"),
        ("engine: the layers above are not run", "above = level + 1 < levels(run.layers[0].module)", "above = False"),
        (
            "engine: a layer above sees the first step only",
            "moved = (x != natural.x).any(-1).any(0)",
            "moved = (x != natural.x).any(-1)[0]",
        ),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_left_as_found.py",
        ("engine: dropout ignored in an edited run", "dropped(join(sides), run.masks[level])", "join(sides)"),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_packed.py",
        ("engine: h_n of an edited run after the padding", "if natural.lengths is not None:", "if False:"),
    ),
    *mutations_of(
        "probe/engine.py",
        "test_edit_gradients.py",
        (
            "engine: no gradient through an edit that changes nothing",
            "_SameValue.apply(natural, changed) if on_path else natural",
            "natural",
        ),
        ("engine: gradient of the natural run", "return None, gradients[0]", "return gradients[0], None"),
    ),
)
