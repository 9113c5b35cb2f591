"""Figures: static ones for reports, interactive ones for MLflow. Same input, same bytes with the locked versions."""
