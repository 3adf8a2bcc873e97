"""`record`, `watch`, `intervene`, `sweep`: run a model with hooks on its recurrent layers."""
