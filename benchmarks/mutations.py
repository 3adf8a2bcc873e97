"""What `benchmarks.mutants` breaks by hand: lines of theorems and contracts that no operator of cosmic-ray can break.

They have no number, comparison, operator or condition in them: an argument is another one's, a state is left out, a
call is not made.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """A deliberate defect, and who must notice it.

    Attributes:
        name: what goes wrong.
        module: the module that is changed, such as `probe.recurrent.cells.lstm`.
        old: code that stands there exactly once.
        new: what stands there instead.
        test: the file of tests of which one must fail, from the repository's root; or one test of it, `FILE::NAME`.
    """

    name: str
    module: str
    old: str
    new: str
    test: str


def of(module: str, test: str, *changes: tuple[str, str, str]) -> tuple[Mutation, ...]:
    """Return mutations (name, old, new) of one module that one test or one file of tests must notice."""
    return tuple(Mutation(name, module, old, new, test) for name, old, new in changes)


MUTATIONS: tuple[Mutation, ...] = (
    *of(
        "probe.recurrent.cells.checking",
        "tests/recurrent/test_own_cells.py",
        ("own cells: what is given may be read anywhere", "{formula.signal}", "set(cell.signals)"),
    ),
    *of(
        "probe.recurrent.memory",
        "tests/recording/test_size.py",
        ("memory: files that are cached are in use", "min(cached, used)", "0"),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/recording/test_recording.py",
        (
            "lstm: i and f exchanged",
            "(Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE)",
            "(Signal.FORGET_GATE, Signal.INPUT_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE)",
        ),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/hooks/test_instrument_properties.py::test_every_signals_gradient_is_the_oracles",
        (
            "lstm: sigmoid for tanh",
            "Formula(_g, (_a_g,), lambda _, a: candidate(a))",
            "Formula(_g, (_a_g,), lambda _, a: gate(a))",
        ),
        ("lstm: projection left out", "torch.nn.functional.linear(u, P)", "u[..., : len(P)]"),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/recurrent/test_custom_cells.py",
        (
            "peepholes: o sees the previous cell state",
            "_peeping_at_new(_a_o, self.weights.p_o)",
            "_peeping(_a_o, self.weights.p_o)",
        ),
    ),
    *of(
        "probe.recurrent.cells.cell",
        "tests/recording/test_recording.py::test_a_replaced_forward_makes_max_error_raise",
        ("cells: max_error compares h with itself", "signals[HIDDEN].detach()", "h.detach()"),
    ),
    *of(
        "probe.recurrent.cells.lstm",
        "tests/recording/test_size.py",
        ("lstm: max_error of an opened run is 0", "u.sub_(h)", "u.sub_(u)"),
        ("lstm: max_error of few units is 0", "np.abs(u, out=u)", "u * 0"),
    ),
    *of(
        "probe.recurrent.runs",
        "tests/recording/test_recording.py",
        ("traces: the error of NaN is small", 'float("inf")', "0.0"),
    ),
    *of(
        "probe.recurrent.runs",
        "tests/recurrent/test_layers_of_every_kind.py",
        ("traces: a reverse layer reads forwards", "own_order(x, layer, call.lengths)", "x"),
    ),
    *of(
        "probe.recurrent.rounding",
        "tests/recurrent/test_rounding.py",
        ("rounding: it explains any difference", "min(most, explained)", "explained"),
        ("rounding: noise is taken for it", "cell.retyped(mode.of) if isinstance(cell, StepCell) else cell", "cell"),
    ),
    *of(
        "probe.recurrent.steps.trails",
        "tests/recurrent/test_cells_in_loops.py",
        ("trails: a state that is set to zero goes on", "name in _ANEW", "False"),
    ),
    *of(
        "probe.recurrent.cells.step_cell",
        "tests/recurrent/test_wrong_steps.py",
        ("steps: outputs are not compared", "difference(after[OUTPUT].detach(), h[step].detach())", "0"),
    ),
    *of(
        "probe.hooks.episode_edits",
        "tests/hooks/test_rollouts.py",
        ("rollout: an edit acts at every step", "edit.site.steps is None or step in edit.site.steps", "True"),
        ("rollout: a function is told the environment's step", "(step,)", "(0,)"),
    ),
    *of(
        "probe.recurrent.surroundings",
        "tests/hooks/test_sessions.py",
        ("contexts: another thread takes them along", "one.thread == here", "True"),
    ),
    *of(
        "probe.hooks.taps",
        "tests/hooks/test_instrument_properties.py::test_every_signals_gradient_is_the_oracles",
        ("gradients: taps off the path", "torch.ones_like(own)", "own"),
    ),
    *of(
        "probe.methods.clean_run",
        "tests/methods/test_machines.py",
        ("clean run: rows of other starts share prefixes", "self.starts.numpy()", "None"),
    ),
    *of(
        "probe.storage.files",
        "tests/storage/test_files.py",
        ("files: written in place", "os.replace(temporary, path)", "path.write_bytes(data)"),
    ),
    *of(
        "probe.loading.formats.pickled",
        "tests/loading/test_hostile.py::test_an_archive_of_torchscript_calls_nothing",
        (
            "pickles: every name is found",
            'raise RefusedError(f"{module}.{name}")',
            "return super().find_class(module, name)",
        ),
    ),
    *of(
        "probe.hooks.sweeping.sweep",
        "tests/hooks/test_sweep.py::test_what_a_model_reads",
        ("sweep: an edit makes the model read on", "has_nan(output)", "False"),
    ),
    *of(
        "probe.hooks.sweeping.unedited",
        "tests/hooks/test_sweep.py::test_what_a_model_reads",
        ("sweep: steps are not written that are read", "all(same)", "True"),
    ),
    *of(
        "probe.recurrent.again.engine",
        "tests/hooks/test_instrument_properties.py::test_every_signal_takes_every_kind_of_edit",
        (
            "engine: h stale after a patch of c",
            "choose(value, computed, differs, reached[signal])",
            "choose(value, computed, differs & (signal != HIDDEN), reached[signal])",
        ),
    ),
    *of(
        "probe.recurrent.again.engine",
        "tests/edits/test_edits.py::test_patching_with_a_runs_own_values_changes_no_bit",
        ("engine: a patch with itself changes bits", "choose(value, computed, differs, reached[signal])", "computed"),
    ),
    *of(
        "probe.recurrent.again.engine",
        "tests/hooks/test_instrument_properties.py::test_every_signal_takes_every_kind_of_edit",
        (
            "engine: a second edit starts from the clean run",
            "choose(at_rest[signal], stepped[signal], *marks)",
            "at_rest[signal]",
        ),
        ("engine: resumes from the first state", "clean.before(step)", "clean.initial"),
    ),
    *of(
        "probe.edits.resolve",
        "tests/edits/test_kinds.py",
        (
            "edits: a later one does not see the earlier one's",
            "one.put(changed[where], step)",
            "one.put(value[where], step)",
        ),
    ),
    *of(
        "probe.edits.kinds",
        "tests/hooks/test_instrument_properties.py::test_every_signal_takes_every_kind_of_edit",
        (
            "edits: the source's first step at every step",
            "self.values[rows, place.positions]",
            "self.values[rows, 0]",
        ),
    ),
    *of(
        "probe.intervals",
        "tests/evidence/test_findings.py",
        ("statistics: a share by Wilson", '"exact"', '"wilson"'),
    ),
    *of(
        "probe.evidence.claims",
        "tests/evidence/test_claims.py",
        (
            "claims: the difference to a control unpaired",
            "[(value, others[pair]) for (_, pair), value in values.items() if pair in others]",
            "list(zip(values.values(), others.values()))",
        ),
        (
            "claims: the median decides, not the interval",
            "rule.established_if.covers(interval)",
            "sum(interval) / 2 in rule.established_if",
        ),
    ),
    *of(
        "probe.methods.decomposition.gates",
        "tests/methods/test_tables.py",
        ("gates: frozen at another step's mean", "means[signal][step]", "means[signal][0]"),
    ),
    *of(
        "probe.methods.causal.task",
        "tests/methods/test_interchange.py",
        ("interchange: base and source swapped", "self.so_far(source, step)", "self.so_far(base, step)"),
    ),
    *of(
        "probe.methods.causal.erasure",
        "tests/repo/test_leace_reference.py",
        (
            "leace: no whitening",
            "Eraser(mean, unwhiten @ directions, directions.T @ whiten)",
            "Eraser(mean, directions, directions.T)",
        ),
    ),
    *of(
        "probe.methods.causal.alignment_controls",
        "tests/methods/test_alignment.py::test_halves_split_prefixes_and_not_rows",
        ("alignment: held-out prefixes leak into training", "Half(*parts)", "Half(rows, parts[1])"),
    ),
    *of(
        "probe.methods.fixed_points",
        "tests/methods/test_dynamics.py",
        (
            "dynamics: the Jacobian's rows are its columns",
            "found.view(rows, size, size)",
            "found.view(rows, size, size).mT",
        ),
    ),
    *of(
        "probe.methods.probing.linear",
        "tests/studies/test_symbols.py::test_the_score_of_a_category_does_not_depend_on_how_rare_it_is",
        ("studies: a rare category weighs less in the fit", '"balanced"', "None"),
    ),
    *of(
        "probe.subjects.pairs",
        "tests/studies/test_splices.py::test_the_scale_ends_at_the_networks_own_answers",
        ("studies: pairs that the network answers wrong count", "_only(rest, right)", "rest"),
    ),
    *of(
        "probe.recurrent.random_weights",
        "tests/studies/test_parts.py::test_shuffled_weights_keep_each_gates_numbers_and_fresh_ones_torchs_bounds",
        ("studies: the gates of shuffled weights are mixed", "parameter.split(units)", "(parameter,)"),
    ),
    *of(
        "probe.plots.sequences",
        "tests/plots/test_sequences.py",
        ("plots: a token is read as HTML", "escape(token)", "token"),
    ),
)
