"""Makes leace.npz: what LEACE gives by its authors' own package, concept-erasure 0.2.4 (Belrose et al. 2023).

In float64, with everything turned off that is not in theorem 4.3: no shrinkage, no limit on the trace, singular
values kept down to 1e-8. For each of five cases it has `states`, `concept`, other states `fresh`, and both erased.
The project does not depend on the package; this file was run once.
"""

import numpy as np
import torch
from concept_erasure import LeaceFitter  # pyright: ignore[reportMissingImports]

generator, out = np.random.default_rng(0), {}


def store(name: str, x: np.ndarray, z: np.ndarray) -> None:
    """Erase a concept from states, and keep both."""
    options = {"shrinkage": False, "constrain_cov_trace": False, "svd_tol": 1e-8}
    eraser = LeaceFitter.fit(torch.tensor(x), torch.tensor(z), **options).eraser
    fresh = generator.normal(size=(5, x.shape[1]))
    erased, fresh_erased = (eraser(torch.tensor(part)).numpy() for part in (x, fresh))
    arrays = {"states": x, "concept": z, "fresh": fresh, "erased": erased, "fresh_erased": fresh_erased}
    out.update({f"{name}/{key}": value for key, value in arrays.items()})


count = generator.binomial(7, 0.5, 40)
classes = (count[:, None] == np.unique(count)).astype(float)
states = generator.normal(size=(40, 9)) @ generator.normal(size=(9, 9))
states = states + count[:, None] * generator.normal(size=9) + np.sin(count)[:, None] * generator.normal(size=9)
store("one_hot", states, classes)
store("scalar", states, count[:, None].astype(float))
constant = states.copy()
constant[:, 4] = 0.7
store("constant_unit", constant, classes)
store("rank_deficient", np.concatenate([states, states[:, :3] @ generator.normal(size=(3, 3))], 1), classes)
store("few_states", states[:7], count[:7, None].astype(float))
np.savez_compressed("tests/data/leace.npz", **out)
