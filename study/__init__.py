"""What the chapters share: pictures and networks, stored results, experiments, the account of the
two papers, figures."""
