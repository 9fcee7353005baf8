"""Lua scripts that Redis runs; each file says its KEYS, ARGV and reply."""
