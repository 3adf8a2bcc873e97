"""The command `rnn-probe`: a thin shell over the library's functions."""
