"""What goes wrong with what is studied: planted networks, recipes, twins and their choice.

The tests that must notice lie in tests/repo, named from tests/wheel.
"""

from __future__ import annotations

from .mutation import Mutation, mutations_of

PLANTED, RECIPES = "../repo/test_planted.py", "../repo/test_models_recipes.py"
TWINS, SYMMETRIES = "../repo/test_models_twins.py", "../repo/test_models_symmetries.py"
ANALYSES = "../repo/test_analyses.py"

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "models/planted/building.py",
        PLANTED,
        ("planted: gates nearly open", "B = 40.0", "B = 4.0"),
        ("planted: midpoints at the levels", "(levels[:-1] + gaps / 2)", "levels[:-1]"),
        ("planted: distractors without a seed", "manual_seed(seed)", "manual_seed(0)"),
        ("planted: negative seeds", "if distractors < 0 or seed < 0:", "if distractors < 0:"),
    ),
    *mutations_of(
        "models/planted/counting.py",
        PLANTED,
        ("planted: drift the other way", "one=STEP * (1 - drift), zero=0.0 - STEP * drift", "one=STEP, zero=0.0"),
        ("planted: balance without its second unit", "plan.one_hot(0) - plan.one_hot(1)", "plan.one_hot(0)"),
        ("planted: distractors along v", "basis[:, 1:]", "basis[:, :-1]"),
        ("planted: rotated twice as steep", "one=SMALL * float(v[unit])", "one=2 * SMALL * float(v[unit])"),
    ),
    *mutations_of(
        "models/planted/traps.py",
        PLANTED,
        ("planted: written at every step", "plan.h[INPUT, 0, 1] = 20.0, -80.0", "plan.h[INPUT, 0, 1] = 20.0, 0.0"),
        ("planted: another decay", "START, DECAY = 0.9, 0.8", "START, DECAY = 0.9, 0.7"),
        (
            "planted: decoy of zeros",
            "plan.write(11, one=STEP, zero=0.0)",
            "plan.write(11, one=0.0, zero=STEP)",
        ),
        ("planted: the decoy is idle", "    plan.hold(11)\n", ""),
        ("planted: a slower second part", "one=2 * SMALL", "one=SMALL"),
        ("planted: a cell in the delay line", "plan.bias[FORGET, unit] = B, -B", "plan.bias[FORGET, unit] = B, B"),
        ("planted: unscaled delays", "weights[unit] = 1 / held", "weights[unit] = 1 / math.tanh(SMALL)"),
    ),
    *mutations_of(
        "models/data.py",
        RECIPES,
        ("data: cut by another seed", 'generator(seed, "truncated")', 'generator(0, "truncated")'),
        ("data: lengths 0 to 9", "torch.randint(1, recipe.length + 1", "torch.randint(0, recipe.length"),
        (
            "data: one short string",
            "torch.randperm(len(short), generator=draws)",
            "torch.zeros(len(short)).long()",
        ),
        ("data: bits behind the end", "    bits[torch.arange(recipe.length) >= lengths[:, None]] = 0.0\n", ""),
        (
            "data: label past the end",
            "self.labels.gather(1, self.lengths[:, None] - 1)[:, 0]",
            "self.labels[:, -1]",
        ),
        ("data: labels of the end only", "if not every_step:", "if True:"),
    ),
    *mutations_of(
        "models/learning.py",
        RECIPES,
        ("learning: read after the padding", "strings.lengths - 1]", "-1]"),
        ("learning: padding in the loss", "(torch.arange(labels.shape[1]) < lengths)", "(labels > -1)"),
        ("learning: the last step only", "if not recipe.every_step:", "if True:"),
    ),
    *mutations_of(
        "models/recipes.py",
        RECIPES,
        ("recipes: bits are read as they are", "encode(x, zero=self.zero, one=self.one)", "x"),
        ("recipes: two things at once", '"gru", cell="gru"', '"gru", cell="gru", forget_bias=0.0'),
        ("recipes: a dose of 2 %", "500 * percent // 100", "500 * (percent + 1) // 100"),
    ),
    *mutations_of(
        "models/training.py",
        RECIPES,
        (
            "training: GRU forgets at first",
            "bias[hidden : 2 * hidden] = forget_bias",
            "bias[:hidden] = forget_bias",
        ),
        ("training: a limit for four gates", "gates = 4 if recipe.cell", "gates = 4 if True or recipe.cell"),
    ),
    *mutations_of(
        "models/twins.py",
        TWINS,
        ("twins: no constant", "np.ones(len(states))", "np.zeros(len(states))"),
        ("twins: read behind the end", "torch.as_tensor(ends) - 1", "-1"),
        ("twins: one layer for both", "copy.deepcopy(layer))\n        with", "layer)\n        with"),
    ),
    *mutations_of(
        "models/counter.py",
        SYMMETRIES,
        ("counter: the code is not applied", "self.model(encode(x, zero=self.zero, one=self.one))", "self.model(x)"),
    ),
    *mutations_of(
        "analyses/common.py",
        ANALYSES,
        ("common: no readout twins", "readout = trained.readout()", "readout = None"),
        (
            "common: code not applied",
            "chosen = Coded(chosen, zero=recipe.zero, one=recipe.one)",
            "chosen = chosen",
        ),
        ("common: a template is a counter", 'recipe.question != "ones" or recipe.length', "recipe.length"),
    ),
)
