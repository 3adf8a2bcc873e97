"""Recurrent layers: what they compute, one run of them, and the same run again with changes."""

from .custom import CustomGRU, CustomLSTM, CustomRNN

__all__ = ["CustomGRU", "CustomLSTM", "CustomRNN"]
