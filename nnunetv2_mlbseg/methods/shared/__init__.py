"""What several methods are made of: random draws, losses at all scales, strong views.

Imports ``training``, ``maths`` and ``networks``.
"""
