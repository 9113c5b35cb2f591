"""Specs: what a run is, before anything runs. No torch here."""
