"""``mlbseg weights``: do wrong pixels get less weight? For studies. Imports methods and below."""
