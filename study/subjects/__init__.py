"""The networks and the pictures they are studied on: found, built, trained, and fitted together."""
