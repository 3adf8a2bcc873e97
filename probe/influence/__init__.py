"""How long a state lasts, and which inputs move an answer."""
