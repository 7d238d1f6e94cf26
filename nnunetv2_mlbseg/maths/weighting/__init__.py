"""How much both labels of a pixel count, three strategies of one shape; imports torch and the files of `maths`."""
