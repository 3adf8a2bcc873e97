"""What goes wrong when a network of a library is loaded that has torch's gates under other names, or other gates."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

OBJECTS, KERAS1 = "../repo/test_loading_objects.py", "../repo/test_loading_keras1.py"
JAX, CHAINER, TFJS = "../repo/test_loading_jax.py", "../repo/test_loading_chainer.py", "../repo/test_loading_tfjs.py"
TORCHLIKE, WRAPPED = "../repo/test_loading_torchlike.py", "test_loading_wrapped.py"

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/loading/formats/inert.py",
        OBJECTS,
        (
            "objects: an array in the arguments read",
            "return Record(class_.path, unread=bool(arguments))",
            "return None",
        ),
    ),
    *mutations_of(
        "probe/loading/formats/pickled.py",
        OBJECTS,
        ("pickles: copies not counted", "if self._room < 0:", "if False:"),
        (
            "pickles: a state for the table's own functions",
            "            thing.__setstate__(state)\n",
            "            vars(thing).update(state)\n",
        ),
    ),
    *mutations_of(
        "probe/loading/layouts/gate_objects.py",
        OBJECTS,
        ("objects: an update gate not inverted", "W=-update.W", "W=update.W"),
        (
            "objects: states to begin with dropped",
            "if all(one is None or not one.any() for one in given):",
            "if True:",
        ),
        ("objects: peepholes dropped", "if all(one is None for one in found):", "if True:"),
        ("objects: any array let through", "if other is not None or name", "if name"),
    ),
    *mutations_of(
        "probe/loading/layouts/keras1_arrays.py",
        KERAS1,
        ("keras 1: gates in another order", '"LSTM": "ifco"', '"LSTM": "icfo"'),
        ("keras 1: arrays of any shape", "if any(one.shape != own[0].shape or", "if any("),
        ("keras 1: a hard sigmoid of Keras 3", 'VERSION = "1"', 'VERSION = "3"'),
    ),
    *mutations_of(
        "probe/loading/layouts/jax_names.py",
        JAX,
        ("flax: gates in another order", '"LSTM": "ifgo"', '"LSTM": "figo"'),
        ("flax: moments taken for weights", "not TRAINING.match(name) and (match := _FLAX", "(match := _FLAX"),
        ("flax: a cell without a gate", 'if cell.kind is None and sides == {"i", "h"}:', "if False:"),
        ("equinox: a GRU's second bias dropped", "second.reshape(-1)])", "second.reshape(-1) * 0])"),
    ),
    *mutations_of(
        "probe/loading/layouts/haiku_names.py",
        JAX,
        ("haiku: nothing added to the forget gate", "FORGET_BIAS = 1.0", "FORGET_BIAS = 0.0"),
        ("haiku: an update gate not inverted", "part[units : 2 * units] *= -1", "part[units : 2 * units] *= 1"),
        ("haiku: a GRU resets after the product", 'bias, reset="before")', 'bias, reset="after")'),
    ),
    *mutations_of(
        "probe/loading/layouts/chainer_names.py",
        CHAINER,
        (
            "chainer: gates in blocks",
            "reshape(units, 4, *part.shape[1:])[:, (1, 2, 0, 3)].transpose(0, 1)",
            "reshape(4, units, *part.shape[1:])[(1, 2, 0, 3), :]",
        ),
        ("chainer: an update gate not inverted", 'return -1 if gate == "_z" else 1', "return 1"),
        (
            "chainer: biases that a first step leaves out",
            'if any(biases[part].any() for part in ("U_r", "U_z", "U")):',
            "if False:",
        ),
        ("chainer: two directions as two levels", "return 2 if sizes == two else 1", "return 1"),
    ),
    *mutations_of(
        "probe/loading/layouts/torch_wrapped.py",
        WRAPPED,
        ("weight norm: by the other axis", "keepdim=True))", "keepdim=True) ** 2)"),
        ("pruning: the mask ignored", "lambda orig, mask: orig * mask", "lambda orig, mask: orig + 0 * mask"),
    ),
    *mutations_of(
        "probe/loading/layouts/allennlp_names.py",
        WRAPPED,
        ("allennlp: backwards read forwards", "if backwards else module_of(plan)", "if False else module_of(plan)"),
    ),
    *mutations_of(
        "probe/loading/layouts/mxnet_names.py",
        TORCHLIKE,
        ("mxnet: both directions forwards", '"_reverse" if parts.get("way") == "r" else ""', '""'),
    ),
    *mutations_of(
        "probe/loading/layouts/paddle_names.py",
        TORCHLIKE,
        ("paddle: two weights under one name", "(tensors[own] == tensors[name]).all()", "True"),
    ),
    *mutations_of(
        "probe/loading/formats/tfjs_files.py",
        TFJS,
        (
            "tensorflow.js: files of other folders",
            "if name and Path(str(name)).name == name else None",
            "if name else None",
        ),
        ("tensorflow.js: weights that are rounded", 'if "quantization" in weight:', "if False:"),
    ),
)
