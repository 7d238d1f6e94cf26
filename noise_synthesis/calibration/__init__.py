"""How strong a recipe must be for a wanted mean Dice over many cases; the paper's levels by name.

Imports ``recipes`` and ``safe_io``.
"""
