"""Talking with a model through the proxy, in a terminal."""
