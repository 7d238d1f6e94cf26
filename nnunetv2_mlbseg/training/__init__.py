"""One trainer on nnU-Net's seams, and the interface of a method.

Imports ``cases``, ``progress``, ``maths``, ``settings`` and what they import; knows no method and no audit.
"""
