"""The cells: LSTM, GRU and plain RNN in the letters of the textbook, and what every cell is."""
