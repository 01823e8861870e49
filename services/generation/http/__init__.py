"""The HTTP API: routes, problems, parsing of requests, authentication. The only place that knows a status code."""
