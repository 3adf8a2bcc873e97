"""What a study asks, one module a question: a finding with its figures and sentences."""
