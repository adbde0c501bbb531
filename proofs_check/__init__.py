"""Every step of Theorems 1 and 2 of arXiv 1906.07983, verified, proved or refuted."""
