"""The pages of a study: of one network, and of many."""
