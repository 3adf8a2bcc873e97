"""The 3-bit flip-flop: the task, plain recurrent networks that are trained on it, and their stored weights."""
