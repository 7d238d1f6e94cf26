"""The demonstration: synthetic scans, the public commands from conversion to evaluation, and a picture at the end."""
