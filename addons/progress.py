from addons.call import Call


def tokens_so_far(call: Call) -> int:
    return call.prompt_estimate or 0
