"""What is asked of the counter: one question, one module, each bound to the ten committed networks.

Run all of them with `python -m analyses`, one with `python -m analyses.NAME`. Not part of the wheel.
"""

#: In the order in which a page tells them.
QUESTIONS = ("accuracy",)
