"""The equations of the LSTM, GRU and plain RNN cells, and the base class of all cells."""
