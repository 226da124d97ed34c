"""The servers that sse-hub is compared with: GET /stream, POST /broadcast and nothing more."""
