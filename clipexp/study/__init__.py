"""Studies: a driver that asks Optuna for trials, and workers that run them."""
