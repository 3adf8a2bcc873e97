"""Other people's trained networks: a file becomes arrays (formats/), and these become modules (layouts/)."""
