"""Which of the given labels are wrong, where, and what would correct them."""
