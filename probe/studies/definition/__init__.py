"""What a study is given: network, inputs, concepts, readout; read from a file, and checked."""
