"""Trained weights that the package carries, beside the script that made them."""
