"""``mlbseg audit``: which given labels are wrong, where, what corrects them. Imports training and below; no method."""
