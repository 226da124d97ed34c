/* The floor: the least that any server must do for a broadcast, one write(2) of the same bytes to every stream.
 *
 * GET /stream, POST /broadcast, GET /health/ready, on a free port of 127.0.0.1, in one thread. It keeps no message, and
 * aborts where a stream does not take a whole frame at once: it lives for one measurement.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_BYTES = 16384, EVENTS_AT_ONCE = 1024, BACKLOG = 4096 };

static const char STREAM_START[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n16\r\nevent: open\ndata: {}\n\n\r\n";
static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
static const char CREATED[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
static const char NOT_FOUND[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

struct connection {
    int socket;
    size_t place;  /* among the streams, counted from 1; 0: it is none */
    char *request; /* as far as it has come; streams have none */
    size_t request_bytes;
};

static int epoll;
static struct connection **streams;
static size_t streams_count, streams_room;

static void write_whole(struct connection *connection, const void *bytes, size_t count) {
    if (write(connection->socket, bytes, count) != (ssize_t)count)
        abort();
}

static void become_stream(struct connection *connection) {
    if (streams_count == streams_room) {
        streams_room = streams_room ? streams_room * 2 : 1024;
        streams = realloc(streams, streams_room * sizeof *streams);
    }
    streams[streams_count++] = connection;
    connection->place = streams_count;
    free(connection->request);
    connection->request = NULL;
    write_whole(connection, STREAM_START, sizeof STREAM_START - 1);
}

static void end(struct connection *connection) {
    if (connection->place) {
        streams[connection->place - 1] = streams[--streams_count];
        streams[connection->place - 1]->place = connection->place;
    }
    close(connection->socket);
    free(connection->request);
    free(connection);
}

static void broadcast(const char *data, size_t count) {
    static char chunk[REQUEST_BYTES + 100];
    static const char before[] = "event: bench\ndata: ";
    int size = sprintf(chunk, "%zx\r\n%s", sizeof before - 1 + count + 2, before);
    memcpy(chunk + size, data, count);
    memcpy(chunk + size + count, "\n\n\r\n", 4);
    for (size_t i = 0; i < streams_count; i++)
        write_whole(streams[i], chunk, (size_t)size + count + 4);
}

/* Answers the request once it is complete. */
static void answer(struct connection *connection) {
    char *request = connection->request;
    request[connection->request_bytes] = '\0';
    char *body = strstr(request, "\r\n\r\n");
    if (!body)
        return;
    body += 4;
    const char *length = strcasestr(request, "Content-Length:");
    size_t body_bytes = length && length < body ? strtoul(length + 15, NULL, 10) : 0;
    if (connection->request_bytes < (size_t)(body - request) + body_bytes)
        return;
    connection->request_bytes = 0;
    if (strncmp(request, "GET /stream ", 12) == 0) {
        become_stream(connection);
    } else if (strncmp(request, "POST /broadcast ", 16) == 0) {
        broadcast(body, body_bytes);
        write_whole(connection, CREATED, sizeof CREATED - 1);
    } else if (strncmp(request, "GET /health/ready ", 18) == 0) {
        write_whole(connection, OK, sizeof OK - 1);
    } else {
        write_whole(connection, NOT_FOUND, sizeof NOT_FOUND - 1);
    }
}

static void receive(struct connection *connection) {
    char unexpected[16];
    char *room = connection->request ? connection->request + connection->request_bytes : unexpected;
    size_t size = connection->request ? REQUEST_BYTES - 1 - connection->request_bytes : sizeof unexpected;
    ssize_t received = read(connection->socket, room, size);
    if (received <= 0) {
        end(connection);
    } else if (connection->request) {
        connection->request_bytes += (size_t)received;
        answer(connection);
    }
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t address_bytes = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, BACKLOG) ||
        getsockname(listener, (struct sockaddr *)&address, &address_bytes))
        abort();
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS_AT_ONCE];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) {
                receive(events[i].data.ptr);
                continue;
            }
            for (int accepted; (accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                struct connection *connection = calloc(1, sizeof *connection);
                *connection = (struct connection){.socket = accepted, .request = malloc(REQUEST_BYTES)};
                event = (struct epoll_event){.events = EPOLLIN, .data.ptr = connection};
                epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
            }
        }
    }
}
