"""The demonstration: made-up scans, the public commands from conversion to evaluation, and a picture at the end.

Imports ``runtime``, ``networks`` and ``evaluation``; no command, since it starts them as a user does.
"""
