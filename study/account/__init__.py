"""The account of both papers: their numbers and claims beside what is computed here."""
