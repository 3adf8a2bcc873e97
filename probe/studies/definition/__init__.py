"""What a study is given (network, inputs, concepts, readout), read and checked."""
