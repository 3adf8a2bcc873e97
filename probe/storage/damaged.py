"""The exceptions that libraries raise on damaged files."""

from __future__ import annotations

import pickle
import struct
import tokenize
import zipfile
import zlib

ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    pickle.PickleError,
    struct.error,
    tokenize.TokenError,  # of an .npy file's header
    zipfile.BadZipFile,
    zlib.error,
)
