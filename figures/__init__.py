"""Figures of the paper's supplement, one script a figure; run from a checkout."""
