"""Tracking: the journal on disk, MLflow, and the read side that listings and reports use. No torch here."""
