"""What is compared with sse-hub: GET /stream, POST /broadcast and no more. And a program with a hub inside."""
