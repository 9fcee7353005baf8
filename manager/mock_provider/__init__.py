"""An OpenAI-compatible provider for offline use: demos, tests and benchmarks."""

from manager.mock_provider.app import MockProvider, create_app
from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.server import serve, serving

__all__ = ["Behaviour", "MockProvider", "create_app", "serve", "serving"]
