"""Pure functions from a request's JSON object to the answer: one JSON body, or the list of its SSE events."""
