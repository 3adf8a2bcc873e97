"""Adapters of recurrent layers that other packages have; each is found by the class that it runs, never imported."""
