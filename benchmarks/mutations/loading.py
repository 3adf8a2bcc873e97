"""What goes wrong when a network of another framework is loaded: orders, layouts, choices, and files that harm.

The tests that need h5py, onnx or files of tests/data lie in tests/repo, named from tests/wheel.
"""

from __future__ import annotations

from .mutation import Mutation, mutations_of

KERAS, ONNX = "../repo/test_loading_keras.py", "../repo/test_loading_onnx.py"
TENSORFLOW, COUNTERS = "../repo/test_loading_tensorflow.py", "../repo/test_loading_counters.py"
NESTED, ARCHIVES = "test_loading_nested.py", "test_loading_archives.py"
FILES, HOSTILE, TORCH = "test_loading_files.py", "test_loading_hostile.py", "test_loading_torch.py"

LAYOUTS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/loading/layouts/keras_arrays.py",
        KERAS,
        ("keras: a GRU's gates in torch's order", '"GRU": (1, 0, 2), "RNN"', '"GRU": (0, 1, 2), "RNN"'),
        ("keras: CuDNN's kernel only transposed", "block.contiguous().reshape(-1, len(kernel))", "block.T"),
        (
            "keras: a GRU's two biases exchanged",
            "first, second = self.bias.reshape",
            "second, first = self.bias.reshape",
        ),
        ("keras: one hard sigmoid for both", '"3": "hard_sigmoid_keras3"', '"3": "hard_sigmoid_keras2"'),
    ),
    *mutations_of(
        "probe/loading/layouts/keras_layers.py",
        KERAS,
        ("keras: backwards read forwards", "if backwards[0] else module_of", "if False else module_of"),
        ("keras: a mask ignored", "        if layer.hidden_by:\n", "        if False:\n"),
        ("keras: outputs at hidden steps kept", "zeros = bool(forced or", "zeros = bool("),
        ("keras: any number of units", "if units != arrays.units:", "if False:"),
        (
            "keras: c goes out through tanh",
            'functions["output"] = functions["activation"]',
            'functions["output"] = "tanh"',
        ),
    ),
    *mutations_of(
        "probe/loading/layouts/keras_config.py",
        KERAS,
        ("keras: somebody's own LSTM is Keras's", 'str(module).partition(".")[0] in _KERAS', "True"),
    ),
    *mutations_of(
        "probe/loading/layouts/keras_weights.py",
        KERAS,
        ("keras: peepholes and norms let through", "    if others:\n", "    if False:\n"),
        ("keras: what trained a layer is one", "if name.startswith(_OPTIMIZER):", "if False:"),
    ),
    *mutations_of(
        "probe/loading/layouts/tf1_names.py",
        COUNTERS,
        ("tf1: gates i j f o read as i f j o", "(0, 2, 1, 3), 4) for part", "(0, 1, 2, 3), 4) for part"),
        ("tf1: the forget bias on another gate", "bias[units : 2 * units] += added", "bias[:units] += added"),
        (
            "tf1: the forget bias guessed",
            'added = choices.need("forget_bias", cell.name, FORGET_WHY, FORGET_USUAL)',
            "added = 1.0",
        ),
    ),
    *mutations_of(
        "probe/loading/layouts/tf1_names.py",
        TENSORFLOW,
        ("tf1: a GRU resets after the product", 'reset="before")', 'reset="after")'),
        ("tf1: a graph that is not understood assumed", "    if _GRAPH in facts:\n", "    if False:\n"),
        ("tf1: any cell an LSTM", "not re.fullmatch(allowed, cell.kind)", "False"),
        ("tf1: both directions apart", 'r"\\1bw\\2", name)', 'r"\\1ww\\2", name)'),
        ("tf1: slots taken for variables", "if not match or _SLOT.fullmatch(name):", "if not match:"),
    ),
    *mutations_of(
        "probe/loading/layouts/tf1_graph.py",
        TENSORFLOW,
        ("graphs: the forget bias of another gate", "_added(graph, parts[2])", "_added(graph, parts[0])"),
        ("graphs: another function", "_function(parts[1][0], cell)", "_function(parts[0][0], cell)"),
    ),
    *mutations_of(
        "probe/loading/layouts/onnx_nodes.py",
        ONNX,
        ("onnx: an LSTM's gates in Keras's order", '"LSTM": (0, 2, 3, 1)', '"LSTM": (0, 1, 2, 3)'),
        (
            "onnx: linear_before_reset turned round",
            'if node.given.get("linear_before_reset", 0)',
            'if not node.given.get("linear_before_reset", 0)',
        ),
        ("onnx: peepholes in the order i f o", "p_i, p_o, p_f = seen", "p_i, p_f, p_o = seen"),
        ("onnx: reverse read forwards", 'if direction == "reverse" else', "if False else"),
        ("onnx: states to start from dropped", "initial=_initial(node, way, ways, units)", "initial=()"),
        ("onnx: a lost node let through", "if scope.home(value.name) is None:", "if False:"),
        ("onnx: a clip let through", '("clip", 0.0,', '("klip", 0.0,'),
    ),
    *mutations_of(
        "probe/loading/layouts/onnx_functions.py",
        ONNX,
        ("onnx: any hard sigmoid", "if abs(alpha - 0.2) < 1e-6:", "if True:"),
        ("onnx: parameters read in one way", "if by_use != by_place and", "if False and"),
    ),
    *mutations_of(
        "probe/loading/layouts/dynet_names.py",
        FILES,
        ("dynet: gates i f o g read as i f g o", "(0, 1, 3, 2), 4) for part", "(0, 1, 2, 3), 4) for part"),
    ),
    *mutations_of(
        "probe/loading/layouts/torch_names.py",
        FILES,
        ("torch: the order of gates ignored", "    if order is not None:\n", "    if False:\n"),
    ),
    *mutations_of(
        "probe/loading/layouts/torch_names.py",
        NESTED,
        (
            "torch: weights that were dropped",
            "    renamed = _undropped(written, choices)\n",
            "    renamed = written\n",
        ),
        ("torch: norms inside a cell ignored", "    if inside:\n", "    if False:\n"),
    ),
)
READERS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/loading/modules.py",
        KERAS,
        ("masks: both directions filled alike", "source = part.flip(1) if way else part", "source = part"),
        ("merge: sum for the mean", 'if merge == "sum" else (h + other) / 2', 'if merge == "sum" else h + other'),
    ),
    *mutations_of(
        "probe/loading/formats/pickled.py",
        HOSTILE,
        ("pickles: every name found", 'if f"{module}.{name}" not in self._names:', "if False:"),
    ),
    *mutations_of(
        "probe/loading/formats/packed.py",
        ARCHIVES,
        ("packed: the largest of several files taken", "    if len(held) > 1:\n", "    if False:\n"),
        ("packed: bombs unpacked", "            if self.left < 0:\n", "            if False:\n"),
        ("packed: arrays of a folder apart", "    if len(arrays) > 1:\n", "    if False:\n"),
    ),
    *mutations_of(
        "probe/loading/opening.py",
        ARCHIVES,
        ("packed: an archive in an archive", 'if module == "packed" and not archives:', "if False:"),
    ),
    *mutations_of(
        "probe/loading/formats/torch_files.py",
        NESTED,
        ("torch: what trained a network is one", "if not str(key).startswith(_NO_PART))", "if True)"),
        ("torch: 8 bits let through", '"ScriptObject" in asked[1] or "quantized" in asked[1]', "False"),
    ),
    *mutations_of(
        "probe/loading/formats/torch_files.py",
        HOSTILE,
        ("torch: views of any shape", "        budget.take(name, tensor.numel() * tensor.element_size())\n", ""),
    ),
    *mutations_of(
        "probe/loading/formats/torch_files.py",
        TORCH,
        ("torch: code of a file run", "weights_only=True)", "weights_only=False)"),
    ),
    *mutations_of(
        "probe/loading/formats/numpy_files.py",
        HOSTILE,
        ("npy: shapes not compared", "if count(shape) * dtype.itemsize != len(data):", "if False:"),
        ("npy: links followed", "if file.is_symlink() or", "if False and"),
    ),
    *mutations_of(
        "probe/loading/reading.py",
        HOSTILE,
        ("archives: checksums not looked at", "damaged = archive.testzip()", "damaged = None"),
        ("archives: bombs unpacked", "(size > BOMB_BYTES and size > BOMB_RATIO * max(packed, 1))", "False"),
        ("memory: without bound", "if size < 0 or self.taken > self.memory:", "if False:"),
    ),
    *mutations_of(
        "probe/loading/formats/tensor_bundle.py",
        COUNTERS,
        ("tf1: checksums not compared", "if masked(part) != entry.checksum:", "if False:"),
    ),
    *mutations_of(
        "probe/loading/choices.py",
        FILES,
        ("choices: ignored in silence", "            if name not in self.agreed:\n", "            if False:\n"),
    ),
    *mutations_of(
        "probe/loading/choices.py",
        COUNTERS,
        ("choices: compared with nothing", "value is not None and value == told:", "value is not None:"),
    ),
    *mutations_of(
        "probe/loading/own.py",
        FILES,
        ("into: missing names let through", "    if missing or extra:\n", "    if extra:\n"),
        ("into: shapes not compared", "if tensor.shape != wanted.shape or", "if False or"),
    ),
)
MUTATIONS = (*LAYOUTS, *READERS)
