"""What tests over real connections share: a stream client, the server as a process, the REST calls."""
