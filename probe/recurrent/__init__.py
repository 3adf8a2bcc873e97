"""What a recurrent layer is, one run of it, and the same run again with changes."""
