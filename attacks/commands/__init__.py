"""The commands of ``python -m attacks``, one a file."""
