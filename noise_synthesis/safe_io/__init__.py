"""Reading and writing that never leaves half a file, and the one line that tells a user what is wrong.

Imports nothing else of this repository; everything else may import it.
"""
