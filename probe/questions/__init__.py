"""Questions about any recurrent network: `measure` returns a table, `draw` makes a picture of it."""
