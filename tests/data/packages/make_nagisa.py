"""Write nagisa.npz: what nagisa's own kernels compute from its DyNet model: `python make_nagisa.py`.

In an environment of its own, with nagisa 0.3.0; its reader and its BiRNN run over waves in the place of embeddings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nagisa import dynet_loader, np_model

FOLDER = Path(dynet_loader.__file__).parent / "data"
BIRNNS = {"birnn": 200, "birnn_1": 64, "birnn_2": 32}


def main() -> None:
    """Run each BiRNN of one layer."""
    params = dynet_loader.load_dynet_text_model(str(FOLDER / "nagisa_v001.model"))
    references: dict[str, Any] = {}
    for name, size in BIRNNS.items():
        pair = []
        for way in ("", "_1"):
            start = f"/{name}/vanilla-lstm-builder{way}/_"
            arrays = [params[f"{start}{number}"][1] for number in range(3)]
            pair.append(dict(zip(("Wx", "Wh", "b"), arrays, strict=True)))
        x = np.sin(np.arange(5 * size, dtype="float64") ** 1.5).reshape(5, size).astype("float32")
        references[f"{name}.x"] = x[None]
        references[f"{name}.h"] = np.asarray(np_model._BiRNN([pair]).transduce(x))[None]
    np.savez_compressed(Path(__file__).parent / "nagisa.npz", **references)


if __name__ == "__main__":
    main()
