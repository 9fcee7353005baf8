"""The control plane: a Flask service that owns projects, tokens and usage in SQL."""
