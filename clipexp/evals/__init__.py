"""Evaluation: pure metrics, and the frozen validation that every run is measured on."""
