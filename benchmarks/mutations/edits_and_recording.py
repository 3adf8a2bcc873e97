"""What goes wrong around a run: edits, recordings, files of recordings."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/edits.py",
        "test_edits.py",
        (
            "edits: units ignored",
            "    changed[place] = put\n",
            "    changed[torch.tensor(rows)] = put[:, :1] if put.shape[1] < value.shape[1] else put\n",
        ),
        (
            "edits: units of the source ignored",
            '[:, :, within("units", site.units, values.shape[2], "the layer\'s unit axis")]',
            "[:, :, : len(site.units) if site.units else None]",
        ),
        (
            "edits: rows ignored",
            'rows = within("rows", edit.site.rows, len(value), "the batch")',
            "rows = list(range(len(value)))",
        ),
        (
            "edits: source_rows ignored",
            "sources = edit.source_rows if edit.source_rows is not None else rows",
            "sources = rows",
        ),
        (
            "edits: call ignored",
            "active = tuple(edit for edit in own if edit.site.call in (None, number))",
            "active = own",
        ),
        ("edits: calls not counted", "counts[layer.name] = number + 1", "counts[layer.name] = number"),
        (
            "edits: steps in ascending order",
            "edit.values[list(sources), steps.index(step)]",
            "edit.values[list(sources), sorted(steps).index(step)]",
        ),
        (
            "edits: signal ignored",
            "edit.site.signal == signal and step in steps",
            "step in steps and signal in _EDITABLE",
        ),
        ("edits: outer edits forgotten", "together = (outer.edits if outer else ()) + active", "together = active"),
        (
            "edits: nested edits in the inner order only",
            "natural = outer.natural if outer else engine",
            "natural = outer.changed if outer else engine",
        ),
    ),
    *mutations_of(
        "probe/edits.py",
        "test_edit_errors.py",
        ("edits: hook not removed", "        for handle in handles:\n            handle.remove()\n", ""),
        (
            "edits: hook not removed on error",
            "        yield model\n    finally:\n",
            "        yield model\n    except ZeroDivisionError:\n        handles = []\n        raise\n    finally:\n",
        ),
        (
            "edits: the layer is placed after the run",
            'within("units", edit.site.units, layer.units, f"layer {layer.name!r}")',
            "None",
        ),
        (
            "edits: the source's units are not compared",
            "if edit.site.units is None and edit.values.shape[2] != layer.units:",
            "if False:",
        ),
        ("edits: the number of steps is not compared", "if len(steps) != edit.values.shape[1]:", "if False:"),
        ("edits: another batch is accepted", "edit.site.rows is None and len(edit.values) != len(value):", "False:"),
    ),
    *mutations_of(
        "probe/edits.py",
        "test_edit_values.py",
        ("edits: hash ignores content", "hashlib.sha256(described + data)", "hashlib.sha256(described)"),
        (
            "edits: a source's kept steps taken for all",
            "return [kept.index(step) for step in steps]",
            "return list(range(len(steps)))",
        ),
    ),
    *mutations_of(
        "probe/recording.py",
        "test_recording.py",
        (
            "recording: a hidden state that the caller can change",
            "value = value.clone() if signal == Signal.HIDDEN_STATE else value",
            "value = value",
        ),
        (
            "recording: initial states that the caller can change",
            "{signal: value.clone() for signal, value in opened.given.initial.items()}",
            "dict(opened.given.initial)",
        ),
        (
            "recording: output changed",
            "        output = model(*inputs, **(kwargs or {}))\n",
            "        output = model(*inputs, **(kwargs or {}))\n        output = (output[0] * 1.01, output[1])\n",
        ),
        ("recording: keywords ignored", "**(kwargs or {})", ""),
        (
            "recording: every call has number 0",
            "number = sum(part.layer == layer.name for part in parts)",
            "number = 0",
        ),
        (
            "recording: calls numbered over all layers",
            "number = sum(part.layer == layer.name for part in parts)",
            "number = len(parts)",
        ),
        ("recording: not_called forgotten", "if all(part.layer != layer.name for part in parts))", "if False)"),
        ("recording: steps ignored", "    if steps is not None:\n        ", "    if False:\n        "),
        (
            "recording: signals ignored",
            "return tuple(signal for signal in available if signal in chosen)",
            "return available",
        ),
        ("recording: layers ignored", "chosen = find_layers(model, layers)", "chosen = find_layers(model, None)"),
        ("recording: under autograd", "@torch.no_grad()\ndef record", "def record"),
        ("recording: smallest error reported", "max(errors, default=0.0)", "min(errors, default=0.0)"),
        ("recording: time first", "values[signal] = value.transpose(0, 1)", "values[signal] = value"),
    ),
    *mutations_of(
        "probe/recording.py",
        "test_recording_errors.py",
        ("recording: check left out", "            engine.check(layer, opened, tolerance)\n", ""),
        ("recording: hook not removed", "            stack.callback(handle.remove)\n", ""),
    ),
    *mutations_of(
        "probe/recording.py",
        "test_edits.py",
        (
            "recording: the edited run is not shown",
            "opened = applied.changed if applied else",
            "opened = applied.natural if applied else",
        ),
        ("recording: edits ignored", "        if edits:\n", "        if False:\n"),
    ),
    *mutations_of(
        "probe/recording.py",
        "test_recording_files.py",
        ("recording: frame loses the steps", '"step": steps[time],', '"step": time,'),
    ),
    *mutations_of(
        "probe/nested.py",
        "test_recording_files.py",
        ("recording: saved tuples become lists", 'return tuple(items) if kind == "tuple" else items', "return items"),
    ),
    *mutations_of(
        "probe/edits.py",
        "test_edit_gradients.py",
        ("edits: calls numbered over all forward passes", "lambda *_: counts.clear()", "lambda *_: None"),
        ("edits: an edit that never happened is silent", "if (edit.site.call or 0) >= number:", "if False:"),
    ),
)
