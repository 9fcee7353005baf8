"""What the proxy's error codes mean, and what to do about each: told on the help page and beside requests."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """Of one code: the statuses that it comes with, what has happened, and what to do."""

    statuses: str
    meaning: str
    remedy: str


ADVICE: Mapping[str, Advice] = {
    "missing_token": Advice(
        "401",
        "The application sent no token.",
        "Set the token as the SDK's API key, or send it as “Authorization: Bearer …”.",
    ),
    "invalid_token": Advice(
        "401",
        "What was sent is no token of this proxy: a character is wrong or missing, or it is a provider's own key.",
        "Copy the token again. It starts with sk-llmp-.",
    ),
    "token_not_found": Advice(
        "401",
        "It looks like a token, but there is no such token here.",
        "Check that the application calls the right installation; else create a new token.",
    ),
    "token_expired": Advice(
        "401",
        "The token's time is over.",
        "Refresh the token on its page, or create a new one with a longer life.",
    ),
    "token_inactive": Advice(
        "401",
        "The token has been revoked or switched off.",
        "Look at the token's page and its audit for who did that and when. What is revoked stays so: create a new one.",
    ),
    "project_inactive": Advice(
        "403",
        "The project of the token is switched off or deleted.",
        "Activate the project on its page if that was not meant.",
    ),
    "model_not_allowed": Advice(
        "403",
        "Project or token allow other models only, or allow only some and the request names none.",
        "Compare the allowed and denied models of the project and of the token with what is asked for.",
    ),
    "model_not_priced": Advice(
        "403",
        "A limit counts money, and there is no price for this model.",
        "An admin can add its price on the prices page.",
    ),
    "host_not_allowed": Advice(
        "403",
        "In forward mode the application called a host of no provider, or of another provider than its token's.",
        "Give the application a token for the provider that it calls. Other hosts must not go through this proxy.",
    ),
    "origin_not_allowed": Advice(
        "403",
        "A web page of an origin that the project does not list has called.",
        "Add the origin, such as https://app.example.org, to the project if its pages may call.",
    ),
    "request_cut": Advice(
        "403",
        "An operator has ended this request while it was running.",
        "The audit tells who did so.",
    ),
    "request_denied": Advice(
        "403",
        "A rule denies such requests. The request's tags and rule tell which one.",
        "Look at the rule's filter on the rules page; an earlier rule that allows can make an exception.",
    ),
    "request_refused": Advice(
        "403",
        "A rule held this request, and somebody has refused it.",
        "The audit tells who did so, and why.",
    ),
    "hold_expired": Advice(
        "403",
        "A rule held this request, and nobody has released it in time.",
        "The rule says how long it holds, and what becomes of requests that nobody decides about.",
    ),
    "endpoint_not_found": Advice(
        "404",
        "The path is not in the provider's table of routes.",
        "Compare the path with the routes on the providers page. SDKs want a base URL that ends in /v1.",
    ),
    "method_not_allowed": Advice(
        "405",
        "The path is known, but not with this method.",
        "The answer's Allow header, and the providers page, tell which methods there are.",
    ),
    "invalid_request": Advice(
        "400, 417, 431",
        "The request is not well-formed, or its body is not what the route takes.",
        "The error's message says what is wrong with it. Without an SDK it is often the Content-Type.",
    ),
    "parameter_not_allowed": Advice(
        "400",
        "Project or token deny a parameter, which the error names.",
        "Leave it out, or take it from the denied parameters of project or token.",
    ),
    "parameter_too_large": Advice(
        "400",
        "A parameter is above the cap of project or token, or no number.",
        "Send less, or raise the cap on the page of the project or token.",
    ),
    "request_too_large": Advice(
        "413",
        "The body is larger than the route takes.",
        "Send less at once. How much a route takes stands on the page of the provider.",
    ),
    "unsupported_media_type": Advice(
        "415",
        "The body is of another kind than the route takes.",
        "Send the Content-Type that the error names; mostly that is application/json.",
    ),
    "rate_limit_exceeded": Advice(
        "429",
        "Too many requests or tokens in a short time, or too many requests at once.",
        "The error names the limit and whose it is, Retry-After tells when it is worth another try. "
        "Raise the limit if it is too tight.",
    ),
    "quota_exceeded": Advice(
        "429",
        "What the token or its project may use in all, in this month or on this day has been used.",
        "Raise the limit, or wait for the next day or month (UTC). A token can be given more requests, too.",
    ),
    "upstream_error": Advice(
        "502",
        "The provider could not be reached, broke off, or sent what makes no sense.",
        "Look at the provider's own status page, and here at the status page for what is set aside.",
    ),
    "upstream_timeout": Advice(
        "504",
        "The provider did not answer in the time that its route has.",
        "The request's page shows how long it was waited for. The times are in the provider table.",
    ),
    "upstream_keys_exhausted": Advice(
        "503",
        "Every key of the project is set aside: refused by the provider, or out of its quota.",
        "The project's page tells why for each key; test them there, and add or rotate keys.",
    ),
    "upstream_crowded": Advice(
        "503",
        "All connections that a worker may have to the provider are in use.",
        "Raise LLM_PROXY_UPSTREAM_CONNECTIONS or the number of workers, or send fewer requests at once.",
    ),
    "too_many_held": Advice(
        "503",
        "A rule wants to hold the request, and as many as may be held at a time are held already.",
        "Decide about those that are held, or make the rule's filter narrower.",
    ),
    "circuit_open": Advice(
        "503",
        "The provider has failed so often that it is left alone for a moment.",
        "It is tried again by itself. The status page tells until when and why.",
    ),
    "service_unavailable": Advice(
        "503",
        "The proxy cannot decide: Redis is away, nothing has been published to it, or something failed here.",
        "Look at the status page; the proxy's log tells the rest.",
    ),
}


def of(code: str | None) -> Advice | None:
    """Return what is to be said of a code; None of one that is the provider's own."""
    return ADVICE.get(code or "")
