"""Explanation methods: one a file, one table.

An entry of ``EXPLANATIONS`` maps a network, inputs ``[B, C, H, W]`` and classes ``[B]``
to signed relevance and logits, both in the graph exactly when x requires grad. Its
attribute-free callable is all that ``relevance``, ``explain`` and every attack need.
"""

from attacks.explanations.explanation import EXPLANATIONS, explain, normalised_map, relevance, relevance_and_logits

__all__ = ["EXPLANATIONS", "explain", "normalised_map", "relevance", "relevance_and_logits"]
