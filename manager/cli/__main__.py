"""`python -m manager.cli` is `llm-proxy`."""

from manager.cli import main

main(prog_name="llm-proxy")
