"""What a stream and a delivery cost: sse-hub beside a bare ASGI application and `ServerSentEvent`."""
