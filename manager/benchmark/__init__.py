"""`llm-proxy benchmark`: a load generator of our own, and what can be told of what it has seen.

`plan` says what is asked of whom; `workers` starts processes that do it, each with a `load` on its `connection`s, and
adds up their `tally`; `results` makes one document of that, which reports show, and `compare` and `conditions` judge.
"""
