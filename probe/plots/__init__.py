"""How figures look, and the pictures that several questions share."""
