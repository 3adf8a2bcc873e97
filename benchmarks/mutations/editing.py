"""What goes wrong where a run is edited: a layer that runs again, sweeps, and the edits themselves."""

from __future__ import annotations

from .mutation import Mutation, of

MUTATIONS: tuple[Mutation, ...] = (
    *of(
        "probe.recurrent.again.blocks",
        "tests/wheel/test_batch_axis.py",
        ("sweep: a block may read anything", "check_blocks", "run is None or not places", "True"),
    ),
    *of(
        "probe.recurrent.rows.independence",
        "tests/hooks/test_dependent_rows.py",
        ("rows: a row may depend on others", "check_independence", "worst <= near * most", "True"),
        ("rows: each keeps its place", "other_order", "draws.sample(places, min((rows + 1) // 2, _MOST))", "places"),
    ),
    *of(
        "probe.hooks.sweeping.sweep",
        "tests/wheel/test_sweep.py::test_what_a_model_reads",
        ("sweep: an edit makes the model read on", "_turn", "has_nan(output)", "False"),
    ),
    *of(
        "probe.hooks.sweeping.unedited",
        "tests/wheel/test_sweep.py::test_what_a_model_reads",
        ("sweep: steps are not written that are read", "_ignores", "all(same)", "True"),
    ),
    *of(
        "probe.hooks.sweeping.resuming",
        "tests/wheel/test_sweep.py::test_rows_and_source_rows",
        ("sweep: edits of one unit share a sheet", "_shared", "max(full.get(unit, 0) for unit in units)", "0"),
    ),
    *of(
        "probe.recurrent.again.fronts",
        "tests/wheel/test_sweep.py",
        ("sweep: rows that stayed run along", "Front.choose", "not len(stayed)", "True"),
    ),
    *of(
        "probe.recurrent.again.engine",
        "tests/wheel/test_edits.py::test_a_patched_cell_state_enters_the_recurrence",
        (
            "engine: h stale after a patch of c",
            "_changed_step",
            "choose(value, computed, differs, reached[signal])",
            "choose(value, computed, differs & (signal != HIDDEN), reached[signal])",
        ),
    ),
    *of(
        "probe.recurrent.again.engine",
        "tests/wheel/test_edits.py::test_patching_with_the_runs_own_values_changes_no_bit",
        (
            "engine: a patch with itself changes bits",
            "_changed_step",
            "choose(value, computed, differs, reached[signal])",
            "computed",
        ),
    ),
    *of(
        "probe.recurrent.again.engine",
        "tests/wheel/test_edits.py::test_a_later_edit_starts_from_the_earlier_ones_run",
        (
            "engine: a second edit starts from the clean run",
            "_at_step",
            "choose(at_rest[signal], stepped[signal], *marks)",
            "at_rest[signal]",
        ),
    ),
    *of(
        "probe.recurrent.again.engine",
        "tests/wheel/test_edit_kinds.py",
        ("engine: resumes from the first state", "_start", "clean.before(step)", "clean.initial"),
    ),
    *of(
        "probe.recurrent.again.fronts",
        "tests/wheel/test_edit_gradients.py",
        ("engine: the clean run's gradient", "_SameValue.backward", "(None, gradients[0])", "(gradients[0], None)"),
    ),
    *of(
        "probe.edits.resolve",
        "tests/wheel/test_edit_kinds.py",
        (
            "edits: a later one does not see the earlier one's",
            "changes_of.change",
            "one.put(changed[where], step)",
            "one.put(value[where], step)",
        ),
    ),
    *of(
        "probe.edits.constructors",
        "tests/wheel/test_edit_kinds.py",
        (
            "edits: a mean over steps and not over rows",
            "_mean",
            "values.masked_fill(ended, 0).sum(0, keepdim=True)",
            "values.masked_fill(ended, 0).sum(1, keepdim=True)",
        ),
    ),
    *of(
        "probe.edits.kinds",
        "tests/wheel/test_edits.py::test_several_steps_each_take_their_own_values",
        (
            "edits: the source's first step at every step",
            "Patch.put",
            "self.values[rows, place.positions]",
            "self.values[rows, 0]",
        ),
    ),
)
