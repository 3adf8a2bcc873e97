"""What goes wrong where a batch is made larger, for many edits, or taken apart, for the disk."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/sweeps.py",
        "test_sweep.py",
        (
            "sweep: turns overlap",
            "range(start, min(start + most, len(listed)))",
            "range(start, min(start + most + 1, len(listed)))",
        ),
        (
            "sweep: edits and rows exchanged",
            "many.unflatten(axis, (len(edits), batch.size)).movedim(axis, 0)",
            "many.unflatten(axis, (batch.size, len(edits))).movedim(axis + 1, 0)",
        ),
        ("sweep: every cell's edit in the first rows", "offset=place * batch)", "offset=0)"),
        ("sweep: every edit in the first rows", "offset=block * batch)", "offset=0)"),
        ("sweep: steps of the uncut run", "{step - cut: place for", "{step: place for"),
        ("sweep: cut at an edit's last step", "min(placed.places, default=0)", "max(placed.places, default=0)"),
        ("sweep: both directions cut", "any(layer.reverse for layer in run.layers)", "False"),
        ("sweep: rows of different lengths cut", "whole = run.call.lengths is not None or", "whole = False or"),
        ("sweep: steps before the cut left empty", "        hidden[:cut, where] = natural[:cut]\n", ""),
        ("sweep: an input that an earlier edit changed", "bool((given == x.unsqueeze(1)).all()) and", "True and"),
        (
            "sweep: states that an earlier edit changed",
            "(blocks, -1)) == value).all())",
            "(blocks, -1)) == value).any() or True)",
        ),
        ("sweep: call ignored", "if acts(edit, number, None)]", "]"),
        ("sweep: an edited cell starts a sequence", "        sequences.replace(layers[0], run.call, result)\n", ""),
    ),
    *mutations_of(
        "probe/sweeps.py",
        "test_sweep_errors.py",
        (
            "sweep: mixed rows not noticed",
            "if not torch.allclose(alone, together, rtol=0, atol=allowed, equal_nan=True):",
            "if False:",
        ),
        (
            "sweep: a call that never comes is silent",
            "if not calls or (not layer.is_cell and (edit.site.call or 0) >= calls):",
            "if False:",
        ),
        ("sweep: a cell's step that never comes is silent", "if missing or not steps:", "if False:"),
        ("sweep: dropout let in", "        if drops_out(layer.module):\n", "        if False:\n"),
        ("sweep: the forward stays replaced", '            stack.callback(vars(module).pop, "forward", None)\n', ""),
    ),
    *mutations_of(
        "probe/tiling.py",
        "test_sweep.py",
        ("tiling: signals of the uncut run", "self._base.at(self.cut + step)", "self._base.at(step)"),
        (
            "tiling: the state before the first step",
            "_repeated(trace.before(cut), times)",
            "_repeated(trace.initial, times)",
        ),
        (
            "tiling: rows repeated one by one",
            "return {signal: value.repeat(times, 1) for",
            "return {signal: value.repeat_interleave(times, 0) for",
        ),
        (
            "tiling: inputs repeated row by row",
            "trace.x[cut:].repeat(1, times, 1)",
            "trace.x[cut:].repeat_interleave(times, 1)",
        ),
    ),
    *mutations_of(
        "probe/batches.py",
        "test_sweep.py",
        (
            "batches: inputs repeated row by row",
            "torch.cat([tensor] * times, dim=axis)",
            "tensor.repeat_interleave(times, dim=axis)",
        ),
        ("batches: states along the layers", "if seen == 1 or not self.states_on_axis_1 else 1", "if True else 1"),
        ("batches: time for the batch", "axis = 1 if bare and not", "axis = 0 if bare and not"),
    ),
    *mutations_of(
        "probe/batches.py",
        "test_streaming.py",
        (
            "batches: the first stretch again",
            "tensor.narrow(axis, start, min(stop, self.size) - start)",
            "tensor.narrow(axis, 0, min(stop, self.size) - start)",
        ),
    ),
    *mutations_of(
        "probe/streaming.py",
        "test_streaming.py",
        ("streaming: a row between stretches is lost", "start = max(stop, 1)", "start = max(stop + 1, 1)"),
        ("streaming: smallest error reported", "max(errors) if errors else None", "min(errors) if errors else None"),
        ("streaming: a folder is overwritten", "    if folder.exists():\n", "    if False:\n"),
        ("streaming: a failed folder stays", "shutil.rmtree(partial, ignore_errors=True)", "pass"),
        (
            "streaming: rows of different lengths let in",
            "if any(part.lengths is not None for part in recording.parts):",
            "if False:",
        ),
        (
            "streaming: outputs of the first stretch",
            "            self._append(name, values)\n        else:",
            "        else:",
        ),
        ("streaming: shapes not compared", "if tuple(values.shape[1:]) != self._shape:", "if False:"),
    ),
)
