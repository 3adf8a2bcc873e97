"""What every test of the checkout needs: one thread, and no figure left behind."""

from __future__ import annotations

import os

# Before torch and numpy are imported: small networks run many times slower on two threads than on one.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")
