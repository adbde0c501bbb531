"""Trained weights of the small networks, as ``attacks.small_networks`` trained them; the file names hold the recipe."""
