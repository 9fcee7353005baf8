"""What has gone on in an installation before somebody looks at it: projects, tokens, requests, operators."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import openai

from tests.journeys.conftest import Installation, Token, until

MODELS = ("gpt-4o-mini", "gpt-4o", "o3-mini")
TEAMS = {
    "Search": {"limits": [{"measure": "cost", "window": "month", "amount": "250.00"}]},
    "Support assistant": {"limits": [{"measure": "requests", "window": "minute", "amount": 600}]},
    "Nightly summaries": {"policy": {"allowed_models": ["gpt-4o*"]}},
}
REQUESTS = 36


def live_in(product: Installation) -> None:
    """Let something go on, until it can be seen."""
    projects = {name: product.project(name, **fields) for name, fields in TEAMS.items()}
    tokens = [
        product.token(project, label=f"{name.split()[0].lower()}-{where}", **more)
        for name, project in projects.items()
        for where, more in (("web", {"max_requests": 10_000}), ("batch", {"expires_in": 90 * 86400}))
    ]
    revoked = product.token(projects["Search"], label="laptop of a colleague")
    product.manage("DELETE", f"/manage/tokens/{revoked.id}")
    product.project("Retired prototype")
    for name, role in (("ann", "admin"), ("bob", "operator"), ("security", "auditor")):
        product.manage("POST", "/manage/operators", {"name": f"{name} of the demo", "role": role})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: ask(product, tokens[number % len(tokens)], number), range(REQUESTS)))
    until(lambda: len(product.manage("GET", "/manage/requests?limit=200")["items"]) >= REQUESTS // 2)


def ask(product: Installation, token: Token, number: int) -> None:
    """Ask something: mostly well, streamed or not, sometimes for a model that may not be used."""
    question: list[Any] = [{"role": "user", "content": f"Question {number}: what is a proxy?"}]
    client = product.client(token, worker=number % 2)
    with suppress(openai.APIError):
        model, is_stream = MODELS[number % len(MODELS)], number % 3 == 0
        answer = client.chat.completions.create(model=model, messages=question, stream=is_stream)
        if is_stream:
            for _ in answer:
                pass
