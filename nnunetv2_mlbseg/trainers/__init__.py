"""The classes that nnU-Net finds by name: a method, a name, fixed keys.

Imports ``methods``, ``training`` and ``audit``; no command.
"""
