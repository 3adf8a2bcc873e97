"""What goes wrong in finding layers, in reading a call of them, and in writing what it returns."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/layers.py",
        "test_recording.py",
        ("layers: bias ignored", "if module.bias else (None, None)", "if not module.bias else (None, None)"),
        (
            "layers: names ignored",
            "for name, layer in found.items() if name in wanted)",
            "for layer in found.values())",
        ),
        ("layers: wrappers' prefixes kept", '_WRAPPERS = ("_orig_mod.", "module.")', "_WRAPPERS = ()"),
    ),
    *mutations_of(
        "probe/layers.py",
        "test_layers_of_every_kind.py",
        (
            "layers: places without directions",
            "self.level * directions(self.module) + int(self.reverse)",
            "self.level + int(self.reverse)",
        ),
        ("layers: the forward weights for both directions", '("_reverse" if self.reverse else "")', '""'),
        ("layers: the lowest level's weights", 'f"_l{self.level}"', '"_l0"'),
        ("layers: projections overlooked", 'getattr(module, "proj_size", 0) > 0', "False"),
        ("layers: tanh for relu", "_ACTIVATIONS[module.nonlinearity]", '_ACTIVATIONS["tanh"]'),
        (
            "layers: reading a weight leaves a trace",
            "for part in parametrizations.modules() if part.training]",
            "for part in parametrizations.modules() if False]",
        ),
        ("layers: parametrizations left in eval mode", "part.training = True\n", "part.training = False\n"),
        ("layers: one name for two layers", "if any(layer.name in found for layer in layers):", "if False:"),
        ("layers: one direction only", "(False, True)[: directions(module)]", "(False, True)[:1]"),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_recording.py",
        ("calls: batch_first ignored in the input", "        elif module.batch_first:\n", "        elif False:\n"),
        ("calls: keywords ignored", "strict=False)) | dict(keywords)", "strict=False))"),
        ("calls: given states ignored", "    if state is None:\n", "    if True:\n"),
        (
            "calls: h and c exchanged",
            "in zip(layer.states, parts, strict=True)}",
            "in zip(layer.states, parts[::-1], strict=True)}",
        ),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_layers_of_every_kind.py",
        (
            "calls: states of the first layer",
            "parts = [part[layer.place] for part in parts]",
            "parts = [part[0] for part in parts]",
        ),
        (
            "calls: unbatched states taken for a batch",
            "signal: part if batched else part.unsqueeze(0) for",
            "signal: part for",
        ),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_edits.py",
        (
            "calls: batch_first ignored in the edited output",
            "h.transpose(0, 1) if call.batched and _batch_first(layers[0].module) else h",
            "h",
        ),
        (
            "calls: unbatched edits return a batch",
            "h, lasts = h[:, 0], [last[:, 0] for last in lasts]",
            "pass",
        ),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_edit_kinds.py",
        (
            "calls: h_n of the wrong layer",
            "torch.stack([final[signal] for final in finals])",
            "torch.stack([final[signal] for final in finals[::-1]])",
        ),
        ("calls: reverse layers in the input's order", "return value.flip(0)", "return value"),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_packed.py",
        ("calls: rows of a packed output not sorted", "value.index_select(1, packed.sorted_indices), ", "value, "),
        (
            "calls: a packed output forgets its order",
            "packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)",
            "packed.batch_sizes)",
        ),
        ("calls: lengths off by one", "lengths - 1 - steps, steps)", "lengths - steps, steps)"),
        (
            "calls: a reverse layer begins in the padding",
            "if lengths is None:\n        return value.flip(0)",
            "if True:\n        return value.flip(0)",
        ),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_left_as_found.py",
        ("calls: masks of other numbers", "    _ = generator.set_state(generator_state)\n", ""),
        ("calls: masks not scaled", ".div_(keep) for mask", " for mask"),
        (
            "calls: masks in eval mode",
            'getattr(module, "dropout", 0) and module.training)',
            'getattr(module, "dropout", 0))',
        ),
    ),
    *mutations_of(
        "probe/calls.py",
        "test_cells_in_loops.py",
        (
            "calls: an unbatched cell returns a batch",
            "finals[0][signal] if call.batched else finals[0][signal][0]",
            "finals[0][signal]",
        ),
    ),
)
