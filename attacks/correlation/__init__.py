"""Does curvature predict how far an explanation can be moved? Attacks against the bounds.

One part (a beta, a class, its images, all radii) is measured at a time: ``geometry`` at the images, ``ascent`` in the
balls, ``certificates`` of the same balls. ``parts`` keeps what is measured, ``ranks`` and ``analysis`` judge it.
"""
