"""The experiments of both papers: what is computed of a subject, a network and its pictures."""
