"""Label corruption with a known strength: recipes, calibration to a target Dice, provenance.

Imports nothing of the other packages, and no torch.
"""
