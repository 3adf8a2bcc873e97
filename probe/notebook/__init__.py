"""How recordings, models, findings and pages are shown in a notebook."""
