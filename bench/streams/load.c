/* The load: one process that holds thousands of open streams of a server on 127.0.0.1, and notes when frames arrive.
 *
 * It is in C so that it costs less than any server it measures. Of a frame it only counts whether it has come to its
 * end and has a mark in it, a string that occurs nowhere else; the decimal number right after the mark, if any, tells
 * which message it is. What comes in one HTTP chunk or in several is all one, unless a chunk begins amid a mark: such a
 * frame goes uncounted, so that its measurement fails rather than misleads.
 *
 * Arguments: the port, and what a stream says once it is open. Commands are lines on standard input, one at a time:
 *
 *   open N             and N lines, each the path of a stream to open   -> opened NANOSECONDS
 *   reconnect N        the N oldest streams, to their paths             -> opened NANOSECONDS
 *   mark TEXT          count frames with this mark from now on          -> marked 0
 *   count N SECONDS    wait until N have come since                     -> counted CPU_NANOSECONDS, see answer_count()
 *   each N             fail unless every open stream has had N of them  -> each 0
 *   cpu                its own CPU time                                 -> cpu NANOSECONDS
 *
 * The first thing that goes wrong is told by `failed WHAT` and ends the process, as does the end of its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16, INCOMPLETE_BYTES = 1 << 15, EVENTS_AT_ONCE = 4096, OPENING_AT_ONCE = 256 };
/* An address has some 28,000 ports towards one server, fewer while closed ones linger, so several take turns. */
enum { SOURCE_ADDRESSES = 16 };
static const double OPEN_SECONDS = 900;

struct stream {
    int socket;
    bool open;
    size_t counted; /* of the frames with the mark */
    char *path;
    char *incomplete; /* the beginning of a frame whose end has not come */
    size_t incomplete_bytes;
};

struct receipt {
    uint64_t nanoseconds; /* CLOCK_MONOTONIC */
    uint64_t number;
};

static int port;
static const char *opened;
static int epoll;
static struct stream **streams; /* in the order of their opening; what is before `oldest` was closed */
static size_t oldest, newest, streams_room;
static size_t opening;
static char *mark;
static struct receipt *receipts;
static size_t receipts_count, receipts_room;
static uint64_t cpu_at_mark;
static bool told; /* there is something to read on standard input */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *what, ...) {
    va_list values;
    va_start(values, what);
    printf("failed ");
    vprintf(what, values);
    putchar('\n');
    fflush(stdout);
    exit(1);
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t seconds_from_now(double seconds) {
    return nanoseconds(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
}

static void *grown(void *array, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 1024;
    return realloc(array, *room * size);
}

static void keep_incomplete(struct stream *stream, const char *bytes, size_t count) {
    if (count == 2 && memcmp(bytes, "\r\n", 2) == 0) /* the end of the chunk */
        count = 0;
    if (count > INCOMPLETE_BYTES)
        fail("a frame did not end within %d bytes", INCOMPLETE_BYTES);
    free(stream->incomplete);
    stream->incomplete = count ? memcpy(malloc(count), bytes, count) : NULL;
    stream->incomplete_bytes = count;
}

/* How many of the bytes belong to frames that have come to their end, which is an empty line. */
static size_t complete(const char *bytes, size_t count) {
    for (size_t end = count; end >= 2; end--)
        if (bytes[end - 1] == '\n' &&
            (bytes[end - 2] == '\n' || (end >= 4 && memcmp(bytes + end - 4, "\r\n\r\n", 4) == 0)))
            return end;
    return 0;
}

static void count_marks(struct stream *stream, const char *bytes, size_t count, uint64_t now) {
    const char *end = bytes + count;
    size_t mark_bytes = strlen(mark);
    while ((bytes = memmem(bytes, (size_t)(end - bytes), mark, mark_bytes))) {
        uint64_t number = 0;
        for (bytes += mark_bytes; bytes < end && *bytes >= '0' && *bytes <= '9'; bytes++)
            number = number * 10 + (uint64_t)(*bytes - '0');
        receipts = grown(receipts, receipts_count, &receipts_room, sizeof *receipts);
        receipts[receipts_count++] = (struct receipt){now, number};
        stream->counted++;
    }
}

static void receive(struct stream *stream) {
    static char bytes[READ_BYTES];
    size_t before = stream->incomplete_bytes;
    if (before)
        memcpy(bytes, stream->incomplete, before);
    ssize_t received = read(stream->socket, bytes + before, sizeof bytes - before);
    uint64_t now = nanoseconds(CLOCK_MONOTONIC);
    if (received <= 0)
        fail("a stream ended; opening it said '%.*s'", stream->open ? 0 : (int)before, bytes);
    size_t count = before + (size_t)received;
    if (!stream->open) {
        if (memcmp(bytes, "HTTP/1.1 200 ", count < 13 ? count : 13) != 0)
            fail("a stream was refused: %.*s", (int)strcspn(bytes, "\r"), bytes);
        if (!memmem(bytes, count, opened, strlen(opened))) {
            keep_incomplete(stream, bytes, count);
            return;
        }
        stream->open = true;
        opening--;
    }
    size_t end = complete(bytes, count);
    if (end && mark)
        count_marks(stream, bytes, end, now);
    if (before || end < count)
        keep_incomplete(stream, bytes + end, count - end);
}

/* Read once from every stream that has something; false if none has before the deadline (0: there is none). */
static bool receive_all(uint64_t deadline) {
    static struct epoll_event events[EVENTS_AT_ONCE];
    int timeout = -1;
    if (deadline) {
        uint64_t now = nanoseconds(CLOCK_MONOTONIC);
        timeout = now < deadline ? (int)((deadline - now) / 1000000 + 1) : 0;
    }
    int ready = epoll_wait(epoll, events, EVENTS_AT_ONCE, timeout);
    for (int i = 0; i < ready; i++) {
        if (events[i].data.ptr)
            receive(events[i].data.ptr);
        else
            told = true;
    }
    return ready > 0;
}

static void begin(struct stream *stream) {
    static uint32_t sources;
    struct sockaddr_in source = {.sin_family = AF_INET}, server = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + sources++ % SOURCE_ADDRESSES);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t)port);
    stream->socket = socket(AF_INET, SOCK_STREAM, 0);
    /* The port is left to connect(): bound before, it could serve only one connection. */
    setsockopt(stream->socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    if (stream->socket < 0 || bind(stream->socket, (struct sockaddr *)&source, sizeof source) ||
        connect(stream->socket, (struct sockaddr *)&server, sizeof server))
        fail("a stream could not connect: %s", strerror(errno));
    if (dprintf(stream->socket, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n",
                stream->path, port) < 0)
        fail("a stream could not be asked for: %s", strerror(errno));
    stream->open = false;
    stream->counted = 0;
    keep_incomplete(stream, "", 0);
    streams = grown(streams, newest, &streams_room, sizeof(struct stream *));
    streams[newest++] = stream;
    opening++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    epoll_ctl(epoll, EPOLL_CTL_ADD, stream->socket, &event);
}

static void await_opening(size_t still_opening, uint64_t deadline) {
    while (opening > still_opening)
        if (!receive_all(deadline))
            fail("%zu streams did not open in time", opening);
}

static char *line(void) {
    static char *text;
    static size_t room;
    ssize_t length = getline(&text, &room, stdin);
    if (length < 0)
        exit(0);
    text[length - 1] = '\0';
    return text;
}

static void open_streams(size_t count, bool again) {
    struct stream **added = malloc(count * sizeof *added);
    for (size_t i = 0; i < count; i++) {
        if (again) {
            added[i] = streams[oldest++];
            close(added[i]->socket);
        } else {
            added[i] = calloc(1, sizeof **added);
            added[i]->path = strdup(line());
        }
    }
    uint64_t began = nanoseconds(CLOCK_MONOTONIC), deadline = seconds_from_now(OPEN_SECONDS);
    for (size_t i = 0; i < count; i++) {
        begin(added[i]);
        await_opening(OPENING_AT_ONCE, deadline);
    }
    await_opening(0, deadline);
    free(added);
    printf("opened %" PRIu64 "\n", nanoseconds(CLOCK_MONOTONIC) - began);
}

/* The answer is followed by a line with the number of receipts, and by these as they stand in memory. */
static void answer_count(size_t expected, double seconds) {
    uint64_t deadline = seconds_from_now(seconds);
    while (receipts_count < expected)
        if (!receive_all(deadline))
            fail("%zu of %zu frames came within %g s", receipts_count, expected, seconds);
    printf("counted %" PRIu64 "\n%zu\n", nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_at_mark, receipts_count);
    fwrite(receipts, sizeof *receipts, receipts_count, stdout);
}

static void set_mark(const char *text) {
    free(mark);
    mark = strdup(text);
    receipts_count = 0;
    for (size_t i = oldest; i < newest; i++)
        streams[i]->counted = 0;
    cpu_at_mark = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
}

static void check_each(size_t expected) {
    for (size_t i = oldest; i < newest; i++)
        if (streams[i]->counted != expected)
            fail("%s has had %zu of the frames, not %zu", streams[i]->path, streams[i]->counted, expected);
}

static void obey(char *command) {
    size_t count;
    double seconds;
    if (sscanf(command, "open %zu", &count) == 1) {
        open_streams(count, false);
    } else if (sscanf(command, "reconnect %zu", &count) == 1) {
        open_streams(count, true);
    } else if (strncmp(command, "mark ", 5) == 0) {
        set_mark(command + 5);
        printf("marked 0\n");
    } else if (sscanf(command, "count %zu %lf", &count, &seconds) == 2) {
        answer_count(count, seconds);
    } else if (sscanf(command, "each %zu", &count) == 1) {
        check_each(count);
        printf("each 0\n");
    } else if (strcmp(command, "cpu") == 0) {
        printf("cpu %" PRIu64 "\n", nanoseconds(CLOCK_PROCESS_CPUTIME_ID));
    } else {
        fail("what is '%s'?", command);
    }
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count != 3)
        fail("it takes a port and what an open stream says");
    port = atoi(arguments[1]);
    opened = arguments[2];
    epoll = epoll_create1(0);
    struct epoll_event control = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &control);
    for (;;) {
        told = false;
        while (!told)
            receive_all(0);
        obey(line());
    }
}
