def prompt_tokens(body: bytes) -> int:
    return len(body) // 4


def asked_completion(body: bytes) -> int | None:
    return None
