"""Many edits of one model in few runs, each edit a block of rows."""
