"""The questions of a study, one module each; each returns a finding with figures and sentences."""
