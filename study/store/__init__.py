"""Expensive results, stored as files."""
