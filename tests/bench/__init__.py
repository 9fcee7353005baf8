"""The benchmark: the engine beside stock mitmdump, the provider by itself, and two peers. `scripts/bench` runs it."""
