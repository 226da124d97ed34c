"""What a stream and a delivery cost: sse-hub beside other servers, and beside what any server must do."""
