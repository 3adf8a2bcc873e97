"""What goes wrong where networks run: formulas, edits, recordings, and the networks of other frameworks."""

from __future__ import annotations

from .mutation import Mutation, of

CELLS: tuple[Mutation, ...] = (
    *of(
        "probe.recurrent.cells.checking",
        "tests/wheel/test_own_cells.py",
        ("own cells: units are not tried", "_check_numbers", "not formula.mixes", "formula.mixes"),
        ("own cells: what is given may be read anywhere", "_run", "{formula.signal}", "set(cell.signals)"),
    ),
    *of(
        "probe.recurrent.finding",
        "tests/wheel/test_own_cells.py",
        (
            "own cells: tried with their own weights alone",
            "_check_own",
            "_redrawn(module, torch.Generator().manual_seed(0))",
            "module",
        ),
    ),
    *of(
        "probe.hooks.memory",
        "tests/wheel/test_memory.py",
        ("memory: the system's limit alone", "free", "max(0, min(found))", "max(0, max(found))"),
        ("memory: files that are cached are in use", "_left", "min(cached, used)", "0"),
    ),
    *of(
        "probe.recurrent.refusals",
        "tests/wheel/test_call_kinds.py",
        ("calls: autocast is passed over", "_check_surroundings", "computed is not None", "False"),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/wheel/test_recording.py",
        (
            "lstm: i and f exchanged",
            "",
            "(Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE)",
            "(Signal.FORGET_GATE, Signal.INPUT_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE)",
        ),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/wheel/test_edit_kinds.py",
        ("lstm: c = c + i g", "LSTMCell.formulas", "f * moment.previous[_c] + i * g", "moment.previous[_c] + i * g"),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/wheel/test_edits.py::test_a_patched_cell_state_enters_the_recurrence",
        ("lstm: h = o c", "LSTMCell.formulas", "o * output(c)", "o * c"),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/wheel/test_gradients_of.py",
        (
            "lstm: sigmoid for tanh",
            "LSTMCell.formulas",
            "Formula(_g, (_a_g,), lambda _, a: candidate(a))",
            "Formula(_g, (_a_g,), lambda _, a: gate(a))",
        ),
        (
            "lstm: projection left out",
            "LSTMCell.formulas",
            "torch.nn.functional.linear(u, P)",
            "u[..., : len(P)]",
        ),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/wheel/test_custom_cells.py",
        (
            "peepholes: o sees the previous cell state",
            "LSTMCell.formulas",
            "_peeping_at_new(_a_o, self.weights.p_o)",
            "_peeping(_a_o, self.weights.p_o)",
        ),
    ),
    *of(
        "probe.recurrent.cells.cell",
        "tests/wheel/test_recording.py",
        (
            "cells: a step starts from its own h",
            "Cell.recompute",
            "torch.cat([state[HIDDEN].to(h.dtype).unsqueeze(0), h[:-1]])",
            "h",
        ),
    ),
    *of(
        "probe.recurrent.cells.cell",
        "tests/wheel/test_traps.py::test_a_replaced_forward_makes_max_error_raise",
        ("cells: max_error compares h with itself", "Cell._open_part", "signals[HIDDEN].detach()", "h.detach()"),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/wheel/test_layers_of_every_kind.py",
        (
            "lstm: a step starts from its own h",
            "LSTMCell._write_preactivations",
            "torch.cat([previous.unsqueeze(0), h[:-1]])",
            "h",
        ),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/wheel/test_openings.py",
        ("lstm: max_error of an opened run is 0", "LSTMCell._apart", "u.sub_(h)", "u.sub_(u)"),
        ("lstm: max_error of few units is 0", "LSTMCell._open_units_first", "np.abs(u, out=u)", "u * 0"),
    ),
    *of(
        "probe.recurrent.cells.scan",
        "tests/wheel/test_openings.py",
        ("scan: stretches begin at zero", "_scan_stretches", "kept[:, 1:] *= ends[:-1]", "kept[:, 1:] *= 0"),
        ("scan: the last steps begin as the first", "_scan_stretches", "written[whole - 1]", "c * 0"),
    ),
    *of(
        "probe.recurrent.cells.recycled",
        "tests/wheel/test_recycled.py",
        ("memory: taken while it is held", "_taken", "references == _ALONE", "references"),
        ("memory: a block of other bytes", "_taken", "block.nbytes == size", "block.nbytes >= step"),
    ),
    *of(
        "probe.recurrent.cells.gru",
        "tests/wheel/test_layers_of_every_kind.py",
        (
            "gru: the whole candidate is reset",
            "GRUCell.__init__",
            "moment.given[_a_n] + r * v",
            "r * (moment.given[_a_n] + v)",
        ),
        (
            "gru: z for 1 - z",
            "GRUCell.__init__",
            "(moment.previous[HIDDEN] - n) * z + n",
            "(n - moment.previous[HIDDEN]) * z + moment.previous[HIDDEN]",
        ),
    ),
    *of(
        "probe.recurrent.cells.gru",
        "tests/wheel/test_custom_cells.py",
        (
            "gru: nothing is reset before the product",
            "GRUCell._recurrent_of_reset",
            "r * moment.previous[HIDDEN]",
            "moment.previous[HIDDEN]",
        ),
    ),
    *of(
        "probe.recurrent.cells.rnn",
        "tests/wheel/test_layers_of_every_kind.py",
        ("rnn: h left out", "RNNCell.given", "inputs + self.recurrent(previous)", "inputs"),
    ),
)
RUNS: tuple[Mutation, ...] = (
    *of(
        "probe.recurrent.runs",
        "tests/wheel/test_recording_errors.py",
        ("traces: the error of NaN is small", "_worst", 'float("inf")', "0.0"),
    ),
    *of(
        "probe.recurrent.runs",
        "tests/wheel/test_packed.py",
        (
            "traces: padding compared",
            "_worst",
            "np.where(np.arange(len(errors))[:, None] < lengths.numpy(), by_step, 0)",
            "by_step",
        ),
    ),
    *of(
        "probe.recurrent.runs",
        "tests/wheel/test_layers_of_every_kind.py",
        ("traces: a reverse layer reads forwards", "reconstruct", "own_order(x, layer, call.lengths)", "x"),
    ),
    *of(
        "probe.recurrent.rounding",
        "tests/recurrent/test_rounding.py",
        ("rounding: the worst number alone counts", "check", "found.times <= _ON_AVERAGE", "True"),
        ("rounding: it explains any difference", "check", "min(most, explained)", "explained"),
        ("rounding: noise is taken for it", "_recomputed", "isinstance(cell, StepCell)", "False"),
    ),
    *of(
        "probe.recurrent.calls",
        "tests/wheel/test_recording.py",
        (
            "calls: h and c exchanged",
            "_initial",
            "zip(layer.states, parts, strict=True)",
            "zip(layer.states, parts[::-1], strict=True)",
        ),
    ),
    *of(
        "probe.recurrent.calls",
        "tests/wheel/test_packed.py",
        ("calls: a reverse row begins in the padding", "own_steps", "lengths - 1 - steps", "lengths - steps"),
    ),
    *of(
        "probe.recurrent.steps.trails",
        "tests/wheel/test_zero_states.py",
        ("trails: a state that is set to zero goes on", "_Trail.__torch_function__", "name in _ANEW", "False"),
    ),
    *of(
        "probe.recurrent.cells.step_cell",
        "tests/wheel/test_steps.py",
        (
            "steps: outputs are not compared",
            "StepCell.open",
            "difference(after[OUTPUT].detach(), h[step].detach())",
            "0",
        ),
        ("steps: an output that is the state does not follow", "StepCell.stepped", "part is y", "False"),
    ),
    *of(
        "probe.hooks.episode_edits",
        "tests/wheel/test_rollouts.py",
        ("rollout: an edit acts at every step", "acting", "step in edit.site.steps", "True"),
        ("rollout: a function is told the environment's step", "_called", "(step,)", "(0,)"),
    ),
    *of(
        "probe.hooks.sessions",
        "tests/wheel/test_sessions.py",
        ("sessions: hooks stay", "_remove_the_dead", "not _everywhere", "False"),
        ("sessions: every thread's calls are edited", "sessions", "_open_here.get()", "tuple(_everywhere)"),
    ),
    *of(
        "probe.hooks.surroundings",
        "tests/wheel/test_backward_passes.py",
        ("sessions: a backward pass is a call", "in_backward", "torch._C._current_graph_task_id() != -1", "False"),
    ),
    *of(
        "probe.hooks.sessions",
        "tests/wheel/test_interrupts.py",
        (
            "sessions: one that is over answers",
            "_alive",
            "session is not None and session._alive",
            "session is not None",
        ),
    ),
    *of(
        "probe.hooks.visits",
        "tests/wheel/test_own_forwards.py",
        (
            "sessions: a forward of its own is run by torch's equations",
            "refuse_own_forward",
            "own_forward(layer.module)",
            '""',
        ),
    ),
    *of(
        "probe.hooks.collector",
        "tests/wheel/test_packed.py",
        (
            "recording: padding holds numbers",
            "Collector._arranged",
            'value.masked_fill(~valid.unsqueeze(-1), float("nan"))',
            "value",
        ),
    ),
    *of(
        "probe.hooks.taps",
        "tests/wheel/test_gradients_of.py",
        ("gradients: taps off the path", "_with_taps.change", "torch.ones_like(own)", "own"),
    ),
    *of(
        "probe.methods.machines",
        "tests/wheel/test_machines.py",
        (
            "machine: goes on with the step that was read",
            "Machine.answers",
            "inputs[rows[part], step + 1 :]",
            "inputs[rows[part], step:]",
        ),
    ),
    *of(
        "probe.methods.clean_run",
        "tests/wheel/test_machines.py",
        ("clean run: rows of other starts share prefixes", "CleanRun.prefixes", "self.starts.numpy()", "None"),
    ),
    *of(
        "probe.storage.files",
        "tests/wheel/test_files.py",
        ("files: written in place", "write_atomically", "os.replace(temporary, path)", "path.write_bytes(data)"),
    ),
)
LOADING: tuple[Mutation, ...] = (
    *of(
        "probe.loading.layouts.keras_arrays",
        "tests/repo/test_loading_keras.py",
        ("keras: a GRU's gates in torch's order", "", "(1, 0, 2)", "(0, 1, 2)"),
    ),
    *of(
        "probe.loading.layouts.tf1_names",
        "tests/repo/test_loading_counters.py",
        ("tf1: gates i j f o read as i f j o", "_lstm", "(0, 2, 1, 3)", "(0, 1, 2, 3)"),
    ),
    *of(
        "probe.loading.layouts.onnx_nodes",
        "tests/repo/test_loading_onnx.py",
        (
            "onnx: linear_before_reset turned round",
            "_spec",
            'node.given.get("linear_before_reset", 0)',
            'not node.given.get("linear_before_reset", 0)',
        ),
    ),
    *of(
        "probe.loading.layouts.haiku_names",
        "tests/repo/test_loading_jax.py",
        ("haiku: nothing added to the forget gate", "", "FORGET_BIAS = 1.0", "FORGET_BIAS = 0.0"),
    ),
    *of(
        "probe.loading.formats.pickled",
        "tests/wheel/test_loading_hostile.py::test_an_archive_of_torchscript_calls_nothing",
        (
            "pickles: every name is found",
            "Reader.find_class",
            'raise RefusedError(f"{module}.{name}")',
            "return super().find_class(module, name)",
        ),
    ),
)
MUTATIONS = (*CELLS, *RUNS, *LOADING)
