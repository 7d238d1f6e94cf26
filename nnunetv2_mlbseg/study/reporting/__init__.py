"""What the runs of a study gave: results, their statistics, tables, figures.

Imports ``reading``.
"""
