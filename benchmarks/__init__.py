"""Speed, tightness and soundness of the bounds, each by one command."""
