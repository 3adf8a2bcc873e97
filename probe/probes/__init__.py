"""From a recording to an answer: what can be read of a concept off its signals, beside controls."""
