"""What goes wrong in recording: what is collected, compared, kept, differentiated and saved."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/collecting.py",
        "test_recording.py",
        ("recording: a hidden state that the caller can change", "values[signal] = values[signal].clone()", "pass"),
        (
            "recording: initial states that the caller can change",
            "signal: value.detach().clone() for",
            "signal: value.detach() for",
        ),
        (
            "recording: every call has number 0",
            "number, step = sum(part.layer == wanted[0] for part in self._parts.values()), None",
            "number, step = 0, None",
        ),
        (
            "recording: calls numbered over all layers",
            "number, step = sum(part.layer == wanted[0] for part in self._parts.values()), None",
            "number, step = len(self._parts), None",
        ),
        ("recording: not_called forgotten", "if layer.name not in called)", "if False)"),
        ("recording: steps ignored", "if steps is not None and not layer.is_cell:", "if False:"),
        ("recording: time first", "signal: value.transpose(0, 1) for", "signal: value for"),
    ),
    *mutations_of(
        "probe/collecting.py",
        "test_recording_errors.py",
        (
            "recording: check left out",
            "            traces.check(layer, opened, trace.h.dtype, self._options.tolerance)\n",
            "            pass\n",
        ),
        (
            "recording: hook not removed",
            "stack.callback(module.register_forward_hook(self._hook(whole, layers), with_kwargs=True).remove)",
            "module.register_forward_hook(self._hook(whole, layers), with_kwargs=True)",
        ),
    ),
    *mutations_of(
        "probe/collecting.py",
        "test_edits.py",
        (
            "recording: the edited run is not shown",
            "                applied.changed\n",
            "                applied.natural\n",
        ),
    ),
    *mutations_of(
        "probe/collecting.py",
        "test_packed.py",
        (
            "recording: padding holds numbers",
            '        value = value.masked_fill(~valid.unsqueeze(-1), float("nan"))\n',
            "        pass\n",
        ),
        (
            "recording: negative steps from the padding's end",
            "ends < 0, ends + lengths, ends",
            "ends < 0, ends + time, ends",
        ),
    ),
    *mutations_of(
        "probe/collecting.py",
        "test_layers_of_every_kind.py",
        ("recording: a reverse layer in its own order", "        value = own_order(value, layer, lengths)\n", ""),
        (
            "recording: dtype ignored",
            "device=self._options.device, dtype=self._options.dtype)",
            "device=self._options.device)",
        ),
        ("recording: derivatives take no memory", "(2 if self._differentiates else 1)", "1"),
        ("recording: what just fits is refused", "and expected > free:", "and expected >= free:"),
        ("recording: the estimate of all steps", "x.shape[0] if chosen is None else len(chosen)", "x.shape[0]"),
        (
            "recording: a cell's call estimated as a sequence",
            "chosen = None if layers[0].is_cell else self._options.steps",
            "chosen = self._options.steps",
        ),
        (
            "recording: an error where nothing was compared",
            "opened.error if self._options.check else None",
            "opened.error",
        ),
    ),
    *mutations_of(
        "probe/collecting.py",
        "test_gradients_of.py",
        ("gradients: edits ignored", "signal in edited.get(step, ()):", "False:"),
        (
            "gradients: taps off the path",
            "value + taps[signal][step], torch.ones_like(own)",
            "value + taps[signal][step], own",
        ),
        ("gradients: every step's tap is the first", "value + taps[signal][step]", "value + taps[signal][0]"),
        ("gradients: the output stays on the graph", "        output = _detached(output)\n", "        pass\n"),
        (
            "gradients: what is returned is no scalar",
            "scalar.numel() != 1 or not scalar.requires_grad",
            "not scalar.requires_grad",
        ),
        (
            "gradients: a loop falls apart",
            "                if module in self._sequences:\n                    self._sequences[module].replace(",
            "                if False:\n                    self._sequences[module].replace(",
        ),
    ),
    *mutations_of(
        "probe/collecting.py",
        "test_watch.py",
        (
            "watch: what a failed call left is kept",
            "        self._clear()\n        self._sequences.begin",
            "        self._sequences.begin",
        ),
    ),
    *mutations_of(
        "probe/collecting.py",
        "test_cells_in_loops.py",
        (
            "recording: steps of a loop ignored",
            "if part.layer.is_cell and self._options.steps is not None:",
            "if False:",
        ),
    ),
    *mutations_of(
        "probe/recorder.py",
        "test_recording.py",
        (
            "recording: output changed",
            "        output = model(*arguments, **keywords)\n",
            "        output = model(*arguments, **keywords)\n        output = (output[0] * 1.01, *output[1:])\n",
        ),
        ("recording: keywords ignored", "output = model(*arguments, **keywords)", "output = model(*arguments)"),
        ("recording: layers ignored", "chosen = find_layers(model, layers)", "chosen = find_layers(model, None)"),
        (
            "recording: signals ignored",
            "tuple(signal for signal in layer.signals if signal in wanted)",
            "tuple(layer.signals)",
        ),
        (
            "recording: under autograd",
            "torch.no_grad() if gradient_of is None else torch.enable_grad()",
            "torch.enable_grad()",
        ),
    ),
    *mutations_of(
        "probe/recorder.py",
        "test_edits.py",
        ("recording: edits ignored", "        if edits:\n", "        if False:\n"),
    ),
    *mutations_of(
        "probe/recorder.py",
        "test_watch.py",
        ("watch: the last hook stays", "        stack.callback(hook.remove)\n", ""),
        (
            "watch: steps ignored",
            "signals, layers, steps, check=True, tolerance",
            "signals, layers, None, check=True, tolerance",
        ),
    ),
    *mutations_of(
        "probe/recorder.py",
        "test_layers_of_every_kind.py",
        ("recording: check=False compares", "elif not options.check and gradient_of is None:", "elif False:"),
    ),
    *mutations_of(
        "probe/recorder.py",
        "test_streaming.py",
        ("streaming: edits of rows let in", "    if by_row:\n", "    if False:\n"),
        (
            "streaming: gradients ignored",
            "    if gradient_of is not None:\n        raise",
            "    if False:\n        raise",
        ),
    ),
    *mutations_of(
        "probe/free_running.py",
        "test_layers_of_every_kind.py",
        ("check=False: the forward stays replaced", '            vars(module).pop("forward", None)\n', ""),
        (
            "check=False: a forward of somebody else's",
            'if "forward" in vars(module) or type(module).forward not in _KNOWN_FORWARDS:',
            "if False:",
        ),
        ("check=False: dropout let in", "        if drops_out(module):\n", "        if False:\n"),
        ("check=False: a reverse layer reads forwards", "own_order(x, layer, call.lengths)\n", "x\n"),
    ),
    *mutations_of(
        "probe/free_running.py",
        "test_recording.py",
        (
            "check=False: initial states ignored",
            "cell.run(own, call.initial[layer.place], kept)",
            "cell.run(own, {s: v * 0 for s, v in call.initial[layer.place].items()}, kept)",
        ),
    ),
    *mutations_of(
        "probe/free_running.py",
        "test_packed.py",
        (
            "check=False: last states after the padding",
            "            if call.lengths is not None:\n",
            "            if False:\n",
        ),
    ),
    *mutations_of(
        "probe/recording.py",
        "test_recording.py",
        ("recording: smallest error reported", "return max((error for", "return min((error for"),
    ),
    *mutations_of(
        "probe/recording.py",
        "test_recording_files.py",
        ("recording: frame loses the steps", '"step": steps, "unit"', '"step": time, "unit"'),
        (
            "recording: xarray loses the steps",
            '{"time": self._times(part)}',
            '{"time": list(range(len(self._times(part))))}',
        ),
    ),
    *mutations_of(
        "probe/recording.py",
        "test_packed.py",
        (
            "recording: the frame holds padding",
            "return frame[(steps < lengths) & (steps >= -lengths)]",
            "return frame",
        ),
    ),
    *mutations_of(
        "probe/recording_files.py",
        "test_recording_files.py",
        ("files of recordings: any format", 'description.get("format") != _FORMAT:', "False:"),
        (
            "files of recordings: initial states lost",
            '"initial": part.initial, "gradients"',
            '"initial": {}, "gradients"',
        ),
        ("files of recordings: the error lost", '        description["max_error"],\n', "        None,\n"),
    ),
    *mutations_of(
        "probe/recording_files.py",
        "test_packed.py",
        ("files of recordings: lengths lost", 'None if part["lengths"] is None else tuple(part["lengths"])', "None"),
    ),
    *mutations_of(
        "probe/nested.py",
        "test_recording_files.py",
        ("recording: saved tuples become lists", 'return tuple(items) if kind == "tuple" else items', "return items"),
    ),
)
