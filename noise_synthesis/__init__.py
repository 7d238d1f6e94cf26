"""Label corruption with a known strength: recipes, calibration to a target Dice, provenance. Imports no torch."""
