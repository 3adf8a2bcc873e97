"""What questions compute of a subject, once for all of them: its states, answers, controls and runs from states."""
