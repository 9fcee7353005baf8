"""mitmweb as a window on all workers: their flows, as they tell of them, and what operators do about these.

A process of its own. It proxies nothing, holds no secret of the data plane, and keeps nothing: if it is gone, so is
its view, and whoever starts it again sees what Redis still has.
"""
