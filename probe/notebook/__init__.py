"""How recordings, models, findings and pages show themselves in a notebook."""
