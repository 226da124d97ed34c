"""What sse-hub costs and how fast it is, measured beside what else there is. Each part is a program of its own."""
